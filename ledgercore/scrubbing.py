"""The scrub: sealed files are read again in the background, so that damage is found early.

A start reads the journal only from the newest snapshot on; what lies below it may rot unseen until
somebody asks for it. So one thread reads every sealed segment and every snapshot once after the
start, and then once an interval, at a bounded pace, from the disk where that can be told to give
its own bytes. It checks checksums and the chain from file to file, never what records mean: that
was done when they were first read. It changes nothing. What it finds is told in the log, in
`Scrub.state` and by every audit; a running ledger goes on, since what it answers for from here on
does not rest on what has rotted.
"""

import errno
import logging
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .directory import DataDirectory, explained, segment_name
from .errors import (
    DirectoryUnusable,
    FormatTooNew,
    JournalDamaged,
    MemoryUnavailable,
    too_new,
)
from .frames import SEGMENT_HEADER_BYTES, Scan, SegmentHeader, scan_frames
from .journal import FileJournal
from .store import Named
from .types import ScrubState

WINDOW_BYTES = 4 << 20
"""What is read at once: more than the largest frame."""
PAGE_BYTES = 4096
SNAPSHOTS_READ = 2
NICE = 10
UNREAD = "unread"
ROTTEN = {errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EILSEQ, errno.ENODATA}
"""What a disk or a file system answers where it cannot give back what was written."""

logger = logging.getLogger("ledgercore")


class Stopped(Exception):
    """Raised in the scrub's thread when it is to end."""


@dataclass(slots=True)
class Reader:
    """Reads a file window by window, at a pace; counts what it has read."""

    rate_bytes_per_s: int
    stop: threading.Event
    buffer: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, WINDOW_BYTES))
    bytes: int = 0

    @contextmanager
    def open(self, path: Path) -> Iterator[Callable[[int], memoryview]]:
        """Open a file; yields what reads a window of it from an offset on, a multiple of a page."""
        with explained(path):
            descriptor = open_past_cache(path)
            try:
                yield lambda offset: self.read(descriptor, offset)
            finally:
                os.close(descriptor)

    def read(self, descriptor: int, offset: int) -> memoryview:
        """Read a window, and wait as long as that much may take. Raises Stopped."""
        started = time.monotonic()
        count = os.preadv(descriptor, [self.buffer], offset)
        self.bytes += count
        due_s = count / self.rate_bytes_per_s - (time.monotonic() - started)
        if self.stop.wait(max(0.0, due_s)):
            raise Stopped
        return memoryview(self.buffer)[:count]


