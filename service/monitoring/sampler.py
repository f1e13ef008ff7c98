"""The sampler of a server: one sample a second, while there is something to see, for five minutes.

This module owns when the totals are read, and the samples that are kept. It looks only while there
is work or somebody watches. Work and viewers wake it, and it stops by itself after a second in
which nothing happened, so that a server without work has no timer. It never says what a sample
holds, and never tells a client anything.
"""

import time
from collections import deque
from collections.abc import Callable

from ..scaling.workers import Loop, Timer
from ..wire.problems import Problem
from .sample import Sample, is_quiet, make_quiet, make_sample
from .totals import Totals

INTERVAL_S = 1.0
SAMPLES_MAX = 300
"""How many samples are kept: five minutes of them."""

Listener = Callable[[Sample, Totals, Totals], None]
"""Who is told of each sample, and of the totals before and after it."""


class Sampler:
    """The samples of one server. Belongs to one loop, used only in it.

    `read` returns the totals of now, and raises Problem while there is no ledger. `clock` tells the
    seconds since the epoch.
    """

    def __init__(
        self, read: Callable[[], Totals], loop: Loop, clock: Callable[[], float] = time.time
    ) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        """The oldest first, a second between two of them."""
        self.listeners: list[Listener] = []
        self._read = read
        self._loop = loop
        self._clock = clock
        self._watchers = 0
        self._timer: Timer | None = None
        self._is_closed = False
        self._seen: Totals

    @property
    def is_awake(self) -> bool:
        """Whether a sample is to come."""
        return self._timer is not None

    def wake(self) -> None:
        """Sample from now on, until nothing happens any more. Cheap while it samples already."""
        if self._timer is not None or self._is_closed:
            return
        try:
            self._seen = self._read()
        except Problem:
            return  # There is no ledger to look at yet, or any more.
        self._fill()
        self._timer = self._loop.call_later(INTERVAL_S, self._look)

    def begin_watching(self) -> None:
        """Sample, whether or not there is work, until as many `end_watching` as have begun."""
        self._watchers += 1
        self.wake()

    def end_watching(self) -> None:
        """End what one `begin_watching` has begun."""
        self._watchers -= 1

    def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        before = self._seen
        try:
            after = self._seen = self._read()
        except Problem:
            return
        sample = make_sample(self._clock(), before, after)
        self.samples.append(sample)
        if self._watchers > 0 or not is_quiet(before, after):
            self._timer = self._loop.call_later(INTERVAL_S, self._look)
        for listener in self.listeners:
            listener(sample, before, after)

    def _fill(self) -> None:
        """Add the seconds that were slept through, in which nothing happened."""
        if not self.samples:
            return
        last = self.samples[-1]
        # Of a clock that was set back nothing is known, and nothing is added.
        slept = int((self._clock() - last["t"]) / INTERVAL_S)
        for second in range(max(slept - SAMPLES_MAX, 0) + 1, slept + 1):
            self.samples.append(make_quiet(last, last["t"] + second * INTERVAL_S))
