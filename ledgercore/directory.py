"""The data directory: its files, its lock, and what has to be on the disk before it is read.

    DIR/lock                    held by the one process that writes, as is DIR itself
    DIR/seal                    how far the journal was synced (src/seal.h)
    DIR/clock                   how time was logged (logged_time.pyx)
    DIR/journal/N.segment       the journal (src/frame.h)
    DIR/snapshots/LSN.snapshot  states, made from the journal

It knows names and bytes, never what they mean for balances.
"""

import errno
import logging
import mmap
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import (
    DirectoryUnusable,
    InvalidArgument,
    JournalDamaged,
    MemoryUnavailable,
    too_new,
)
from .file_replacement import replace_file, sync_directory
from .frames import (
    KIND_JOURNAL,
    SEAL_BYTES,
    SEGMENT_HEADER_BYTES,
    Seal,
    SegmentHeader,
    encode_seal,
    encode_segment_header,
    find_end,
    is_newer_seal,
    is_newer_segment,
    read_seal,
    read_segment_header,
)
from .locking import DirectoryLock
from .memory import NO_MEMORY, describe_limit
from .permissions import make_folder, open_private, tighten

FILL_BYTES = 1 << 20
MADV_POPULATE_READ = 22  # linux/mman.h, from 5.14 on; the mmap module does not name it.
SPARE_NAME = "spare.tmp"
SEGMENT_DIGITS = 10
LSN_DIGITS = 20

logger = logging.getLogger("ledgercore")


@dataclass(frozen=True, slots=True)
class FileView:
    """A file's bytes, mapped for reading; empty files have none."""

    path: Path
    data: memoryview


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the OS refuses into one clear sentence."""
    try:
        yield
    except OSError as error:
        name = error.filename or path
        if error.errno == errno.ENOMEM:
            raise MemoryUnavailable(f"{name}: {NO_MEMORY}: {describe_limit()}") from error
        raise DirectoryUnusable(f"{name}: {error.strerror or error}") from error


def write_file(path: Path, data: bytes) -> None:
    """Put a whole file in place; what a power cut leaves beside it is removed at the next open."""
    replace_file(path, data, suffix=".tmp")


def map_file(path: Path, *, is_read_through: bool = False) -> memoryview:
    """Return a file's bytes. The mapping lives as long as the view.

    Where all of it is about to be read, it is brought to memory first: what the disk cannot give
    back is an OSError then, and not a signal that ends the process.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return memoryview(b"")
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        mapping.madvise(mmap.MADV_SEQUENTIAL)
        if is_read_through:
            read_through(file.fileno(), mapping)
        return memoryview(mapping)


def read_through(descriptor: int, mapping: mmap.mmap) -> None:
    """Bring all of a file to memory. Raises OSError, which names the offset."""
    with suppress(OSError):
        mapping.madvise(MADV_POPULATE_READ)
        return
    # What failed, or an older kernel: calls tell where, and why.
    buffer = bytearray(FILL_BYTES)
    offset = 0
    try:
        while count := os.preadv(descriptor, [buffer], offset):
            offset += count
    except OSError as error:
        raise OSError(error.errno, f"offset {offset}: {error.strerror}") from error


