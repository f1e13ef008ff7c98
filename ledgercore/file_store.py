"""The store that a data directory is: what of a store's contract (store.py) is about files.

A chapter is a segment, the claim is the lock on the directory, and the seal says how far the
journal was synced. The names and bytes of the files are in directory.py, what is written in
journal.pyx, what is done meanwhile in housekeeping.py. It never judges what records mean.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .directory import (
    DataDirectory,
    explained,
    map_file,
    segment_name,
    snapshot_name,
)
from .errors import InvalidArgument, JournalDamaged, too_new
from .file_replacement import sync_directory
from .frames import (
    FRAME_ALIGNMENT,
    SEGMENT_HEADER_BYTES,
    Scan,
    Seal,
    SegmentHeader,
    find_end,
    find_later_synced,
)
from .history import History
from .housekeeping import Housekeeper
from .journal import FileJournal
from .logged_time import ClockKeeper, decode_clock, is_newer_clock, start_clock
from .permissions import open_private
from .replay import set_key_ttl
from .store import Chapter, Claim, Named, Recovered, StoreOptions, chapters_after, damage_at

Segment = tuple[Path, SegmentHeader]


@dataclass(frozen=True, slots=True)
class FileChapter:
    """One segment of a directory."""

    path: Path
    header: SegmentHeader
    synced: Named
    start: int = SEGMENT_HEADER_BYTES

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self.path)

    @property
    def size(self) -> int:
        """The size of the file, zeros behind the last frame included."""
        return self.path.stat().st_size

    def read(self) -> Iterator[memoryview]:
        """Yield all behind the header in one piece, brought to memory."""
        with explained(self.path):
            data = map_file(self.path, is_read_through=True)
        yield data[SEGMENT_HEADER_BYTES:]


class FileSnapshots:
    """The snapshots of a directory."""

    def __init__(self, directory: DataDirectory) -> None:
        self.directory = directory

    def path(self, lsn: int) -> Path:
        """The file of a snapshot, there or not."""
        return self.directory.snapshots / snapshot_name(lsn)

    def place(self, lsn: int) -> str:
        """The path of the file."""
        return str(self.path(lsn))

    def lsns(self) -> list[int]:
        """The LSNs in the names of the files, the newest first."""
        return [int(path.stem) for path in self.directory.snapshot_paths()]

    def read_header(self, lsn: int) -> SegmentHeader | None:
        """The head of the file."""
        return self.directory.read_any_header(self.path(lsn))

    def read(self, lsn: int) -> memoryview:
        """The file, mapped."""
        path = self.path(lsn)
        with explained(path), suppress(FileNotFoundError):
            return map_file(path, is_read_through=True)
        return memoryview(b"")

    def put(
        self, lsn: int, parts: Iterable[bytes], check: Callable[[str, memoryview], None]
    ) -> None:
        """Write beside, sync, read back, rename, and sync the folder."""
        path = self.path(lsn)
        beside = path.with_name(path.name + ".tmp")
        with explained(path):
            with open(beside, "wb", opener=open_private) as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            check(str(beside), map_file(beside, is_read_through=True))
            beside.replace(path)
            sync_directory(self.directory.snapshots)

    def drop(self, lsn: int) -> None:
        """Remove the file."""
        path = self.path(lsn)
        with explained(path):
            path.unlink()


class FileStore:
    """A ledger in a data directory. The contract of each call is in store.py."""

    def __init__(self, path: str | os.PathLike[str], *, seal: Seal | None = None) -> None:
        """A `seal` that is given counts in the place of the directory's."""
        self.directory = DataDirectory(path)
        self.address = self.place = str(self.directory.path)
        self._trusted_seal = seal
        self._history = History(self.directory)
        self._snapshots = FileSnapshots(self.directory)
        self._clock = b""
        self._options: StoreOptions | None = None
        self._journal: FileJournal | None = None

    # -- the right to write -----------------------------------------------------------------------

    def claim(self, options: StoreOptions) -> Claim:
        """Take the lock, and make what is missing."""
        directory = self.directory
        directory.hold(create=True)
        try:
            seal, self._clock = directory.read_seal(), directory.read_clock()
            if is_newer_clock(self._clock):
                raise too_new(str(directory.clock))
            is_new = not directory.segment_paths()
            if is_new:
                if (seal is not None and seal.segment > 0) or directory.snapshot_paths():
                    raise JournalDamaged(
                        f"{directory.journal}: the journal is gone: no segment is there"
                    )
                directory.create(segment_bytes=options.segment_bytes, key_ttl_ns=options.key_ttl_ns)
            directory.sync_everything()
        except BaseException:
            directory.release()
            raise
        self._options, self._journal = options, None
        return Claim(is_new)

    def writer(self, recovered: Recovered) -> FileJournal:
        """Anchor the clock, make the tail ready, and stand behind it."""
        directory, options = self.directory, self._require_claim()
        # Only now: where a newer program wrote, or the journal is damaged, nothing is touched.
        directory.remove_leftovers()
        known = decode_clock(self._clock)
        directory.write_clock(start_clock(recovered.ledger, known, bool(options.accept_clock)))
        prepare_tail(directory, recovered, options)
        with explained(directory.path):
            self._journal = FileJournal(
                directory.journal,
                directory.open_seal(),
                recovered.header,
                self._read_seal(),
                options.segment_bytes,
                recovered.offset,
                recovered.previous_crc,
                recovered.lsn,
                ClockKeeper(recovered.ledger, directory.write_clock),
            )
        return self._journal

    def start_maintenance(self) -> Housekeeper:
        """Make segments ahead and snapshots now and then, and read again what is sealed."""
        options = self._require_claim()
        if self._journal is None:
            raise RuntimeError("there is no journal yet")
        return Housekeeper(self._journal, self.directory, options)

    def release(self) -> None:
        """Let go of the lock."""
        self.directory.release()

    def _require_claim(self) -> StoreOptions:
        if self._options is None:
            raise RuntimeError("the store was not claimed")
        return self._options

    # -- reading ----------------------------------------------------------------------------------

    def chapters(self, after_lsn: int = 0) -> Iterator[Chapter]:
        """The segments; all headers are read at once."""
        seal = self._read_seal()
        synced = Named(str(self.directory.seal), seal.synced_lsn, seal.frame_crc)
        found: list[Chapter] = [
            FileChapter(path, header, synced) for path, header in self._list_segments(seal)
        ]
        return iter(chapters_after(found, after_lsn))

    def check_end(self, chapter: Chapter, scan: Scan) -> int:
        """Look for what says that more than was walked over was synced: the seal, or a frame."""
        with explained(Path(chapter.place)):
            data = map_file(Path(chapter.place), is_read_through=True)
        reason = None
        end = find_end(data, scan.offset)
        # A frame may end in zeros, to the next multiple of its alignment.
        frames_end = -(-end // FRAME_ALIGNMENT) * FRAME_ALIGNMENT
        if chapter.synced.lsn >= scan.next_lsn:
            reason = f"the seal says that LSN {chapter.synced.lsn} was synced"
        elif later := find_later_synced(
            data[:frames_end], scan.offset, chapter.header.salt, scan.next_lsn
        ):
            reason = f"a later frame, at {later}, says that it was synced"
        if reason is not None:
            raise damage_at(chapter, scan, data[scan.offset :], reason)
        return end - scan.offset

    def find(self, lsn: int) -> tuple[bytes, bytes]:
        """Find the record in its segment."""
        found = self._history.find(lsn)
        if found is None:
            raise JournalDamaged(f"{self.directory.journal}: LSN {lsn} has gone")
        return found

    def snapshots(self) -> FileSnapshots:
        """The files of the folder of snapshots."""
        return self._snapshots

    def _read_seal(self) -> Seal:
        """The seal that counts. Raises JournalDamaged where there is none, FormatTooNew."""
        seal = self._trusted_seal or self.directory.read_seal()
        if seal is None:
            raise JournalDamaged(f"{self.directory.seal}: there is no valid seal in it")
        return seal

    def _list_segments(self, seal: Seal) -> list[Segment]:
        """The segments in their order; raises JournalDamaged where one is missing or foreign."""
        segments: list[Segment] = []
        for number, path in enumerate(self.directory.segment_paths(), 1):
            header = self.directory.read_header(path)
            if header.ledger_id != seal.ledger_id:
                raise JournalDamaged(f"{path}: offset 0: this segment is of another ledger")
            if header.number != number:
                missing = self.directory.journal / segment_name(number)
                raise JournalDamaged(f"{missing}: this segment is missing before {path}")
            before = segments[-1][1] if segments else replace(header, first_lsn=1)
            begins_well = number > 1 or (header.first_lsn, header.previous_crc) == (1, 0)
            if (
                not begins_well
                or header.first_lsn < before.first_lsn
                or header.hash_key != before.hash_key
            ):
                raise JournalDamaged(f"{path}: offset 0: this segment is of another history")
            segments.append((path, header))
        if not segments or segments[-1][1].number < seal.segment:
            raise JournalDamaged(
                f"{self.directory.journal}: segment {seal.segment} is missing, which the seal names"
            )
        return segments


def prepare_tail(directory: DataDirectory, recovered: Recovered, options: StoreOptions) -> None:
    """Settle what was recovered, and begin a new segment where the old one cannot go on.

    Keys are kept for as long as the header of the segment says, so that a replay forgets them when
    the engine did; another `key_ttl_s` needs another segment.
    """
    make_tail_durable(directory, recovered)
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


def make_tail_durable(directory: DataDirectory, recovered: Recovered) -> None:
    """Put on the disk for good what was recovered, before anybody is told of it or builds on it.

    The last frame is written again, in case its sync had failed; what a torn one left behind it
    goes. Only for who holds the lock.
    """
    path = directory.segment_paths()[-1]
    directory.rewrite(path, recovered.last_offset or recovered.offset, recovered.offset)
    directory.clear_tail(path, recovered.offset)
