"""How long answers took, as a histogram that one window of time fills.

This module owns the buckets and the percentiles. It never reads a clock, and keeps no sample.

The buckets are log-linear, as those of HdrHistogram (G. Tene, https://hdrhistogram.org): every
power of two is parted into STEPS of one width. So a value is told too high by a sixteenth at most,
whatever its size, and to record one costs a shift and an addition.
"""

STEP_BITS = 4
STEPS = 1 << STEP_BITS
VALUE_BITS = 40
"""Values from 2^40 ns (18 minutes) on count as the largest."""
VALUE_MAX = (1 << VALUE_BITS) - 1
BUCKETS = (VALUE_BITS - STEP_BITS + 1) << STEP_BITS


class Latencies:
    """The latencies of one window, in nanoseconds."""

    def __init__(self) -> None:
        self.count = 0
        self._counts = [0] * BUCKETS

    def record(self, latency_ns: int, count: int = 1) -> None:
        """Count answers that took so long."""
        self._counts[find_bucket(latency_ns)] += count
        self.count += count

    def find_percentile(self, percent: float) -> int:
        """Return what so many percent took at most, in ns, at most 1/16 too high; 0 of nothing."""
        rank = max(1, -int(-self.count * percent // 100))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return find_highest(index)
        return 0

    def clear(self) -> None:
        """Begin a new window."""
        if self.count:
            self.count = 0
            self._counts = [0] * BUCKETS


def find_bucket(value: int) -> int:
    """Return the index of the bucket of a value."""
    if value < STEPS:
        return max(value, 0)
    shift = min(value, VALUE_MAX).bit_length() - STEP_BITS - 1
    return (shift << STEP_BITS) + (min(value, VALUE_MAX) >> shift)


def find_highest(index: int) -> int:
    """Return the highest value of a bucket."""
    shift = max((index >> STEP_BITS) - 1, 0)
    return ((index - (shift << STEP_BITS) + 1) << shift) - 1
