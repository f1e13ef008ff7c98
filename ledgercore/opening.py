"""Opening a ledger: the options, the recovery, and the journal's tail made ready for writing."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypedDict

from .directory import DataDirectory, explained, too_new
from .errors import DirectoryUnusable, InvalidArgument, JournalDamaged
from .frames import SEGMENT_HEADER_BYTES
from .journal import SEGMENT_BYTES_MIN, FileJournal
from .ledger import Ledger
from .logged_time import (
    ClockKeeper,
    decode_clock,
    is_newer_clock,
    read_boot_id,
    save_clock,
    start_clock,
)
from .memory import check_headroom
from .recovery import Capacity, Recovered, Recovery, settle_tail
from .replay import set_key_ttl, settle_keys
from .validation import check_range

RING_RECORDS = 65_536
DURABILITIES = ("sync", "memory")
NANOSECONDS = 1_000_000_000

WORKERS_MAX = min(4, max(1, len(os.sched_getaffinity(0)) - 2))
"""Workers of a segment at most, where nothing else is said: what is left of the processors beside
the journal's thread and the caller's. A worker that takes a processor from the journal brings
nothing: on two, a durable ledger took as much with one as with two, or more. The four is prudence:
who has measured more may ask for more."""

OPTION_RANGES = {
    "segments": (1, 256),
    "workers_min": (1, 256),
    "workers_max": (1, 256),
    "queue_size": (1, 1 << 24),
    "batch_max": (1, 16_384),
    "accounts_max": (1, 1 << 30),
    "keys_max": (1, 1 << 32),
    "keys_reserved": (0, 1 << 32),
    "key_ttl_s": (1, 10 * 366 * 86_400),
    "segment_bytes": (SEGMENT_BYTES_MIN, 1 << 32),
    "snapshot_every": (0, 1 << 30),
    "scrub_interval_s": (0, 366 * 86_400),
    "scrub_bytes_per_s": (65_536, 1 << 40),
    "instruments": (0, 1),
    "accept_clock": (0, 1),
}
"""The lowest and the highest value of each option that is a number."""


class OpenOptions(TypedDict, total=False):
    """What `ledgercore.open` takes by name; `Options` holds the defaults."""

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


@dataclass(frozen=True, slots=True)
class Options:
    """How a ledger is to run; checked when it is made, raising InvalidArgument."""

    durability: str = "sync"
    segments: int = 1
    workers_min: int = 1
    workers_max: int = WORKERS_MAX
    queue_size: int = 262_144
    batch_max: int = 8_192
    accounts_max: int = 16_777_216
    keys_max: int = 16_777_216
    keys_reserved: int = 0
    key_ttl_s: int = 86_400
    segment_bytes: int = 67_108_864
    snapshot_every: int = 16
    scrub_interval_s: int = 86_400
    scrub_bytes_per_s: int = 33_554_432
    instruments: int = 1
    accept_clock: int = 0

    def __post_init__(self) -> None:
        if self.durability not in DURABILITIES:
            raise InvalidArgument("durability", f"{self.durability!r} is not 'sync' or 'memory'")
        for name, (low, high) in OPTION_RANGES.items():
            # The plain int of it: arithmetic on a numpy integer would wrap.
            object.__setattr__(self, name, check_range(name, getattr(self, name), low, high))
        check_range("keys_reserved", self.keys_reserved, 0, self.keys_max)
        check_range("workers_min", self.workers_min, 1, self.workers_max)

    @property
    def key_ttl_ns(self) -> int:
        """How long keys are kept at least, in nanoseconds."""
        return self.key_ttl_s * NANOSECONDS

    @property
    def capacity(self) -> Capacity:
        """The sizes of the tables."""
        return Capacity(self.accounts_max, self.keys_max, RING_RECORDS, self.keys_reserved)


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger that is ready to run. In memory there is no directory and no journal."""

    ledger: Ledger
    journal: FileJournal | None
    directory: DataDirectory | None
    recovered: Recovered | None

    def seal(self) -> None:
        """Say in the files that the journal ended here, and how time was logged; raises OSError."""
        if self.journal is not None and self.directory is not None:
            self.journal.close()
            # Where it cannot be saved, the one stands that the newest records were logged by.
            with suppress(DirectoryUnusable):
                self.directory.write_clock(save_clock(self.ledger, read_boot_id()))

    def release(self) -> None:
        """Let go of the directory; in a forked child, only of the copies of its descriptors."""
        if self.directory is not None:
            self.directory.release()


def open_in_memory(options: Options) -> Opened:
    """A new ledger without a journal: everything is gone when it is closed."""
    ledger = Ledger(
        accounts_max=options.accounts_max,
        keys_max=options.keys_max,
        key_ttl_ns=options.key_ttl_ns,
        ring_records=RING_RECORDS,
        hash_key=secrets.token_bytes(16),
        keys_reserved=options.keys_reserved,
    )
    check_headroom()
    return Opened(ledger, None, None, None)


def open_directory(path: str | os.PathLike[str], options: Options) -> Opened:
    """Take the lock, make what is missing, recover, and stand at the journal's tail."""
    directory = DataDirectory(path)
    directory.hold(create=True)
    try:
        return open_held(directory, options)
    except BaseException:
        directory.release()
        raise


def open_held(directory: DataDirectory, options: Options) -> Opened:
    """Open a directory whose lock is held."""
    seal, clock = directory.read_seal(), directory.read_clock()
    if is_newer_clock(clock):
        raise too_new(str(directory.clock))
    if not directory.segment_paths():
        if (seal is not None and seal.segment > 0) or directory.snapshot_paths():
            raise JournalDamaged(f"{directory.journal}: the journal is gone: no segment is there")
        directory.create(segment_bytes=options.segment_bytes, key_ttl_ns=options.key_ttl_ns)
    directory.sync_everything()
    recovered = Recovery(directory, options.capacity).run()
    check_headroom()
    # Only now: where a newer program wrote, or the journal is damaged, nothing is touched.
    directory.remove_leftovers()
    settle_keys(recovered.ledger)
    saved = start_clock(recovered.ledger, decode_clock(clock), bool(options.accept_clock))
    directory.write_clock(saved)
    prepare_tail(directory, recovered, options)
    with explained(directory.path):
        journal = FileJournal(
            directory.journal,
            directory.open_seal(),
            recovered.header,
            recovered.seal,
            options.segment_bytes,
            recovered.offset,
            recovered.previous_crc,
            recovered.lsn,
            ClockKeeper(recovered.ledger, directory.write_clock),
        )
    return Opened(recovered.ledger, journal, directory, recovered)


def prepare_tail(directory: DataDirectory, recovered: Recovered, options: Options) -> None:
    """Settle what was recovered, and begin a new segment where the old one cannot go on.

    Keys are kept for as long as the header of the segment says, so that a replay forgets them when
    the engine did; another `key_ttl_s` needs another segment.
    """
    settle_tail(directory, recovered)
    if recovered.header.key_ttl_ns != options.key_ttl_ns:
        if not set_key_ttl(recovered.ledger, options.key_ttl_ns):
            raise InvalidArgument("key_ttl_s", "was changed to more than 256 different values")
        recovered.header = replace(
            recovered.header,
            salt=secrets.randbits(64),
            number=recovered.header.number + 1,
            first_lsn=recovered.lsn + 1,
            previous_crc=recovered.previous_crc,
            key_ttl_ns=options.key_ttl_ns,
        )
        directory.create_segment(recovered.header, options.segment_bytes)
        recovered.offset = SEGMENT_HEADER_BYTES
