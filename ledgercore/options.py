"""The options of a ledger: each with its default, its range and its meaning.

This module owns that table. The settings and flags of the server take all of it from here, and tell
their own in the same way.
"""

import os
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypedDict

from .errors import InvalidArgument
from .journal import SEGMENT_BYTES_MIN
from .recovery import Capacity
from .validation import check_range

RING_RECORDS = 65_536
DURABILITIES = ("sync", "memory")
NANOSECONDS = 1_000_000_000

WORKERS_MAX = min(4, max(1, len(os.sched_getaffinity(0)) - 2))
"""Workers of a segment at most, where nothing else is said: what is left of the processors beside
the journal's thread and the caller's. A worker that takes a processor from the journal brings
nothing: on two, a durable ledger took as much with one as with two, or more. The four is prudence:
who has measured more may ask for more."""


class Range(NamedTuple):
    """The lowest and the highest value of a number."""

    lowest: int
    highest: int


def option(default: Any, meaning: str, lowest: int = 0, highest: int = 0) -> Any:
    """Return the field of an option: its default and what it means, and of a number its range.

    In `meaning` the names of other options stand between backticks.
    """
    metadata = {"meaning": meaning, "range": Range(lowest, highest) if highest else None}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Options:
    """How a ledger is to run; checked when it is made, raising InvalidArgument."""

    durability: str = option("sync", "sync: an answer means on the disk. memory: no journal.")
    segments: int = option(1, "Queues, each with its own workers.", 1, 256)
    workers_min: int = option(1, "Worker threads that each queue has at least.", 1, 256)
    workers_max: int = option(
        WORKERS_MAX, "Worker threads that each queue gets when there is much to do.", 1, 256
    )
    queue_size: int = option(
        262_144, "Transfers that may wait in each queue; more are refused.", 1, 1 << 24
    )
    batch_max: int = option(8_192, "Transfers that one batch may hold.", 1, 16_384)
    accounts_max: int = option(16_777_216, "Accounts there may be.", 1, 1 << 30)
    keys_max: int = option(
        16_777_216,
        "Idempotency keys held at most, up to 200 bytes each. A key is held for one to two times"
        " `key_ttl_s`, so this is twice as many as come in that time.",
        1,
        1 << 32,
    )
    keys_reserved: int = option(
        0, "Keys whose memory is taken at the start; more is taken as needed.", 0, 1 << 32
    )
    key_ttl_s: int = option(
        86_400, "Seconds that a key is remembered at least.", 1, 10 * 366 * 86_400
    )
    segment_bytes: int = option(67_108_864, "Bytes of a journal file.", SEGMENT_BYTES_MIN, 1 << 32)
    snapshot_every: int = option(
        16,
        "Journal files between two snapshots, each by a process with tables of its own; 0 is none.",
        0,
        1 << 30,
    )
    scrub_interval_s: int = option(
        86_400, "Seconds between two readings of all that is sealed; 0: never.", 0, 366 * 86_400
    )
    scrub_bytes_per_s: int = option(
        33_554_432, "Bytes a second that such a reading takes at most.", 65_536, 1 << 40
    )
    instruments: int = option(1, "1: count and time what is done. 0: do neither.", 0, 1)
    accept_clock: int = option(
        0,
        "Accept the clock, though it is a day or more behind what was logged, or was set ahead.",
        0,
        1,
    )

    def __post_init__(self) -> None:
        if self.durability not in DURABILITIES:
            raise InvalidArgument("durability", f"{self.durability!r} is not 'sync' or 'memory'")
        for name, (low, high) in OPTION_RANGES.items():
            # The plain int of it: arithmetic on a numpy integer would wrap.
            object.__setattr__(self, name, check_range(name, getattr(self, name), low, high))
        check_range("keys_reserved", self.keys_reserved, 0, self.keys_max)
        check_range("workers_min", self.workers_min, 1, self.workers_max)

    @classmethod
    def ranges(cls) -> dict[str, Range]:
        """Return the range of each option that is a number."""
        ranges = {one.name: one.metadata["range"] for one in fields(cls)}
        return {name: found for name, found in ranges.items() if found is not None}

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """Return what each option means, in a sentence or two."""
        return {one.name: one.metadata["meaning"] for one in fields(cls)}

    @property
    def key_ttl_ns(self) -> int:
        """How long keys are kept at least, in nanoseconds."""
        return self.key_ttl_s * NANOSECONDS

    @property
    def capacity(self) -> Capacity:
        """The sizes of the tables."""
        return Capacity(self.accounts_max, self.keys_max, RING_RECORDS, self.keys_reserved)


OPTION_RANGES = Options.ranges()
"""The lowest and the highest value of each option that is a number."""


class OpenOptions(TypedDict, total=False):
    """What `ledgercore.open` takes by name: the same as `Options`, all of it optional."""

    durability: str
    segments: int
    workers_min: int
    workers_max: int
    queue_size: int
    batch_max: int
    accounts_max: int
    keys_max: int
    keys_reserved: int
    key_ttl_s: int
    segment_bytes: int
    snapshot_every: int
    scrub_interval_s: int
    scrub_bytes_per_s: int
    instruments: int
    accept_clock: int
