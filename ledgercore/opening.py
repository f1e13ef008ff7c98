"""Opening a ledger: the recovery, and the journal's tail made ready for writing."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace

from .directory import DataDirectory, explained, too_new
from .errors import DirectoryUnusable, InvalidArgument, JournalDamaged
from .frames import SEGMENT_HEADER_BYTES
from .journal import FileJournal
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
from .options import RING_RECORDS, Options
from .recovery import Recovered, Recovery, settle_tail
from .replay import set_key_ttl, settle_keys


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
