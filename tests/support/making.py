"""What the tests of single modules make: many rows, long ledgers, and forged files.

A forged file holds other records than the engine wrote, under checksums that are right.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import ledgercore
from ledgercore import frames
from ledgercore.directory import DataDirectory
from ledgercore.file_store import FileStore
from ledgercore.recovery import Capacity, Recovery
from ledgercore.store import Recovered
from tests.support.damage import HEADER_BYTES, frames_of
from tests.support.histories import journal_files, open_funded, open_small

Change = Callable[[int, bytearray], None]
"""Changes a record (its LSN, its 64 bytes) in place."""

CAPACITY = Capacity(accounts_max=1024, keys_max=1 << 18, ring_records=1024)
RECORD_BYTES = 64


def many_rows(
    count: int, *, start: int = 0, source: int = 0, target: int = 1, amount: int = 1
) -> npt.NDArray[np.void]:
    """Transfers from one slot to another, each with a key of its own."""
    numbers = np.zeros((count, 2), "<u8")
    numbers[:, 0] = np.arange(start + 1, start + count + 1)
    numbers[:, 1] = 7
    rows = np.zeros(count, ledgercore.TRANSFER)
    rows["key"] = numbers.view("V16").ravel()
    rows["from"], rows["to"], rows["amount"] = source, target, amount
    return rows


def roll_over(ledger: ledgercore.Engine, directory: Path, files: int, start: int = 0) -> int:
    """Transfer from slot 0 to slot 1 until the journal has `files` files; returns the next key."""
    while len(journal_files(directory)) < files:
        outcomes = ledger.transfer_batch(many_rows(4096, start=start))
        assert not outcomes["status"].any()
        start += 4096
    return start


def make_long(directory: Path, files: int = 3) -> int:
    """Make a closed ledger of several journal files; returns its last LSN."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 100)
        roll_over(ledger, directory, files)
        ledger.transfer("alice", "bob", 5, key="memo", memo="für Öl")
        ledger.transfer("alice", "ghost", 5, key="lost")
        return ledger.statistics().lsn_applied


def recover(directory: Path, **options: object) -> Recovered:
    """Recover a directory without opening it."""
    return Recovery(FileStore(directory), CAPACITY, **options).run()  # type: ignore[arg-type]


def reencoded(data: bytes, change: Change, previous_crc: int = 0) -> tuple[bytes, int]:
    """The file with its records changed and every checksum made anew; the last frame's checksum."""
    header = frames.read_segment_header(data)
    assert header is not None
    parts = [data[:HEADER_BYTES]]
    for frame in frames_of(data):
        records, text, _ = frames.read_frame(data, frame.offset)
        (synced_lsn,) = struct.unpack_from("<Q", data, frame.offset + 32)
        changed = bytearray()
        for number in range(frame.count):
            record = bytearray(records[number * RECORD_BYTES : (number + 1) * RECORD_BYTES])
            change(frame.first_lsn + number, record)
            changed += record
        encoded, previous_crc = frames.encode_frame(
            changed, text, frame.first_lsn, header.salt, previous_crc, synced_lsn
        )
        parts.append(encoded)
    return b"".join(parts).ljust(len(data), b"\0"), previous_crc


def forge_journal(directory: Path, change: Change) -> None:
    """Change the records of a closed ledger of one journal file, and its seal with them."""
    (path,) = journal_files(directory)
    data, crc = reencoded(path.read_bytes(), change)
    path.write_bytes(data)
    files = DataDirectory(directory)
    seal = files.read_seal()
    assert seal is not None
    files.write_seal(replace(seal, frame_crc=crc))


def poll(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Watch until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} seconds"
