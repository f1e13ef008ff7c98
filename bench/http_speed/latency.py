"""The open loop: two servers at the same offered load, and whose answers take longer.

This module owns which servers are compared, at what load, and the goal. The load is a share of what
the rival can do at most, so that it is not at its limit.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import uvloop

from ..load.generators import LoadFailed
from ..load.loops import Course, OpenLoop, make_random_transfers
from ..machine import run_on
from ..measure import Figure, make_figure
from .subjects import DURABLE, GO_LOG, PLAIN_NAME, Setting, Subject
from .throughput import Tell

PEAK_SHARE = 0.7
P99_SHARE_MAX = 0.5
"""The goal: of the rival's p99, ours is no more than this."""
CREATED = 201
GRACE_S = 60.0
"""How long a run may take besides its schedule."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A schedule that is over, every request of it applied.

    Latencies are from the time when a request was due. `late_p99_ms` is how late the generator
    itself was, at worst but for one in a hundred; `cpu_share` what it had of its core.
    """

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One server at the offered load: medians over the rounds."""

    title: str
    name: str
    offered: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    load_share: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Both servers, and ours as a share of the rival's p99, round by round."""

    rival: str
    rows: tuple[LatencyRow, LatencyRow]
    p99_share: Figure
    is_reached: bool


def pick_rival(subjects: Mapping[str, Subject]) -> str:
    """Return the name of the server that ours is compared with."""
    return GO_LOG if GO_LOG in subjects else PLAIN_NAME


def measure_latency(
    subjects: Mapping[str, Subject],
    setting: Setting,
    peak: float,
    clients: int,
    rounds: int,
    seconds: float,
    tell: Tell,
) -> Latency:
    """Offer the same load to both in turn, `rounds` times besides once that does not count."""
    pair = (subjects[DURABLE], subjects[pick_rival(subjects)])
    runs: tuple[list[OpenRun], list[OpenRun]] = ([], [])
    for number in range(rounds + 1):
        tell(f"open loop: round {number} of {rounds}" if number else "open loop: warming up")
        for subject, kept in zip(pair, runs, strict=True):
            os.sync()
            kept.append(
                run_open_loop(
                    setting.load_core,
                    subject.url,
                    rate=PEAK_SHARE * peak,
                    seconds=seconds,
                    clients=clients,
                    accounts=setting.accounts,
                )
            )
    ours, theirs = (kept[1:] for kept in runs)
    return compare_runs(pair, PEAK_SHARE * peak, ours, theirs)


def compare_runs(
    pair: tuple[Subject, Subject],
    offered: float,
    ours: Sequence[OpenRun],
    theirs: Sequence[OpenRun],
) -> Latency:
    """Return what the rounds of both tell."""
    shares = [one.p99_ms / other.p99_ms for one, other in zip(ours, theirs, strict=True)]
    figure = make_figure(f"p99 {pair[0].name} : {pair[1].name}", "", shares)
    make = partial(_make_row, offered)
    return Latency(
        pair[1].name,
        (make(pair[0], ours), make(pair[1], theirs)),
        figure,
        figure.median <= P99_SHARE_MAX,
    )


def _make_row(offered: float, subject: Subject, runs: Sequence[OpenRun]) -> LatencyRow:
    return LatencyRow(
        subject.title,
        subject.name,
        offered,
        statistics.median(run.p50_ms for run in runs),
        statistics.median(run.p99_ms for run in runs),
        statistics.median(run.late_p99_ms for run in runs),
        max(run.cpu_share for run in runs),
    )


# -- one open loop --------------------------------------------------------------------------------
def run_open_loop(
    core: int, url: str, *, rate: float, seconds: float, clients: int, accounts: int
) -> OpenRun:
    """Offer a steady load from a core: a Poisson process of this rate. Raises LoadFailed."""
    chance = np.random.default_rng(1)
    moments_s = np.sort(chance.uniform(0.0, seconds, chance.poisson(rate * seconds))).tolist()

    async def run() -> Course:
        async with OpenLoop(url, clients) as loop:
            requests = make_random_transfers(url, accounts)
            return await loop.run(requests, moments_s, deadline_s=seconds + GRACE_S)

    try:
        with run_on(core):
            course = uvloop.run(run())
    except (OSError, ValueError) as error:
        raise LoadFailed(f"the open loop failed: {url}: {error}") from None
    applied, count = course.statuses[CREATED], len(moments_s)
    if not count or applied != count:
        raise LoadFailed(f"{url}: {applied:,} of {count:,} were applied")
    p50_ms, p99_ms = np.percentile(course.latencies_s, [50, 99]).tolist()
    lateness_s = np.array(course.lateness_s or [0.0])
    return OpenRun(
        requests=count,
        rate=count / seconds,
        p50_ms=p50_ms * 1000,
        p99_ms=p99_ms * 1000,
        late_p99_ms=float(np.percentile(lateness_s, 99)) * 1000,
        cpu_share=course.cpu_share,
    )
