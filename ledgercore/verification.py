"""Offline work on a data directory: verify, inspect, compact. What changes damage is repairing.py.

None of it needs an engine; all but `inspect` take the lock, so that none runs beside one.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .accounts import account_count, copy_state
from .auditing import find_violations, sum_by_asset
from .directory import DataDirectory, explained, map_file
from .errors import FormatTooNew, JournalDamaged
from .file_store import FileSnapshots, FileStore, make_tail_durable
from .frames import SEGMENT_HEADER_BYTES, find_end, scan_frames
from .journal_check import digest_state
from .layouts import RECORD_BYTES
from .memory import shortage_explained
from .recovery import Capacity, Progress, Recovery, load_snapshot
from .replay import count_keys, live_keys
from .snapshots import keep_snapshot
from .store import Recovered

TABLE_ROWS_MIN = 1024
RING_RECORDS = 1 << 16
NEWER = "written by a newer ledgercore"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a full replay found. `violations` is empty in a sound ledger."""

    accounts: int
    transfers: int
    refusals: int
    keys: int
    lsn: int
    records: int
    seconds: float
    torn_bytes: int
    sums: dict[str, int]
    violations: tuple[str, ...]

    @property
    def records_per_second(self) -> float:
        """The speed of the replay."""
        return self.records / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """What lies in a directory, sound or not."""

    ledger_id: str
    seal: dict[str, Any] | None
    segments: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]


def verify(path: str | os.PathLike[str], progress: Progress | None = None) -> Verification:
    """Replay everything from the first segment on and check every invariant.

    Snapshots are not used; but each has to lead to the same state as the journal alone. Nothing is
    written, so it works on a copy that cannot be written to.
    Raises JournalDamaged, FormatTooNew, DirectoryUnusable, DirectoryLocked.
    """
    store = FileStore(path)
    directory = store.directory
    directory.hold(create=False, writes=False)
    try:
        directory.refuse_newer()
        with shortage_explained():
            capacity = offline_capacity(directory)
            recovered = Recovery(store, capacity, snapshots=[], progress=progress).run()
            return describe(store, recovered)
    finally:
        directory.release()


def offline_capacity(directory: DataDirectory) -> Capacity:
    """Tables that hold any ledger of these files, since nobody says here how large it is.

    Each account and each key is a record of the journal, and one of a snapshot at most. The keys
    have room for as many again, for they do not fall evenly over the table.
    """
    used = sum(count_used(directory, path) for path in directory.segment_paths())
    held = max((path.stat().st_size for path in directory.snapshot_paths()), default=0)
    records = TABLE_ROWS_MIN + max(used, held) // RECORD_BYTES
    return Capacity(min(records, 1 << 30), min(2 * records, 1 << 32), RING_RECORDS)


def count_used(directory: DataDirectory, path: Path) -> int:
    """How many bytes of a segment are not the zeros that it was filled with."""
    with explained(directory.path):
        return find_end(map_file(path), 0)


def describe(store: FileStore, recovered: Recovered) -> Verification:
    """Check what a replay led to, and the snapshots beside it."""
    _, balances, rows = copy_state(recovered.ledger)
    sums = sum_by_asset(recovered.ledger, balances, rows)
    violations = find_violations(recovered.ledger, balances, rows)
    violations += find_false_snapshots(store, recovered).values()
    return Verification(
        accounts=account_count(recovered.ledger),
        transfers=recovered.transfers,
        refusals=recovered.refusals,
        keys=count_keys(recovered.ledger),
        lsn=recovered.lsn,
        records=recovered.records,
        seconds=recovered.seconds,
        torn_bytes=recovered.torn_bytes,
        sums=sums,
        violations=tuple(violations),
    )


def find_false_snapshots(store: FileStore, recovered: Recovered) -> dict[Path, str]:
    """Name the snapshots that cannot be read, or lead to another state than the whole journal."""
    expected = digest_ledger(recovered)
    found = {}
    for snapshot in store.directory.snapshot_paths():
        capacity = offline_capacity(store.directory)
        recovery = Recovery(store, capacity, snapshots=[int(snapshot.stem)])
        try:
            same = digest_ledger(recovery.run()) == expected
        except JournalDamaged as error:
            told = str(error)
            found[snapshot] = told if told.startswith(str(snapshot)) else f"{snapshot}: {told}"
            continue
        if recovery.notes:
            found[snapshot] = recovery.notes[0]
        elif not same:
            found[snapshot] = f"{snapshot}: it leads to another state than the journal does"
    return found


