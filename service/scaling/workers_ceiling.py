"""How many workers a segment may have at most, while answers come too late: a rule and no more.

This module owns when that ceiling moves. It reads no clock, starts no thread and counts nothing: it
is told what a window of time was like, and says what holds from then on.

A worker more helps only where workers are what transfers wait for. So a bad window, whose p99 is
beyond the target, is read together with how busy the workers of the busiest segment were:

* They were busy: transfers wait for them, and the ceiling rises by one, if it was lower than what
  is configured. It never exceeds that, which an operator has set with the machine in mind.
* They mostly waited: the latency is the disk's, or the event loop's. More workers only contend
  with these for the processors and for the locks of the ledger, so the ceiling falls by one.
* In between, neither is certain, and nothing moves.

Good windows give back what bad ones took, step by step, up to what is configured.

It settles for the reasons that adaptive.py does: one bad window is a sync that hung; the way down
is much faster than the way back, as Chiu and Jain show it has to be ("Analysis of the Increase and
Decrease Algorithms for Congestion Avoidance", 1989); and after a move all windows are counted anew,
since those before it were made by another number of workers. The limit on transfers in flight goes
first: it moves after two bad windows, and here it takes more, so that workers go only if fewer in
flight have not helped.
"""

from enum import Enum

from .inflight_rule import BAD_WINDOWS as INFLIGHT_BAD_WINDOWS
from .inflight_rule import HIGH
from .workers_rule import UTILISATION_BUSY, UTILISATION_LOW

BAD_WINDOWS = 2 * INFLIGHT_BAD_WINDOWS
"""How many bad windows in a row, alike in how busy the workers were, it takes for a move."""
GOOD_WINDOWS = 20
"""How many good ones in a row it takes for a step back: some seconds."""


class _Sort(Enum):
    """What a window says: by how much it moves the ceiling, and how many in a row do."""

    GOOD = 1, GOOD_WINDOWS
    BUSY = 1, BAD_WINDOWS
    WAITING = -1, BAD_WINDOWS
    UNCLEAR = 0, BAD_WINDOWS

    def __init__(self, step: int, windows: int) -> None:
        self.step = step
        self.windows = windows


class WorkersCeiling:
    """One ceiling between two bounds, which are checked by who sets them. It begins high."""

    def __init__(self, lowest: int, highest: int) -> None:
        self.lowest = self.highest = self.limit = 0
        self._sort = _Sort.GOOD
        self._windows = 0
        self.configure(lowest, highest)

    @property
    def is_fixed(self) -> bool:
        """Whether no window could move it."""
        return self.lowest == self.highest

    def configure(self, lowest: int, highest: int) -> None:
        """Change the bounds. What an operator says counts, so the ceiling is the upper one."""
        self.lowest, self.highest = lowest, highest
        self.lift()

    def lift(self) -> None:
        """Forget all windows: the ceiling is what is configured."""
        self.limit = self.highest
        self._windows = 0

    def learn(self, p99_ns: int, target_ns: int, utilisation: float) -> int:
        """Return the ceiling that holds after a window.

        `utilisation` is the share of the window in which a worker of the busiest segment was at
        work, 0 to 1, on average.
        """
        sort = _judge(p99_ns > target_ns * HIGH, utilisation)
        self._windows = self._windows + 1 if sort is self._sort else 1
        self._sort = sort
        if self._windows >= sort.windows:
            self._windows = 0
            self.limit = min(max(self.limit + sort.step, self.lowest), self.highest)
        return self.limit


def _judge(is_bad: bool, utilisation: float) -> _Sort:
    if not is_bad:
        return _Sort.GOOD
    if utilisation >= UTILISATION_BUSY:
        return _Sort.BUSY
    return _Sort.WAITING if utilisation < UTILISATION_LOW else _Sort.UNCLEAR
