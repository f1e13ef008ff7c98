"""What an engine has counted and timed of itself, read from its native meters (src/meters.h)."""

from dataclasses import dataclass

from .executor import Executor
from .histogram import Histogram
from .status import Status


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What an engine has counted since it was opened; all zero where it does not measure.

    `queue`, `kernel` and `journal` are the parts of a transfer's way, in nanoseconds, of every
    transfer that was submitted: until a worker takes it, in the batch that it is applied in, and
    from there to the disk. `sync` is the write and sync of each group in nanoseconds, `batches` and
    `groups` are sizes. `outcomes` counts first answers, `replays` those that a key had already.
    """

    queue: Histogram
    kernel: Histogram
    journal: Histogram
    sync: Histogram
    batches: Histogram
    groups: Histogram
    outcomes: dict[Status, int]
    replays: int
    journal_bytes: int


def read_measures(executor: Executor) -> Measures:
    """Return what was counted so far. Each call copies some 50 KB."""
    histograms, outcomes, replays, journal_bytes = executor.measure()
    queue, kernel, journal, sync, batches, groups = (Histogram(*each) for each in histograms)
    counts = {status: outcomes[status] for status in Status}
    return Measures(queue, kernel, journal, sync, batches, groups, counts, replays, journal_bytes)
