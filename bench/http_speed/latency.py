"""The open loop: two servers at the same offered load, and whose answers take longer.

This module owns which servers are compared, at what load, and the goal. The load is a share of what
the rival can do at most, so that it is not at its limit.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import uvloop

from ..load.generators import LoadFailed
from ..load.loops import Course, OpenLoop, make_random_transfers
from ..machine import run_on
from ..measure import Figure, count_rounds, make_figure
from .subjects import DURABLE, GO_LOG, PLAIN_NAME, Setting, Subject

PEAK_SHARE = 0.7
P99_SHARE_MAX = 0.5
"""The goal: of the rival's p99, ours is no more than this."""
CREATED = 201
GRACE_S = 60.0
"""How long a run may take besides its schedule."""


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One server at the offered load, every request of which was applied: a run, or their medians.

    Latencies are from the time when a request was due. `late_p99_ms` is how late the generator
    itself was, at worst but for one in a hundred; `load_share` the most that it had of its core.
    """

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
    subjects: Mapping[str, Subject], setting: Setting, peak: float, clients: int
) -> Latency:
    """Offer the same load to both in turn, as often as is set besides once that does not count."""
    pair = (subjects[DURABLE], subjects[pick_rival(subjects)])
    offered = PEAK_SHARE * peak
    runs: tuple[list[LatencyRow], list[LatencyRow]] = ([], [])
    for _ in count_rounds(setting.rounds, "open loop", setting.tell):
        for subject, kept in zip(pair, runs, strict=True):
            os.sync()
            kept.append(run_open_loop(subject, setting, offered, clients))
    return compare_runs(runs[0][1:], runs[1][1:])


def compare_runs(ours: Sequence[LatencyRow], theirs: Sequence[LatencyRow]) -> Latency:
    """Return what the rounds of both tell."""
    rival = theirs[0].name
    shares = [one.p99_ms / other.p99_ms for one, other in zip(ours, theirs, strict=True)]
    figure = make_figure(f"p99 {ours[0].name} : {rival}", "", shares)
    rows = _sum_up(ours), _sum_up(theirs)
    return Latency(rival, rows, figure, figure.median <= P99_SHARE_MAX)


def _sum_up(runs: Sequence[LatencyRow]) -> LatencyRow:
    medians = {
        name: statistics.median(getattr(run, name) for run in runs)
        for name in ("p50_ms", "p99_ms", "late_p99_ms")
    }
    return replace(runs[0], **medians, load_share=max(run.load_share for run in runs))


def run_open_loop(subject: Subject, setting: Setting, rate: float, clients: int) -> LatencyRow:
    """Offer a steady load to one server: a Poisson process of this rate. Raises LoadFailed."""
    seconds, chance = setting.seconds, np.random.default_rng(1)
    moments_s = np.sort(chance.uniform(0.0, seconds, chance.poisson(rate * seconds))).tolist()

    async def run() -> Course:
        async with OpenLoop(subject.url, clients) as loop:
            requests = make_random_transfers(subject.url, setting.accounts)
            return await loop.run(requests, moments_s, deadline_s=seconds + GRACE_S)

    try:
        with run_on(setting.load_core):
            course = uvloop.run(run())
    except (OSError, ValueError) as error:
        raise LoadFailed(f"{subject.title}: the open loop failed: {error}") from None
    applied, count = course.statuses[CREATED], len(moments_s)
    if not count or applied != count:
        raise LoadFailed(f"{subject.title}: {applied:,} of {count:,} were applied")
    p50_s, p99_s = np.percentile(course.latencies_s, [50, 99]).tolist()
    late_s = float(np.percentile(course.lateness_s or [0.0], 99))
    return LatencyRow(
        subject.title,
        subject.name,
        rate,
        p50_s * 1000,
        p99_s * 1000,
        late_s * 1000,
        course.cpu_share,
    )
