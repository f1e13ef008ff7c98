"""The rule for the limit in flight: nearly all transfers are to be answered in time.

This module owns the rule by which the limit moves, and nothing else: no clock, no counting, no log.
It is told what a window of time was like, and says what holds from then on.

The rule is the gradient of Netflix's concurrency-limits (Gradient2Limit,
https://github.com/Netflix/concurrency-limits): the limit is multiplied by what was wanted over what
was measured, and when it grows, a headroom of its square root is added. Wanted is a p99 that the
operator names, in place of the latency of a server at rest. By Little's law the latency of a server
that has all it can do is proportional to what is in flight, so that one such step nearly hits. It
goes down by more than it goes up, as Chiu and Jain show it has to for a limit to settle
("Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989).

What keeps it still: between LOW and HIGH nothing moves; one bad window is a sync that hung, and
moves nothing; and a limit that nobody reached says nothing of what a higher one would bring.
"""

from dataclasses import dataclass
from math import isqrt

from ..units import NS_PER_MS

UNLIMITED = 2**62
"""The limit where there is none."""

LOW, HIGH, AIM = 0.8, 1.1, 0.95
"""Of the target: below LOW there is room for more, above HIGH there is too much, and less is meant
to bring it to AIM."""
CUT_MIN, GROWTH_MAX = 0.5, 1.1
"""By how much one window may move the limit."""
BAD_WINDOWS = 2
"""How many bad windows in a row it takes for a cut."""
USED = 0.9
"""The part of the limit that has to have been in use for it to grow."""


@dataclass(frozen=True, slots=True)
class Window:
    """What some time was like: the p99 of its answers, and the most that was in flight."""

    p99_ns: int
    in_flight_max: int


class AdaptiveLimit:
    """One limit and its target; a target of 0 is off. Raises ValueError for bounds that cross."""

    def __init__(self, target_ms: int, lowest: int, highest: int) -> None:
        self.limit = UNLIMITED
        self.target_ns = 0
        self.lowest = self.highest = 0
        self._bad_windows = 0
        self.configure(target_ms, lowest, highest)

    @property
    def is_on(self) -> bool:
        """Whether there is a target to hold."""
        return self.target_ns > 0

    def configure(self, target_ms: int, lowest: int, highest: int) -> None:
        """Change the settings. The limit stays where the new bounds allow it; it begins high."""
        if not 1 <= lowest <= highest:
            raise ValueError(f"the lowest limit, {lowest}, is above the highest, {highest}")
        was_on = self.is_on
        self.target_ns = target_ms * NS_PER_MS
        self.lowest, self.highest = lowest, highest
        self._bad_windows = 0
        if not self.is_on:
            self.limit = UNLIMITED
        else:
            self._move(self.limit if was_on else highest)

    def learn(self, window: Window) -> int:
        """Return the limit that holds after a window."""
        if not self.is_on:
            return self.limit
        gradient = self.target_ns / max(window.p99_ns, 1)
        if window.p99_ns > self.target_ns * HIGH:
            self._bad_windows += 1
            if self._bad_windows >= BAD_WINDOWS:
                # What was in flight made the latency, and not a limit far above it.
                used = min(self.limit, window.in_flight_max)
                self._move(int(used * max(gradient * AIM, CUT_MIN)))
            return self.limit
        self._bad_windows = 0
        if window.p99_ns < self.target_ns * LOW and window.in_flight_max >= self.limit * USED:
            self._move(int(self.limit * min(gradient, GROWTH_MAX)) + isqrt(self.limit))
        return self.limit

    def _move(self, limit: int) -> None:
        self.limit = min(max(limit, self.lowest), self.highest)