class DataDirectory:
    """The files of one ledger. Only `hold` and what writes need the lock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        if not name or "\0" in name:
            raise InvalidArgument("path", f"{name!r} is no path of a directory")
        self.path = Path(path).absolute()
        self.journal = self.path / "journal"
        self.snapshots = self.path / "snapshots"
        self.seal = self.path / "seal"
        self.clock = self.path / "clock"
        self.lock = DirectoryLock(self.path)

    # -- the lock ---------------------------------------------------------------------------------

    def hold(self, *, create: bool, writes: bool = True) -> None:
        """Take the lock for as long as this process lives, or until `release`.

        Who writes also closes what is there to everybody but its owner.
        """
        with explained(self.path):
            if create:
                missing = [folder for folder in self.path.parents if not folder.exists()]
                make_folder(self.journal)
                make_folder(self.snapshots)
                for folder in {*missing, *(above.parent for above in missing), self.path.parent}:
                    # Who may not read the folder above did not make this one either.
                    with suppress(PermissionError):
                        sync_directory(folder)
            else:
                self.require()
            self.lock.acquire(writes=writes)
        if writes:
            try:
                self.tighten()
            except BaseException:
                self.release()
                raise

    def tighten(self) -> None:
        """Take from others what they may do with the files here, and say so."""
        with explained(self.path):
            own = [self.path, self.lock.file, self.clock, *self.path.glob(f"{self.seal.name}*")]
            for folder in (self.journal, self.snapshots):
                own += [folder, *folder.glob("*")]
            count, left = tighten(own)
        if count:
            logger.warning(
                "%s: others than the owner could open %d files and folders here, and cannot any"
                " more",
                self.path,
                count,
                extra={"event": "tightened", "files": count},
            )
        if left:
            logger.warning(
                "%s: others than the owner may open this, and %d more like it; that cannot be"
                " changed here",
                left[0],
                len(left) - 1,
                extra={"event": "open-to-others", "files": len(left)},
            )

    def require(self) -> None:
        """Raise DirectoryUnusable where there is no ledger, or who asks may not look."""
        names: list[str] = []
        with explained(self.path):
            if self.path.exists():
                names = os.listdir(self.path)
            if self.journal.name in names:
                os.listdir(self.journal)
            elif self.seal.name not in names:
                raise DirectoryUnusable(f"{self.path}: there is no ledger here")

    def release(self) -> None:
        """Let go of the lock, in the name of children too that were forked meanwhile."""
        self.lock.release()

    # -- reading ----------------------------------------------------------------------------------

    def sync_everything(self) -> None:
        """Bring to the disk what is only in the page cache: it is about to be believed.

        Without this, a record that a killed process wrote but did not sync could be answered from,
        and then be lost with the power.
        """
        with explained(self.path):
            files = [*self.segment_paths(), *self.snapshot_paths()]
            if self.seal.exists():
                files.append(self.seal)
            for path in files:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            for folder in (self.journal, self.snapshots, self.path):
                sync_directory(folder)

    def segment_paths(self) -> list[Path]:
        """The segments, by number."""
        return self._list(self.journal, SEGMENT_DIGITS, ".segment")

    def snapshot_paths(self) -> list[Path]:
        """The snapshots, the newest first."""
        return self._list(self.snapshots, LSN_DIGITS, ".snapshot")[::-1]

    def _list(self, folder: Path, digits: int, suffix: str) -> list[Path]:
        """The files of a folder that are called by a number, in its order; none where it is not."""
        with explained(folder):
            names = os.listdir(folder) if folder.exists() else []
        found = re.compile(rf"[0-9]{{{digits}}}{re.escape(suffix)}").fullmatch
        return sorted(folder / name for name in names if found(name))

    def read_seal(self) -> Seal | None:
        """The seal, or None where the file or both of its slots are gone. Raises FormatTooNew."""
        with explained(self.seal):
            if not self.seal.exists():
                return None
            data = self.seal.read_bytes().ljust(1, b"\0")
        if is_newer_seal(data):
            raise too_new(str(self.seal))
        return read_seal(data)

    def read_clock(self) -> bytes:
        """The bytes of the clock's file; none where it is not there."""
        with explained(self.clock):
            return self.clock.read_bytes() if self.clock.exists() else b""

    def write_clock(self, data: bytes) -> None:
        """Replace the clock's file."""
        with explained(self.clock):
            write_file(self.clock, data)

    def read_header(self, path: Path) -> SegmentHeader:
        """A segment's header; raises JournalDamaged where it is not sound, FormatTooNew."""
        header = self.read_any_header(path)
        if header is None or header.kind != KIND_JOURNAL:
            raise JournalDamaged(f"{path}: offset 0: this is no header of a segment")
        if path.name != segment_name(header.number):
            raise JournalDamaged(f"{path}: offset 0: the header says segment {header.number}")
        return header

    def read_any_header(self, path: Path) -> SegmentHeader | None:
        """The header of a segment or snapshot, None where it is not sound; raises FormatTooNew."""
        data = b""
        # A snapshot that is not wanted any more may go at any time.
        with explained(path), suppress(FileNotFoundError), open(path, "rb") as file:
            data = file.read(SEGMENT_HEADER_BYTES)
        if is_newer_segment(data):
            raise too_new(f"{path}: offset 0")
        return read_segment_header(data) if data else None

    def refuse_newer(self) -> None:
        """Raise FormatTooNew where any file begins as a newer program's does."""
        self.read_seal()
        for path in [*self.segment_paths(), *self.snapshot_paths()]:
            self.read_any_header(path)

    def read_segment(self, path: Path) -> tuple[SegmentHeader, memoryview]:
        """A segment's header and bytes. Each mapping holds a descriptor, so keep few of them."""
        header = self.read_header(path)
        with explained(path):
            return header, map_file(path)

    # -- writing ----------------------------------------------------------------------------------

    def create(self, *, segment_bytes: int, key_ttl_ns: int) -> None:
        """Make the first segment of a new ledger, with an id and a hash key of its own.

        The seal comes first and is told of the segment last, so that a journal that is not there
        can be told from one that never was.
        """
        header = SegmentHeader(
            kind=KIND_JOURNAL,
            salt=secrets.randbits(64),
            number=1,
            first_lsn=1,
            previous_crc=0,
            ledger_id=secrets.token_bytes(16),
            hash_key=secrets.token_bytes(16),
            created_ns=time.time_ns(),
            key_ttl_ns=key_ttl_ns,
        )
        with explained(self.path):
            self.write_seal(Seal(0, 0, header.ledger_id, 0, True, 1))
            self.create_segment(header, segment_bytes)
            self.write_seal(Seal(0, 1, header.ledger_id, 0, True, 2))

    def create_segment(self, header: SegmentHeader, segment_bytes: int) -> None:
        """Put a new, zero-filled segment in place."""
        beside = self.journal / SPARE_NAME
        with explained(beside):
            with open(beside, "wb", opener=open_private) as file:
                file.write(encode_segment_header(header))
                for _ in range(SEGMENT_HEADER_BYTES, segment_bytes, FILL_BYTES):
                    file.write(bytes(min(FILL_BYTES, segment_bytes - file.tell())))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.journal / segment_name(header.number))
            sync_directory(self.journal)

    def write_seal(self, seal: Seal) -> None:
        """Replace the whole seal file."""
        with explained(self.seal):
            write_file(self.seal, encode_seal(seal).ljust(SEAL_BYTES, b"\0"))

    def open_seal(self) -> int:
        """A descriptor for the journal to write seals to."""
        with explained(self.seal):
            return os.open(self.seal, os.O_RDWR | os.O_CLOEXEC)

    def remove_leftovers(self) -> None:
        """Remove what a killed process left half made."""
        with explained(self.path):
            for folder in (self.journal, self.snapshots, self.path):
                for path in folder.glob("*.tmp"):
                    path.unlink()

    def rewrite(self, path: Path, start: int, end: int) -> None:
        """Write a segment's header and the bytes from `start` to `end` once more, and sync them.

        A sync that failed may have left them in the page cache alone, marked as written: to sync
        again would prove nothing, to write again does.
        """
        with explained(path), open(path, "r+b") as file:
            for first, last in ((0, SEGMENT_HEADER_BYTES), (start, end)):
                file.seek(first)
                data = file.read(last - first)
                file.seek(first)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def clear_tail(self, path: Path, offset: int) -> int:
        """Zero what a torn frame left behind the last whole one; returns the bytes that were not.

        Nobody was told of it. It has to be gone before anything is appended, for it could be taken
        for a frame later.
        """
        data = map_file(path)
        torn = find_end(data, offset) - offset
        if torn > 0:
            with explained(path), open(path, "r+b") as file:
                file.seek(offset)
                file.write(bytes(torn))
                file.flush()
                os.fsync(file.fileno())
        return torn


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:0{SEGMENT_DIGITS}d}.segment"


def snapshot_name(lsn: int) -> str:
    """The file name of a snapshot; names sort as their LSNs do."""
    return f"{lsn:0{LSN_DIGITS}d}.snapshot"
