"""Snapshots: a ledger's state in the journal's own format, made from the journal beside the engine.

A snapshot is made by recovery itself, from sealed chapters, in a process of its own; so making one
is also a check of the journal, and the running engine does not pause. Two are kept. The journal is
never trimmed: it is the history, and the snapshots only shorten the way to the present.
"""

import os
import secrets
import sys
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from . import replay as states
from .accounts import account_count
from .errors import DirectoryUnusable, JournalDamaged, LedgerError
from .frames import (
    FRAME_RECORDS_MAX,
    KIND_SNAPSHOT,
    SegmentHeader,
    encode_frame,
    encode_segment_header,
)
from .opening import store_at
from .recovery import Capacity, Recovery, load_snapshot
from .store import Recovered, Store

SNAPSHOTS_KEPT = 2
RECORDS_A_FRAME = min(8192, FRAME_RECORDS_MAX)
RING_RECORDS_MIN = 1024


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


def encode_snapshot(header: SegmentHeader, recovered: Recovered) -> Iterator[bytes]:
    """The bytes of a snapshot of the state, piece by piece."""
    yield encode_segment_header(header)
    position, crc = 1, 0
    for records, text in state_records(recovered):
        frame, crc = encode_frame(
            records.view(np.uint8), text, position, header.salt, crc, position - 1
        )
        yield frame
        position += len(records)


def write_snapshot(store: Store, recovered: Recovered) -> str:
    """Keep a snapshot of the state, which was read back, and drop old ones; returns its place."""
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

    def check(place: str, data: memoryview) -> None:
        problem = load_snapshot(place, data, recovered.lsn, header.ledger_id, None)
        if problem is not None:
            raise JournalDamaged(f"{place}: {problem}, right after it was written")

    snapshots = store.snapshots()
    snapshots.put(recovered.lsn, encode_snapshot(header, recovered), check)
    for old in snapshots.lsns()[SNAPSHOTS_KEPT:]:
        snapshots.drop(old)
    return snapshots.place(recovered.lsn)


def make_snapshot(store: Store, capacity: Capacity, *, sealed_only: bool) -> str | None:
    """Make a snapshot of what the journal says; returns its place, None if there is nothing new.

    `sealed_only` leaves the chapter alone that an engine may be writing.
    """
    return keep_snapshot(store, Recovery(store, capacity, sealed_only=sealed_only).run())


def keep_snapshot(store: Store, recovered: Recovered) -> str | None:
    """Keep a snapshot of what was recovered; returns its place, None if there is nothing new."""
    newest = max(store.snapshots().lsns(), default=0)
    return None if newest >= recovered.lsn else write_snapshot(store, recovered)


def main(arguments: list[str]) -> int:
    """Make a snapshot of the sealed chapters of a store, beside a running engine."""
    address, accounts_max, keys_max = arguments[0], int(arguments[1]), int(arguments[2])
    os.nice(10)
    try:
        capacity = Capacity(accounts_max, keys_max, RING_RECORDS_MIN)
        make_snapshot(store_at(address), capacity, sealed_only=True)
    except (LedgerError, DirectoryUnusable) as error:
        sys.stderr.write(f"ledgercore: no snapshot: {error}\n")
        return 1
    return 0
