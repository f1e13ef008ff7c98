"""Snapshots: a ledger's state in the journal's own format, made from the journal beside the engine.

A snapshot is made by recovery itself, from sealed segments, in a process of its own; so making one
is also a check of the journal, and the running engine does not pause. Two are kept. The journal is
never trimmed: it is the history, and the snapshots only shorten the way to the present.
"""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import replay as states
from .accounts import account_count
from .directory import DataDirectory, explained, sync_directory
from .errors import DirectoryUnusable, JournalDamaged, LedgerError
from .frames import (
    FRAME_RECORDS_MAX,
    KIND_SNAPSHOT,
    SegmentHeader,
    encode_frame,
    encode_segment_header,
)
from .permissions import open_private
from .recovery import Capacity, Recovered, Recovery, load_snapshot

SNAPSHOTS_KEPT = 2
RECORDS_A_FRAME = min(8192, FRAME_RECORDS_MAX)
RING_RECORDS_MIN = 1024


def snapshot_name(lsn: int) -> str:
    """The file name of a snapshot; names sort as their LSNs do."""
    return f"{lsn:020d}.snapshot"


def state_records(recovered: Recovered) -> Iterator[tuple[npt.NDArray[np.void], bytes]]:
    """The state as records with their text, piece by piece; the last one closes the snapshot."""
    ledger = recovered.ledger
    count = account_count(ledger)
    for start in range(0, count, RECORDS_A_FRAME):
        yield states.dump_accounts(ledger, start, min(RECORDS_A_FRAME, count - start))
    keys = states.dump_keys(ledger)
    for start in range(0, len(keys), RECORDS_A_FRAME):
        yield states.key_records(ledger, keys[start : start + RECORDS_A_FRAME]), b""
    yield states.end_record(ledger, count + len(keys)), b""


def write_snapshot(directory: DataDirectory, recovered: Recovered) -> Path:
    """Write the state to a new snapshot, sync it, read it back, and put it in place."""
    header = SegmentHeader(
        kind=KIND_SNAPSHOT,
        salt=secrets.randbits(64),
        number=recovered.header.number,
        first_lsn=recovered.lsn,
        previous_crc=recovered.previous_crc,
        ledger_id=recovered.header.ledger_id,
        hash_key=recovered.header.hash_key,
        created_ns=time.time_ns(),
        key_ttl_ns=recovered.header.key_ttl_ns,
    )
    path = directory.snapshots / snapshot_name(recovered.lsn)
    beside = path.with_name(path.name + ".tmp")
    with explained(path):
        with open(beside, "wb", opener=open_private) as file:
            file.write(encode_segment_header(header))
            position, crc = 1, 0
            for records, text in state_records(recovered):
                frame, crc = encode_frame(
                    records.view(np.uint8),
                    text,
                    position,
                    header.salt,
                    crc,
                    position - 1,
                )
                file.write(frame)
                position += len(records)
            file.flush()
            os.fsync(file.fileno())
        problem = load_snapshot(beside, header.ledger_id, None)
        if problem is not None:
            raise JournalDamaged(f"{beside}: {problem}, right after it was written")
        beside.replace(path)
        sync_directory(directory.snapshots)
        for old in directory.snapshot_paths()[SNAPSHOTS_KEPT:]:
            old.unlink()
    return path


def make_snapshot(directory: DataDirectory, capacity: Capacity, *, sealed_only: bool) -> str | None:
    """Make a snapshot of what the journal says; returns its path, None if there is nothing new.

    `sealed_only` leaves the segment alone that an engine may be writing.
    """
    return keep_snapshot(directory, Recovery(directory, capacity, sealed_only=sealed_only).run())


def keep_snapshot(directory: DataDirectory, recovered: Recovered) -> str | None:
    """Write a snapshot of what was recovered; returns its path, None if there is nothing new."""
    newest = next(iter(directory.snapshot_paths()), None)
    if recovered.lsn == 0 or (newest and newest.name >= snapshot_name(recovered.lsn)):
        return None
    return str(write_snapshot(directory, recovered))


def main(arguments: list[str]) -> int:
    """Make a snapshot of the sealed segments of a directory, beside a running engine."""
    path, accounts_max, keys_max = arguments[0], int(arguments[1]), int(arguments[2])
    os.nice(10)
    try:
        capacity = Capacity(accounts_max, keys_max, RING_RECORDS_MIN)
        make_snapshot(DataDirectory(path), capacity, sealed_only=True)
    except (LedgerError, DirectoryUnusable) as error:
        sys.stderr.write(f"ledgercore: no snapshot: {error}\n")
        return 1
    return 0
