"""The summary of a run: every figure that is claimed, computed from the rows of all intents.

This module owns what the figures mean, and beyond which limits they tell more of the simulator than
of the server. `success` is the share of all offered intents that were applied, `rate_limited` the
share that met at least one 429; a refusal for good, such as insufficient funds, is an answer, and
no success. Latency counts for what was answered, in the open loop from the time it was scheduled.
Percentiles are those of all samples, and not of a sketch.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np

from ..load.loops import CPU_SHARE_MAX
from .coordinator import Run
from .patterns import Floats
from .samples import ANSWERED, DROPPED, ENDS, LIMITED, PROMPT, Samples
from .workload import KINDS

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}
LATENESS_P99_MAX_S = 0.005


@dataclass(frozen=True)
class Summary:
    """What came of a run; shares are from 0 to 1, and latencies in milliseconds."""

    clients: int
    transfers: int
    loop: str
    pattern: str
    seed: int
    seconds: float
    offered_per_s: float
    answered_per_s: float
    success: float
    rate_limited: float
    latency_ms: dict[str, float | None]
    max_workers: float | None
    max_queue_depth: float | None
    accounting: dict[str, int]
    statuses: dict[str, int]
    """Final answers by their status."""
    refusals: dict[str, int]
    """Answers that were no success, by kind, those that were followed by a retry as well."""
    failures: dict[str, int]
    """Intents without a final answer, by how they ended."""
    mishaps: dict[str, int]
    """Tries without an answer, by what happened instead."""
    kinds: dict[str, dict[str, int]]
    checks: dict[str, Any] | None
    bottleneck: list[str]
    """Why the client may have been what limited the run; empty if it was not."""
    cpu_shares: list[float]
    is_interrupted: bool
    is_complete: bool
    ok: bool


def summarize(run: Run) -> Summary:
    """Return the summary of a run."""
    samples, plan, board = run.samples, run.plan, run.board
    is_answered = samples["end"] == ENDS.index(ANSWERED)
    is_applied = is_answered & (samples["status"] >= 200) & (samples["status"] < 300)
    is_limited = (samples["flags"] & LIMITED) != 0
    seconds = find_seconds(samples)
    offered = len(samples)
    metrics = [each for _, each in board.readings]
    ends = Counter(ENDS[code] for code in samples["end"].tolist())
    return Summary(
        clients=plan.clients,
        transfers=offered,
        loop="closed" if plan.rate is None else "open",
        pattern=plan.pattern,
        seed=plan.seed,
        seconds=round(seconds, 3),
        offered_per_s=round(offered / seconds, 3),
        answered_per_s=round(int(is_answered.sum()) / seconds, 3),
        success=_share(int(is_applied.sum()), offered),
        rate_limited=_share(int(is_limited.sum()), offered),
        latency_ms=measure_latency(samples[is_answered]),
        max_workers=_find_max([each.active_workers for each in metrics]),
        max_queue_depth=_find_max([each.queue_depth for each in metrics]),
        accounting=msgspec.structs.asdict(board.counts),
        statuses=_count_statuses(samples[is_answered]),
        refusals=dict(board.refusals.most_common()),
        failures={end: n for end, n in ends.most_common() if end not in (ANSWERED, DROPPED)},
        mishaps=dict(board.failures.most_common()),
        kinds=_count_kinds(run, is_answered, is_applied),
        checks=None if run.checks is None else asdict(run.checks),
        bottleneck=find_reasons(run),
        cpu_shares=[round(share, 3) for share in board.cpu_shares()],
        is_interrupted=run.is_interrupted,
        is_complete=run.is_complete,
        ok=run.checks is None or run.checks.is_ok,
    )


def find_seconds(samples: Samples) -> float:
    """Return how long the run was: until its last arrival, send or answer."""
    if not len(samples):
        return 1e-6
    times = [samples[name] for name in ("scheduled_s", "sent_s", "answered_s")]
    return max(float(np.nanmax(np.concatenate(times))), 1e-6)


def find_latencies_ms(answered: Samples) -> Floats:
    """Return how long each answer took from the time when it was due, shape of `answered`."""
    latencies_ms: Floats = (answered["answered_s"] - answered["scheduled_s"]) * 1000
    return latencies_ms


def measure_latency(answered: Samples) -> dict[str, float | None]:
    """Return mean, percentiles and maximum in milliseconds; None where nothing was answered."""
    if not len(answered):
        return dict.fromkeys(["avg", *PERCENTILES, "max"])
    latencies_ms = find_latencies_ms(answered)
    found = np.percentile(latencies_ms, list(PERCENTILES.values()))
    figures = {"avg": latencies_ms.mean()} | dict(zip(PERCENTILES, found, strict=True))
    figures["max"] = latencies_ms.max()
    return {name: round(float(value), 3) for name, value in figures.items()}


def find_reasons(run: Run) -> list[str]:
    """Return a sentence for each sign that the client was the bottleneck, with what helps."""
    plan = run.plan
    reasons = []
    more = f"--processes {plan.processes + 1}"
    cpu_share = max(run.board.cpu_shares(), default=0.0)
    wanted_share = max(run.board.wanted_shares(), default=0.0)
    if cpu_share > CPU_SHARE_MAX:
        reasons.append(f"a load process used {cpu_share:.0%} of a processor; more help: {more}")
    elif wanted_share > CPU_SHARE_MAX:
        reasons.append(
            f"a load process wanted a processor {wanted_share:.0%} of the time and had one"
            f" {cpu_share:.0%}; others are in its way, and {more} helps if there is a free one"
        )
    late_s = _find_lateness_s(run.samples)
    if late_s > LATENESS_P99_MAX_S:
        reasons.append(
            f"one request in a hundred was sent {late_s * 1000:.1f} ms late or more although a"
            f" client was free; more processes on free processors help: {more}"
        )
    if dropped := run.board.counts.dropped:
        reasons.append(
            f"{dropped:,} arrivals were dropped, for all {plan.clients:,} clients were busy and"
            f" {plan.queue_max:,} arrivals waited; if the server is not at its limit, more clients"
            f" help: --clients {plan.clients * 2}"
        )
    return reasons


def _find_lateness_s(samples: Samples) -> float:
    """Return how late one request in a hundred, or more, was sent although a client was free."""
    prompt = samples[(samples["flags"] & PROMPT) != 0]
    lateness_s = prompt["sent_s"] - prompt["scheduled_s"]
    return float(np.percentile(lateness_s, 99)) if len(prompt) else 0.0


def _count_statuses(answered: Samples) -> dict[str, int]:
    statuses, counts = np.unique(answered["status"], return_counts=True)
    return {str(status): int(count) for status, count in zip(statuses, counts, strict=True)}


def _count_kinds(run: Run, is_answered: Any, is_applied: Any) -> dict[str, dict[str, int]]:
    """Return what each kind of client came to; what was dropped never had a client."""
    samples = run.samples
    is_taken = samples["end"] != ENDS.index(DROPPED)
    found = {}
    for code, kind in enumerate(KINDS):
        mine = is_taken & (samples["kind"] == code)
        if mine.any():
            found[kind] = {
                "intents": int(mine.sum()),
                "sent": int(samples["tries"][mine].sum()),
                "answered": int((mine & is_answered).sum()),
                "applied": int((mine & is_applied).sum()),
            }
    return found


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _find_max(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
