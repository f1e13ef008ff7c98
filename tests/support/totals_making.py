"""Readings of a server's counts that a test makes up.

This module owns how Totals are made of a few numbers. It never asserts anything.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ledgercore import Histogram, Measures, Recorder, ScrubState, SegmentLoad, Statistics, Status
from ledgercore.service.monitoring.totals import Totals

TRACES = {"exported_total": 6, "dropped_total": 5, "failed_total": 4, "queued": 3}


def make_histogram(values: Iterable[int] = ()) -> Histogram:
    recorder = Recorder()
    recorder.record_each(np.array(list(values), np.int64))
    return recorder.read()


def make_statistics(segments: Iterable[SegmentLoad] = (), **values: Any) -> Statistics:
    loads = tuple(segments) or (SegmentLoad(0, 1, 0),)
    fields: dict[str, Any] = {
        "lsn_applied": 12,
        "lsn_durable": 10,
        "lsn_max": 2**47,
        "clock_lead_ns": 500_000_000,
        "accounts": 3,
        "keys": 7,
        "keys_max": 100,
        "queue_depth": sum(load.queue_depth for load in loads),
        "workers": sum(load.workers for load in loads),
        "durability": "sync",
        "groups": 4,
        "recovered_records": 5,
        "recovery_seconds": 0.25,
        "segments": loads,
        "scrub": ScrubState(2, 8192, 0.5, 1_700_000_000_000_000_000, ("a file",)),
    }
    return Statistics(**fields | values)


def make_measures(**values: Any) -> Measures:
    histograms = ("queue", "kernel", "journal", "sync", "batches", "groups")
    fields: dict[str, Any] = {name: make_histogram() for name in histograms}
    fields |= {"outcomes": dict.fromkeys(Status, 0), "replays": 0, "journal_bytes": 0}
    return Measures(**fields | values)


def make_totals(
    at_s: float = 0.0,
    answers: Mapping[tuple[str, int, str], int] | None = None,
    latencies: Mapping[str, Iterable[int]] | None = None,
    breaker: str | None = None,
    **values: Any,
) -> Totals:
    """Return totals at a second; `latencies` are nanoseconds by route."""
    fields: dict[str, Any] = {
        "at_ns": round(at_s * 1e9),
        "answers": dict(answers or {}),
        "latencies": {route: make_histogram(times) for route, times in (latencies or {}).items()},
        "statistics": make_statistics(),
        "measures": make_measures(),
        "connections": 2,
        "connections_max": 100,
        "log_dropped": 0,
        "inflight": 1,
        "inflight_limit": None,
        "started_s": 1_000.0,
        "traces": None,
    }
    if breaker is not None:
        fields["traces"] = TRACES | {"breaker": breaker}
    return Totals(**fields | values)
