"""The kinds of stores that the contract of ledgercore/store.py is tested with.

Another store is added to KINDS. The tests know nothing of it but what is said here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledgercore.engine import Engine
from ledgercore.file_store import FileStore
from ledgercore.frames import Scan, read_frame, scan_frames
from ledgercore.opening import open_store
from ledgercore.options import Options
from ledgercore.recovery import begin_scan, join_scans
from ledgercore.store import Chapter, Store
from tests.support.histories import SMALL, journal_files

LIFETIMES_S = (100, 200, 300, 400)
"""Each of these lifetimes of keys begins a chapter of its own."""


@dataclass(frozen=True)
class Kind:
    """One kind of store: how to reach it, and how to leave in it what a crash could."""

    name: str
    at: Callable[[Path], Store]
    """The store at a path, there or not yet; each call returns another that is of the same."""
    tear: Callable[[Path], int] | None
    """Leave part of a frame behind the last one; returns its bytes. None: it cannot happen."""


def tear_file(path: Path) -> int:
    """Write what is no frame behind the last frame of the last file."""
    last = journal_files(path)[-1]
    end = len(last.read_bytes().rstrip(b"\0"))
    start, rubbish = -(-end // 64) * 64, b"LCFR" + b"\x07" * 96
    with last.open("r+b") as file:
        file.seek(start)
        file.write(rubbish)
    return len(rubbish)


@dataclass(frozen=True)
class FramedChapter:
    """A chapter that gives out each frame in a piece of its own, as the rows of a table would."""

    whole: Chapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def read(self) -> Iterator[memoryview]:
        for piece in self.whole.read():
            while has_frame(piece, 0) and has_frame(piece, length_of(piece)):
                yield piece[: length_of(piece)]
                piece = piece[length_of(piece) :]
            yield piece


def has_frame(data: memoryview, offset: int) -> bool:
    return bytes(data[offset : offset + 4]) == b"LCFR"


def length_of(frame: memoryview) -> int:
    return int.from_bytes(frame[28:32], "little")


class FramedStore(FileStore):
    """A store whose chapters come frame by frame."""

    def chapters(self, after_lsn: int = 0) -> Iterator[Chapter]:
        return map(FramedChapter, super().chapters(after_lsn))


KINDS = [Kind("files", FileStore, tear_file), Kind("frame by frame", FramedStore, tear_file)]


def options(**changed: int) -> Options:
    """Small tables, and no snapshot that is not asked for."""
    return Options(**SMALL | changed)


def open_in(store: Store, **changed: int) -> Engine:
    """Open an engine on a store; to close it releases the store."""
    return Engine(options(**changed), open_store(store, options(**changed)))


def fill(store: Store, round: int = 0) -> int:
    """Make a ledger of several chapters, one of them empty; returns its last LSN.

    Each round has keys of its own.
    """
    for number, lifetime_s in enumerate(LIFETIMES_S):
        with open_in(store, key_ttl_s=lifetime_s) as ledger:
            ledger.open_account("world", asset="USD/2", floor=None)
            ledger.open_account("alice", asset="USD/2")
            # Nothing is written with the second lifetime.
            for each in range(5 if number != 1 else 0):
                ledger.transfer(
                    "world", "alice", 1, key=f"{round}-{number}-{each}", memo=f"m{each}"
                )
            last: int = ledger.statistics().lsn_applied
    return last


def scans(chapter: Chapter) -> Iterator[tuple[memoryview, Scan]]:
    """Walk a chapter frame by frame: each frame's piece, and the scan that stands before it."""
    header = chapter.header
    crc, lsn = header.previous_crc, header.first_lsn
    for piece in chapter.read():
        offset, is_over = 0, False
        while not is_over:
            at = scan_frames(piece, header.salt, offset, crc, lsn, stop_lsn=lsn)
            is_over = at.end != "stopped"
            if not is_over:
                yield piece, at
                records, _, length = read_frame(piece, offset)
                offset += length
                crc = int.from_bytes(piece[at.offset + 124 : at.offset + 128], "little")
                lsn += len(records) // 64


def records_of(store: Store, after_lsn: int = 0) -> dict[int, tuple[bytes, bytes]]:
    """Return each record and the text of its frame, by LSN, as the chapters have them."""
    found: dict[int, tuple[bytes, bytes]] = {}
    for chapter in store.chapters(after_lsn):
        for piece, at in scans(chapter):
            records, text, _ = read_frame(piece, at.offset)
            for start in range(0, len(records), 64):
                assert at.next_lsn + start // 64 not in found
                found[at.next_lsn + start // 64] = records[start : start + 64], text
    return found


def walk(chapter: Chapter) -> Scan:
    """Walk a chapter to the end of its frames, as recovery does."""
    scan = begin_scan(chapter)
    for piece in chapter.read():
        step = scan_frames(
            piece,
            chapter.header.salt,
            0,
            scan.previous_crc,
            scan.next_lsn,
            sealed_lsn=chapter.synced.lsn,
        )
        scan = join_scans(scan, step)
        if step.offset < len(piece):
            break
    return scan
