"""A sample: what a server did in one second, as the live page and the log tell it.

This module owns which numbers are in it, and how they are made of the totals before and after. It
reads no clock and no server, and keeps nothing.
"""

from typing import Any

from ledgercore import Histogram, Status

from ..scaling.workers_rule import find_utilisation
from ..units import NS_PER_MS, NS_PER_S
from .totals import Totals

Sample = dict[str, Any]
"""The members of `make_sample`, all of them plain numbers and texts, so that it is JSON."""

PERCENTS = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}
REFUSED_FROM = 400


def make_sample(time_s: float, before: Totals, after: Totals) -> Sample:
    """Return what happened between two readings, of which the later was made at `time_s` (epoch).

    What ends in `_ps` is a number each second, and what ends in `_ms` is a time; one of 0 means
    that nothing was timed, since nothing takes no time. The others are the state at the end:
    `durable_lag` counts the records that are applied and not yet on the disk; `group_size` and
    `batch_size` are means. `inflight_limit` and `breaker` are None where there is none.
    """
    elapsed_s = max(after.at_ns - before.at_ns, 1) / NS_PER_S
    old, new = before.measures, after.measures
    statistics = after.statistics
    percentiles = after.latency.since(before.latency).percentiles(tuple(PERCENTS.values()))
    return {
        "t": round(time_s, 3),
        "rps": _rate(after.requests - before.requests, elapsed_s),
        "transfers_ps": _rate(
            new.outcomes[Status.APPLIED] - old.outcomes[Status.APPLIED], elapsed_s
        ),
        "ok_ps": _rate(after.successes - before.successes, elapsed_s),
        "refused_ps": _find_refusals(before, after, elapsed_s),
        **{name: _ms(ns) for name, ns in zip(PERCENTS, percentiles, strict=True)},
        "queue_ms_p99": _find_p99(old.queue, new.queue),
        "kernel_ms_p99": _find_p99(old.kernel, new.kernel),
        "journal_ms_p99": _find_p99(old.journal, new.journal),
        "sync_ms_p99": _find_p99(old.sync, new.sync),
        "queue_depth": statistics.queue_depth,
        "segments": _describe_segments(before, after),
        "durable_lag": statistics.lsn_applied - statistics.lsn_durable,
        "group_size": round(new.groups.since(old.groups).mean, 1),
        "batch_size": round(new.batches.since(old.batches).mean, 1),
        "inflight": after.inflight,
        "inflight_limit": after.inflight_limit,
        "breaker": after.breaker,
        "connections": after.connections,
        "keys": statistics.keys,
        "keys_max": statistics.keys_max,
        "journal_bytes_ps": _rate(new.journal_bytes - old.journal_bytes, elapsed_s),
    }


def make_quiet(sample: Sample, time_s: float) -> Sample:
    """Return a sample of a second after this one in which nothing happened."""
    quiet = {
        name: 0.0 if name.endswith("ps") or "_ms" in name else value
        for name, value in sample.items()
    }
    idle = {"queue_depth": 0, "utilisation": 0.0}
    return quiet | {
        "t": round(time_s, 3),
        "refused_ps": {},
        "queue_depth": 0,
        "segments": [segment | idle for segment in sample["segments"]],
        "durable_lag": 0,
        "group_size": 0.0,
        "batch_size": 0.0,
        "inflight": 0,
    }


def is_quiet(before: Totals, after: Totals) -> bool:
    """Return whether nothing happened between two readings, and nothing is under way."""
    old, new = before.statistics, after.statistics
    return (
        after.requests == before.requests
        and after.inflight == 0
        and new.queue_depth == 0
        and old.lsn_applied == new.lsn_applied == new.lsn_durable
    )


def _rate(count: int, elapsed_s: float) -> float:
    return round(count / elapsed_s, 1)


def _ms(time_ns: int) -> float:
    return round(time_ns / NS_PER_MS, 4)


def _find_p99(before: Histogram, after: Histogram) -> float:
    return _ms(after.since(before).percentile(99))


def _find_refusals(before: Totals, after: Totals, elapsed_s: float) -> dict[str, float]:
    """Return how many answers a second were refusals, by their HTTP status as text."""
    counts: dict[int, int] = {}
    for answer, count in after.answers.items():
        _, http_status, _ = answer
        new = count - before.answers.get(answer, 0)
        if http_status >= REFUSED_FROM and new > 0:
            counts[http_status] = counts.get(http_status, 0) + new
    return {str(status): _rate(counts[status], elapsed_s) for status in sorted(counts)}


def _describe_segments(before: Totals, after: Totals) -> list[Sample]:
    """Return the load of each segment; `utilisation` is the part of the time its workers worked."""
    elapsed_ns = after.at_ns - before.at_ns
    loads = zip(before.statistics.segments, after.statistics.segments, strict=True)
    return [
        {
            "queue_depth": new.queue_depth,
            "workers": new.workers,
            "utilisation": round(find_utilisation(old, new, elapsed_ns), 4),
        }
        for old, new in loads
    ]
