"""A loop whose clock a test moves.

This module owns the clock and the calls to come. It never asserts anything.
"""

from collections.abc import Callable
from dataclasses import dataclass


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
