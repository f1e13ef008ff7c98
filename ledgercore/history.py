"""Reading the journal: one record by its LSN, or all of them in order.

Reads files only, beside a running engine or without one; the caller sees to it that what it asks
for is durable.
"""

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .directory import DataDirectory, explained
from .errors import JournalDamaged, too_new
from .frames import SEGMENT_HEADER_BYTES, SegmentHeader, read_frame, scan_frames
from .grammar import CEILING_NONE, FLOOR_NONE
from .layouts import (
    ACCOUNT_LAYOUT,
    FLAG_FROZEN,
    RECORD_BYTES,
    TRANSFER_LAYOUT,
    AccountRecord,
    RecordKind,
    TransferRecord,
)
from .status import Status

JOURNAL_KINDS: dict[int, str] = {
    kind: kind.label
    for kind in (RecordKind.TRANSFER, RecordKind.ACCOUNT_OPENED, RecordKind.ACCOUNT_CHANGED)
}
"""What may stand in a journal, and how it is told."""


# A mark lets a later search start in the middle of a segment; half as far apart at least.
MARK_BYTES = 4 << 20
WINDOW_BYTES = 256 << 10
"""What is read at once, unless a frame is longer; none is as long as MARK_BYTES."""
LENGTH_AT = slice(28, 32)
"""Where a frame's header has its length (src/frame.h)."""