def digest_ledger(recovered: Recovered) -> tuple[str, str]:
    """Digests of all balances and limits, and of all keys that are still alive."""
    _, balances, rows = copy_state(recovered.ledger)
    return digest_state(balances, rows), hashlib.sha256(live_keys(recovered.ledger)).hexdigest()


def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Tell what the files of a directory hold, without a judgement. Needs no lock.

    Raises DirectoryUnusable where there is no ledger, or it cannot be read.
    """
    directory = DataDirectory(path)
    directory.require()
    seal, seal_facts = inspect_seal(directory)
    return Inspection(
        ledger_id=seal.hex(),
        seal=seal_facts,
        segments=[inspect_segment(directory, segment) for segment in directory.segment_paths()],
        snapshots=[
            inspect_snapshot(directory, snapshot, seal) for snapshot in directory.snapshot_paths()
        ],
    )


def inspect_seal(directory: DataDirectory) -> tuple[bytes, dict[str, Any] | None]:
    """The id of the ledger, and the facts of the seal; None where there is no valid one."""
    try:
        seal = directory.read_seal()
    except FormatTooNew:
        return b"", {"problem": NEWER}
    if seal is None:
        return b"", None
    return seal.ledger_id, {
        "synced_lsn": seal.synced_lsn,
        "segment": seal.segment,
        "clean": seal.clean,
        "sequence": seal.sequence,
    }


def inspect_snapshot(directory: DataDirectory, path: Path, ledger_id: bytes) -> dict[str, Any]:
    """The facts of one snapshot; `problem` says why it is not valid."""
    try:
        problem = check_snapshot(directory, path, ledger_id)
    except FormatTooNew:
        problem = NEWER
    facts = {"file": path.name, "lsn": int(path.stem), "bytes": path.stat().st_size}
    return facts | {"valid": problem is None} | ({"problem": problem} if problem else {})


def check_snapshot(directory: DataDirectory, path: Path, ledger_id: bytes) -> str | None:
    """What is wrong with the frames of a snapshot, without a look at what they mean."""
    lsn = int(path.stem)
    data = FileSnapshots(directory).read(lsn)
    return load_snapshot(str(path), data, lsn, ledger_id, None)


def inspect_segment(directory: DataDirectory, path: Path) -> dict[str, Any]:
    """The facts of one segment; `problem` says where its frames stop making sense."""
    facts: dict[str, Any] = {"file": path.name, "bytes": path.stat().st_size}
    try:
        header, data = directory.read_segment(path)
    except (JournalDamaged, FormatTooNew) as error:
        return facts | {
            "first_lsn": None,
            "last_lsn": None,
            "frames": 0,
            "records": 0,
            "bytes_used": 0,
            "state": NEWER if isinstance(error, FormatTooNew) else "bad header",
            "problem": str(error),
        }
    scan = scan_frames(
        data, header.salt, SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn
    )
    rest = find_end(data, scan.offset) - scan.offset
    state = "bytes after the last frame" if rest else "whole"
    problem = f"offset {scan.offset}: no frame, but {rest} bytes" if rest else None
    if scan.end == "newer":
        state, problem = NEWER, f"offset {scan.offset}: this frame was {NEWER}"
    return facts | {
        "first_lsn": header.first_lsn,
        "last_lsn": scan.next_lsn - 1,
        "frames": scan.frames,
        "records": scan.next_lsn - header.first_lsn,
        "bytes_used": scan.offset,
        "state": state,
        "problem": problem,
    }


def compact(path: str | os.PathLike[str]) -> str | None:
    """Make a snapshot of the whole journal; returns its path, None where there is nothing new."""
    store = FileStore(path)
    directory = store.directory
    directory.hold(create=False)
    try:
        # A snapshot of what a power cut could still take back would contradict the journal.
        directory.sync_everything()
        recovered = Recovery(store, offline_capacity(directory)).run()
        make_tail_durable(directory, recovered)
        return keep_snapshot(store, recovered)
    finally:
        directory.release()
