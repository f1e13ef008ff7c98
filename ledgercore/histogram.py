"""A histogram as a value: how often each size was counted, in the buckets of src/histogram.h.

This module owns what is made of the counts: percentiles, differences, counts below a bound. It
records nothing; the native threads do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEP_BITS = 5
VALUE_BITS = 40
BUCKETS = (VALUE_BITS - STEP_BITS + 1) << STEP_BITS


def _make_highest() -> npt.NDArray[np.int64]:
    """Return the highest value of each bucket."""
    buckets = np.arange(BUCKETS, dtype=np.int64)
    shifts = np.maximum((buckets >> STEP_BITS) - 1, 0)
    highest: npt.NDArray[np.int64] = ((buckets - (shifts << STEP_BITS) + 1) << shifts) - 1
    return highest


HIGHEST = _make_highest()
"""The highest value of each bucket, shape (BUCKETS,). Every power of two begins a bucket."""


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How often each size was seen: `counts` by bucket, shape (BUCKETS,), and their `sum`.

    Times are in nanoseconds.
    """

    counts: npt.NDArray[np.uint64]
    sum: int

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean of all values; 0 of none."""
        return self.sum / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """Return what so many percent of the values are at most, 1/32 too high at most; 0 of none.

        By the nearest rank: of 100 values, the 99th is the p99.
        """
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: tuple[float, ...]) -> tuple[int, ...]:
        """Return several percentiles, as `percentile`."""
        seen = np.cumsum(self.counts)
        total = int(seen[-1])
        if total == 0:
            return (0,) * len(percents)
        ranks = [max(1, -int(-total * percent // 100)) for percent in percents]
        return tuple(int(HIGHEST[index]) for index in np.searchsorted(seen, ranks))

    def count_below(self, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return how many values are below each bound, shape as `bounds`.

        Exact for bounds at which a bucket begins, such as powers of two.
        """
        seen = np.concatenate(([np.uint64(0)], np.cumsum(self.counts)))
        return seen[np.searchsorted(HIGHEST, bounds)]

    def since(self, earlier: "Histogram") -> "Histogram":
        """Return what was added since the same histogram was read before."""
        return Histogram(self.counts - earlier.counts, self.sum - earlier.sum)


EMPTY = Histogram(np.zeros(BUCKETS, np.uint64), 0)
"""A histogram of nothing."""