def open_past_cache(path: Path) -> int:
    """Open a file for reading what is on the disk, or else what the page cache has of it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        try:
            os.preadv(descriptor, [mmap.mmap(-1, PAGE_BYTES)], 0)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def walk(
    read: Callable[[int], memoryview], header: SegmentHeader, first: Scan, *lsns: int
) -> tuple[Scan, dict[int, int]]:
    """Walk all frames of a file; returns where they end, and the checksums at two LSNs at most."""
    scan, found = first, dict[int, int]()
    one, other = (*lsns, 0, 0)[:2]
    while True:
        base = scan.offset // PAGE_BYTES * PAGE_BYTES
        with read(base) as window:
            step = scan_frames(
                window,
                header.salt,
                scan.offset - base,
                scan.previous_crc,
                scan.next_lsn,
                sealed_lsn=one,
                snapshot_lsn=other,
            )
        for lsn, crc in ((one, step.sealed_crc), (other, step.snapshot_crc)):
            if lsn > 0 and crc is not None:
                found[lsn] = crc
        is_over = step.next_lsn == scan.next_lsn
        scan = Scan(base + step.offset, step.previous_crc, step.next_lsn, end=step.end)
        if is_over:
            return scan, found


class Scrub:
    """The scrub of one open ledger, in a thread of its own. `interval_s` 0 is none."""

    def __init__(
        self,
        journal: FileJournal,
        directory: DataDirectory,
        *,
        interval_s: int,
        rate_bytes_per_s: int,
    ) -> None:
        self.journal = journal
        self.directory = directory
        self.interval_s = interval_s
        self._stop = threading.Event()
        self._reader = Reader(rate_bytes_per_s, self._stop)
        self._damage: dict[Path, str] = {}
        self._passes = 0
        self._progress = 0.0
        self._last_pass_ns: int | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, where there is to be one. Raises RuntimeError where none can start."""
        if self.interval_s > 0:
            thread = threading.Thread(target=self.run, daemon=True, name="scrub")
            thread.start()
            self._thread = thread

    @property
    def state(self) -> ScrubState:
        """What it has done and found. Any thread may ask."""
        return ScrubState(
            passes=self._passes,
            bytes=self._reader.bytes,
            progress=self._progress,
            last_pass_ns=self._last_pass_ns,
            damage=tuple(self._damage.copy().values()),
        )

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        """Read everything once, and again whenever the interval has passed, until told to stop."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        with suppress(Stopped):
            while True:
                try:
                    self.read_everything()
                except Stopped:
                    raise
                except Exception:
                    # The ledger goes on without it, and the next pass may do better.
                    logger.exception("the scrub has failed", extra={"event": "scrub-failed"})
                if self._stop.wait(self.interval_s):
                    return

    def read_everything(self) -> None:
        """Make one pass. Raises Stopped."""
        snapshots = self.directory.snapshot_paths()[:SNAPSHOTS_READ]
        # What is sealed now: everything below the segment that is being written.
        numbers = range(1, self.journal.segment)
        total, started, before = len(snapshots) + len(numbers), time.monotonic(), self._reader.bytes
        named: dict[Path, Named] = {}
        faults: dict[Path, str | None] = {}
        for done, path in enumerate(snapshots):
            self._progress = done / total
            faults[path] = find_fault(self.check_snapshot, path, named)
        for done, number in enumerate(numbers, len(snapshots)):
            self._progress = done / total
            path = self.directory.journal / segment_name(number)
            self.note(path, find_fault(self.check_segment, path, named, faults))
        there = {*self.directory.snapshot_paths()}
        for path in snapshots:
            if path in there:
                self.note(path, faults[path])
        # A snapshot that has gone is no loss, and was perhaps replaced; a segment always is one.
        for path in self._damage.keys() - there:
            if path.parent != self.directory.journal:
                del self._damage[path]
        self._passes += 1
        self._progress = 1.0
        self._last_pass_ns = time.time_ns()
        if total > 0:
            log_pass(
                total, len(self._damage), self._reader.bytes - before, time.monotonic() - started
            )

    def note(self, path: Path, fault: str | None) -> None:
        """Remember what is wrong with a file, and tell it where that is news."""
        if fault is UNREAD:
            return
        if fault is not None and self._damage.get(path) != fault:
            logger.error(
                "sealed data is damaged: %s. Restore this file from a copy; what is answered from"
                " here on does not rest on it",
                fault,
                extra={"event": "damaged", "file": str(path)},
            )
            self._damage[path] = fault
        elif fault is None and self._damage.pop(path, None) is not None:
            logger.warning("%s is sound again", path, extra={"event": "mended", "file": str(path)})

    def check_snapshot(self, path: Path, named: dict[Path, Named]) -> None:
        """Check the frames of a snapshot, and take down which frame of the journal it names."""
        header = self.directory.read_any_header(path)
        if header is None:
            raise JournalDamaged(f"{path}: offset 0: this is no header of a snapshot")
        with self._reader.open(path) as read:
            scan, _ = walk(read, header, Scan(SEGMENT_HEADER_BYTES, 0, 1))
            size = path.stat().st_size
        if scan.offset != size:
            raise JournalDamaged(f"{path}: offset {scan.offset}: this is no frame of it")
        named[path] = Named(str(path), header.first_lsn, header.previous_crc)

    def check_segment(
        self, path: Path, named: dict[Path, Named], faults: dict[Path, str | None]
    ) -> None:
        """Check a sealed segment up to the next one, and the snapshots that name a frame of it."""
        if not path.exists():
            raise JournalDamaged(f"{path}: this segment is missing")
        header = self.directory.read_header(path)
        first = Scan(SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn)
        with self._reader.open(path) as read:
            scan, found = walk(read, header, first, *(each.lsn for each in named.values()))
        if scan.end == "newer":
            raise too_new(f"{path}: offset {scan.offset}, LSN {scan.next_lsn}")
        after = self.directory.journal / segment_name(header.number + 1)
        following = None
        # What is wrong with that one, or that it is not there yet, is told when its turn comes.
        with suppress(JournalDamaged, FormatTooNew):
            following = self.directory.read_header(after)
        if following is not None:
            links = (following.first_lsn, following.previous_crc)
            if links != (scan.next_lsn, scan.previous_crc):
                raise JournalDamaged(
                    f"{path}: offset {scan.offset}, LSN {scan.next_lsn}: the journal breaks off"
                    " before the next segment"
                )
        for snapshot, each in named.items():
            if header.first_lsn <= each.lsn < scan.next_lsn:
                faults[snapshot] = find_fault(each.compare, str(path), found.get(each.lsn))


def find_fault(check: Callable[..., None], *arguments: object) -> str | None:
    """Return what is wrong with a file, None where it is sound, UNREAD where that is not known."""
    try:
        check(*arguments)
    except (JournalDamaged, FormatTooNew) as error:
        return str(error)
    except (DirectoryUnusable, MemoryUnavailable) as error:
        # A disk that fails to read is damage; a lack of descriptors or memory, or of rights, is
        # none, and says nothing of the file.
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in ROTTEN:
            return str(error)
        logger.warning("not read again: %s", error, extra={"event": "unread"})
        return UNREAD
    return None


def log_pass(files: int, damaged: int, size: int, seconds: float) -> None:
    """Tell in the log that everything was read once."""
    logger.info(
        "%d sealed files were read again, %d of them are damaged",
        files,
        damaged,
        extra={
            "event": "scrubbed",
            "files": files,
            "damaged": damaged,
            "bytes": size,
            "seconds": round(seconds, 3),
        },
    )
