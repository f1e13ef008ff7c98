"""Totals that a test writes down, and a clock and a loop that it moves.

This module owns the making of counts as a server would have counted them. It never asserts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ledgercore import Histogram, Measures, Recorder, SegmentLoad, Statistics, Status
from service.totals import Totals

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


def make_histogram(values: Iterable[int] = ()) -> Histogram:
    """Return a histogram of these values."""
    recorder = Recorder()
    recorder.record_each(np.array(list(values), np.int64))
    return recorder.read()


def make_measures(**members: Any) -> Measures:
    """Return measures; what is not given is zero."""
    parts = ("queue", "kernel", "journal", "sync", "batches", "groups")
    outcomes = dict.fromkeys(Status, 0) | members.pop("outcomes", {})
    zero: dict[str, Any] = {name: make_histogram() for name in parts}
    zero |= {"outcomes": outcomes, "replays": 0, "journal_bytes": 0}
    return Measures(**(zero | members))


def make_statistics(**members: Any) -> Statistics:
    """Return statistics of a ledger with one segment that rests; what is not given is zero."""
    zero: dict[str, Any] = dict.fromkeys(Statistics.__dataclass_fields__, 0)
    zero |= {"durability": "sync", "segments": (SegmentLoad(0, 1, 0),), "keys_max": 100}
    return Statistics(**(zero | members))


def make_totals(at_s: float = 0.0, **members: Any) -> Totals:
    """Return totals as they were `at_s` seconds after the start; what is not given is zero."""
    zero: dict[str, Any] = {
        "answers": {},
        "latencies": {},
        "statistics": make_statistics(),
        "measures": make_measures(),
        "connections": 0,
        "inflight": 0,
        "inflight_limit": None,
        "breaker": None,
    }
    return Totals(at_ns=round(at_s * SECOND_NS), **(zero | members))


@dataclass
class ScriptedTimer:
    """A call to come."""

    when_s: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ScriptedLoop:
    """A clock that the test moves, and the calls that are due by it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[ScriptedTimer] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay: float, callback: Callable[[], None], /) -> ScriptedTimer:
        self.timers.append(ScriptedTimer(self.now_s + delay, callback))
        return self.timers[-1]

    @property
    def due(self) -> list[ScriptedTimer]:
        return [timer for timer in self.timers if not timer.is_cancelled]

    def step(self) -> None:
        """Move on to the next call, and make it."""
        (timer,) = self.due
        self.timers.clear()
        self.now_s = timer.when_s
        timer.callback()
