"""Totals of a server at rest, and a clock and a loop that a test moves.

This module owns what is scripted: time, and the calls that are due by it. It never asserts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledgercore import Statistics
from service.totals import Totals
from tests import totals_making

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


def make_statistics(**values: Any) -> Statistics:
    """Return statistics of a ledger in which nothing has happened, save what is given."""
    rest: dict[str, Any] = {"lsn_applied": 0, "lsn_durable": 0, "keys": 0}
    return totals_making.make_statistics(**(rest | values))


def make_totals(at_s: float = 0.0, **values: Any) -> Totals:
    """Return totals of a second, of a server at rest, save what is given."""
    rest: dict[str, Any] = {"statistics": make_statistics(), "connections": 0, "inflight": 0}
    return totals_making.make_totals(at_s, **(rest | values))


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
