"""The rate at which work is finished, from which the wait until there is room is estimated.

This module owns the measured rate and what is made of it for `Retry-After`. It has no timer: a
slice of time begins when somebody tells or asks something in it. It never refuses anything.
"""

import time
from collections.abc import Callable

from ..units import NS_PER_S

SLICE_NS = 250_000_000
SLICES = 8
"""The rate is that of two seconds: more than a sync that hangs, and soon forgotten."""
WAIT_MIN_S, WAIT_MAX_S = 1, 30
"""`Retry-After` is in whole seconds, and who waits for longer may as well ask anew."""


class DrainMeter:
    """The rate of what was done in the last seconds: transfers, calls, bytes. For one thread."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._counts = [0] * SLICES
        self._slice = self._first = clock_ns() // SLICE_NS

    def add(self, count: int, now_ns: int) -> None:
        """Count what was done now."""
        number = now_ns // SLICE_NS
        if number != self._slice:
            self._turn_to(number)
        self._counts[number % SLICES] += count

    def find_rate(self) -> float:
        """Return how many were done a second."""
        now_ns = self._clock_ns()
        self._turn_to(now_ns // SLICE_NS)
        start_ns = max(self._slice - SLICES + 1, self._first) * SLICE_NS
        # In the first moments of all, little that is done says little of a second.
        return sum(self._counts) * NS_PER_S / max(now_ns - start_ns, SLICE_NS)

    def find_wait_s(self, depth: int, unmeasured_s: int = WAIT_MAX_S) -> int:
        """Return in how many whole seconds so many will be done, within the bounds.

        `unmeasured_s` is for when none was lately, which may be a stall or a beginning.
        """
        rate = self.find_rate()
        if rate == 0 and depth > 0:
            return unmeasured_s
        if rate * WAIT_MAX_S <= depth:
            return WAIT_MAX_S if depth > 0 else WAIT_MIN_S
        return max(WAIT_MIN_S, -int(-depth // rate))

    def _turn_to(self, number: int) -> None:
        """Forget the slices that are too old by now."""
        passed = number - self._slice
        if passed <= 0:
            return
        if passed >= SLICES:
            # Nobody was answered for so long: what comes now is a beginning.
            self._counts = [0] * SLICES
            self._first = number
        else:
            for each in range(self._slice + 1, number + 1):
                self._counts[each % SLICES] = 0
        self._slice = number