@dataclass(frozen=True, slots=True)
class RawTransfer:
    """A transfer's record as logged: slots instead of ids, where the accounts existed."""

    lsn: int
    status: Status
    key: bytes
    source: int
    target: int
    source_id: str | None
    target_id: str | None
    amount: int
    time_ns: int
    memo: str | None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One record of the journal with ids for slots. What a kind does not have is None."""

    lsn: int
    kind: str
    time_ns: int
    status: Status | None = None
    source: str | None = None
    target: str | None = None
    amount: int | None = None
    memo: str | None = None
    key: bytes | None = None
    account: str | None = None
    asset: str | None = None
    floor: int | None = None
    ceiling: int | None = None
    frozen: bool | None = None


def parse_transfer(record: bytes, text: bytes) -> RawTransfer | None:
    """Return the transfer that a record and its frame's text tell of; None for other kinds."""
    fields = TransferRecord._make(TRANSFER_LAYOUT.unpack(record))
    if fields.kind != RecordKind.TRANSFER:
        return None
    own = text[fields.text_offset : fields.text_offset + fields.text_length]
    source_id, rest = own[: fields.first_length], own[fields.first_length :]
    target_id, memo = rest[: fields.second_length], rest[fields.second_length :]
    return RawTransfer(
        lsn=fields.lsn,
        status=Status(fields.status),
        key=fields.key,
        source=fields.source,
        target=fields.target,
        source_id=source_id.decode() or None,
        target_id=target_id.decode() or None,
        amount=fields.amount,
        time_ns=fields.time_ns,
        memo=memo.decode() or None,
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a segment from which a scan can start."""

    next_lsn: int
    offset: int
    previous_crc: int


class SegmentReader:
    """One segment, with marks that get denser as it is read."""

    def __init__(self, path: Path, header: SegmentHeader) -> None:
        self.path = path
        self.header = header
        self.marks = [Mark(header.first_lsn, SEGMENT_HEADER_BYTES, header.previous_crc)]

    def find(self, lsn: int) -> tuple[bytes, bytes] | None:
        """Return (record, text of its frame) of an LSN, or None if the segment ends before it."""
        # Read by calls, which fail where a mapping would end the process with a signal; and opened
        # for this one search, for segments are many.
        with explained(self.path), open(self.path, "rb", buffering=0) as file:
            return self.search(file.fileno(), lsn)

    def search(self, descriptor: int, lsn: int) -> tuple[bytes, bytes] | None:
        mark = self.marks[bisect_right(self.marks, lsn, key=lambda mark: mark.next_lsn) - 1]
        size = WINDOW_BYTES
        while True:
            # The walk ends at the frame that holds the LSN, or at the edge of this window.
            window = os.pread(descriptor, size, mark.offset)
            scan = scan_frames(
                window, self.header.salt, 0, mark.previous_crc, mark.next_lsn, stop_lsn=lsn
            )
            place = f"{self.path}: offset {mark.offset + scan.offset}"
            if scan.end == "stopped":
                break
            if scan.end == "newer":
                raise too_new(place)
            if scan.offset == 0 and scan.end == "bad":
                # The frame may be longer than what was read of it; its header says how long.
                length = int.from_bytes(window[LENGTH_AT], "little")
                if size < length < MARK_BYTES:
                    size = length
                    continue
                raise JournalDamaged(f"{place}, LSN {scan.next_lsn}: there is no frame")
            if scan.offset == 0:
                return None
            mark = Mark(scan.next_lsn, mark.offset + scan.offset, scan.previous_crc)
            if mark.offset > self.marks[-1].offset + MARK_BYTES // 2:
                self.marks.append(mark)
            size = WINDOW_BYTES
        records, text, _ = read_frame(window, scan.offset)
        start = (lsn - scan.next_lsn) * RECORD_BYTES
        return records[start : start + RECORD_BYTES], text


class History:
    """Finds records by LSN in the segments of a directory."""

    def __init__(self, directory: DataDirectory) -> None:
        self.directory = directory
        self.readers: list[SegmentReader] = []
        self.lock = threading.Lock()

    def refresh(self) -> None:
        """Take in the segments that were begun since the last look."""
        known = {reader.header.number for reader in self.readers}
        for path in self.directory.segment_paths():
            if int(path.stem) not in known:
                self.readers.append(SegmentReader(path, self.directory.read_header(path)))
        self.readers.sort(key=lambda reader: reader.header.first_lsn)

    def find(self, lsn: int) -> tuple[bytes, bytes] | None:
        """Return (record, text of its frame) of a durable LSN; None where the journal ends before.

        Raises JournalDamaged where bytes stand that are no frame.
        """
        with self.lock:
            found = self.find_in_readers(lsn)
            if found is None:
                # It may be in a segment that was begun after the last look.
                self.refresh()
                found = self.find_in_readers(lsn)
            return found

    def find_in_readers(self, lsn: int) -> tuple[bytes, bytes] | None:
        position = bisect_right(self.readers, lsn, key=lambda reader: reader.header.first_lsn)
        return self.readers[position - 1].find(lsn) if position > 0 else None


def read_journal(path: str | os.PathLike[str]) -> Iterator[JournalEntry]:
    """Return an iterator over every record of a ledger's journal in the order of its LSNs.

    It stops at the last whole frame, as of when it gets there. Raises DirectoryUnusable where there
    is no ledger; and, once it comes there, JournalDamaged where a segment's header is not sound,
    the journal does not begin at LSN 1, so that slots could not be named, or ends before what was
    synced when it was asked for; and FormatTooNew.
    """
    directory = DataDirectory(path)
    directory.require()
    seal = directory.read_seal()
    return walk_journal(directory, 0 if seal is None else seal.synced_lsn)


def walk_journal(directory: DataDirectory, synced_lsn: int) -> Iterator[JournalEntry]:
    """Yield every record; `synced_lsn` is one that has to be there."""
    accounts: list[tuple[str, str]] = []
    previous_crc, next_lsn = 0, 1
    place = str(directory.journal)
    for segment in directory.segment_paths():
        header, data = directory.read_segment(segment)
        if header.first_lsn != next_lsn or header.previous_crc != previous_crc:
            raise JournalDamaged(f"{segment}: LSN {next_lsn} is missing before this segment")
        offset = SEGMENT_HEADER_BYTES
        while True:
            # One frame a step: the walk stops before the frame that holds its own first LSN.
            scan = scan_frames(data, header.salt, offset, previous_crc, next_lsn, stop_lsn=next_lsn)
            place = f"{segment}: offset {scan.offset}"
            if scan.end == "newer":
                raise too_new(place)
            if scan.end != "stopped":
                break
            records, text, length = read_frame(data, offset)
            for start in range(0, len(records), RECORD_BYTES):
                yield parse_entry(records[start : start + RECORD_BYTES], text, accounts)
            previous_crc = int.from_bytes(data[offset + 124 : offset + 128], "little")
            next_lsn += len(records) // RECORD_BYTES
            offset += length
    if next_lsn <= synced_lsn:
        raise JournalDamaged(f"{place}: LSN {next_lsn} is missing, and {synced_lsn} was synced")


def parse_entry(record: bytes, text: bytes, accounts: list[tuple[str, str]]) -> JournalEntry:
    """Return a record with ids for slots; `accounts` (id, asset) grows with what it opens."""
    transfer = parse_transfer(record, text)
    if transfer is not None:
        return JournalEntry(
            lsn=transfer.lsn,
            kind=RecordKind.TRANSFER.label,
            time_ns=transfer.time_ns,
            status=transfer.status,
            key=transfer.key,
            amount=transfer.amount,
            memo=transfer.memo,
            source=transfer.source_id or name_of(accounts, transfer.source),
            target=transfer.target_id or name_of(accounts, transfer.target),
        )
    fields = AccountRecord._make(ACCOUNT_LAYOUT.unpack(record))
    if fields.kind not in JOURNAL_KINDS:
        raise too_new(f"LSN {fields.lsn}: its kind, {fields.kind}, is none that is known")
    own = text[fields.text_offset : fields.text_offset + fields.text_length].decode()
    if fields.kind == RecordKind.ACCOUNT_OPENED:
        accounts.append((own[: fields.first_length], own[fields.first_length :]))
    account, asset = accounts[fields.slot]
    return JournalEntry(
        lsn=fields.lsn,
        kind=JOURNAL_KINDS[fields.kind],
        time_ns=fields.time_ns,
        account=account,
        asset=asset,
        floor=None if fields.floor == FLOOR_NONE else fields.floor,
        ceiling=None if fields.ceiling == CEILING_NONE else fields.ceiling,
        frozen=bool(fields.flags & FLAG_FROZEN),
    )


def name_of(accounts: list[tuple[str, str]], slot: int) -> str:
    """The id of the account in a slot, or the slot itself where it holds none."""
    return accounts[slot][0] if slot < len(accounts) else f"#{slot}"
