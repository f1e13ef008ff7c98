"""Offline work on a data directory: verify, inspect, repair, compact.

None of it needs an engine; all but `inspect` take the lock, so that none runs beside one.
"""

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .accounts import account_count, photograph
from .auditing import find_violations, sum_by_asset
from .directory import DataDirectory, explained, sync_directory, write_file
from .errors import JournalDamaged
from .frames import SEGMENT_HEADER_BYTES, Seal, SegmentHeader, find_end, scan_frames
from .recovery import Capacity, Damage, Progress, Recovered, Recovery, load_snapshot, settle_tail
from .replay import count_keys, live_keys
from .snapshots import keep_snapshot
from .witness import digest_state

# Larger than any ledger that was made so far, since nobody says here how large this one is. Only
# addresses are reserved by it.
OFFLINE_CAPACITY = Capacity(accounts_max=1 << 27, keys_max=1 << 28, ring_records=1 << 16)


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


@dataclass(frozen=True, slots=True)
class Repair:
    """What `repair` did. `lsns_lost` counts what was known to be synced and is cut off."""

    action: str
    file: str | None
    kept_as: str | None
    lsn_last: int
    lsns_lost: int


def verify(path: str | os.PathLike[str], progress: Progress | None = None) -> Verification:
    """Replay everything from the first segment on and check every invariant.

    Snapshots are not used; but each has to lead to the same state as the journal alone.
    Raises JournalDamaged, DirectoryUnusable, DirectoryLocked.
    """
    directory = DataDirectory(path)
    directory.hold(create=False)
    try:
        recovered = Recovery(
            directory,
            OFFLINE_CAPACITY,
            snapshots=None if begins_late(directory) else [],
            progress=progress,
        ).run()
        return describe(directory, recovered)
    finally:
        directory.release()


def begins_late(directory: DataDirectory) -> bool:
    """Whether the first segments are gone, so that only a snapshot can tell how it began."""
    paths = directory.segment_paths()
    return bool(paths) and directory.read_header(paths[0]).first_lsn > 1


def describe(directory: DataDirectory, recovered: Recovered) -> Verification:
    """Check what a replay led to, and the snapshots beside it."""
    _, balances, rows = photograph(recovered.ledger)
    sums = sum_by_asset(recovered.ledger, balances, rows)
    violations = find_violations(recovered.ledger, balances, rows)
    violations += find_false_snapshots(directory, recovered)
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


def find_false_snapshots(directory: DataDirectory, recovered: Recovered) -> list[str]:
    """Name the snapshots that cannot be read, or lead to another state than the whole journal."""
    expected = digest_ledger(recovered)
    found = []
    for snapshot in directory.snapshot_paths():
        recovery = Recovery(directory, OFFLINE_CAPACITY, snapshots=[snapshot])
        try:
            same = digest_ledger(recovery.run()) == expected
        except JournalDamaged as error:
            found.append(f"{snapshot}: {error}")
            continue
        if recovery.notes:
            found += recovery.notes
        elif not same:
            found.append(f"{snapshot}: it leads to another state than the journal does")
    return found


def digest_ledger(recovered: Recovered) -> tuple[str, str]:
    """Digests of all balances and limits, and of all keys that are still alive."""
    _, balances, rows = photograph(recovered.ledger)
    return digest_state(balances, rows), hashlib.sha256(live_keys(recovered.ledger)).hexdigest()


def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Tell what the files of a directory hold, without a judgement. Needs no lock."""
    directory = DataDirectory(path)
    seal = directory.read_seal()
    segments = [inspect_segment(directory, segment) for segment in directory.segment_paths()]
    ledger_id = seal.ledger_id if seal is not None else b""
    return Inspection(
        ledger_id=ledger_id.hex(),
        seal=None
        if seal is None
        else {
            "synced_lsn": seal.synced_lsn,
            "segment": seal.segment,
            "clean": seal.clean,
            "sequence": seal.sequence,
        },
        segments=segments,
        snapshots=[
            {
                "file": snapshot.name,
                "lsn": int(snapshot.stem),
                "bytes": snapshot.stat().st_size,
                "valid": load_snapshot(snapshot, ledger_id, None) is None,
            }
            for snapshot in directory.snapshot_paths()
        ],
    )


def inspect_segment(directory: DataDirectory, path: Path) -> dict[str, Any]:
    """The facts of one segment; `problem` says where its frames stop making sense."""
    facts: dict[str, Any] = {"file": path.name, "bytes": path.stat().st_size}
    try:
        header, data = directory.read_segment(path)
    except JournalDamaged as error:
        return facts | {
            "first_lsn": None,
            "last_lsn": None,
            "frames": 0,
            "records": 0,
            "bytes_used": 0,
            "state": "bad header",
            "problem": str(error),
        }
    scan = scan_frames(
        data, header.salt, SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn
    )
    rest = find_end(data, scan.offset) - scan.offset
    return facts | {
        "first_lsn": header.first_lsn,
        "last_lsn": scan.next_lsn - 1,
        "frames": scan.frames,
        "records": scan.next_lsn - header.first_lsn,
        "bytes_used": scan.offset,
        "state": "bytes after the last frame" if rest else "whole",
        "problem": f"offset {scan.offset}: no frame, but {rest} bytes" if rest else None,
    }


def repair(path: str | os.PathLike[str]) -> Repair:
    """Cut the journal off before its damage, keeping what is cut; only where recovery refuses.

    This forgets acknowledged transfers, if what is damaged was acknowledged. Raises LedgerError
    where no cut helps: the first segment or its header is gone.
    """
    directory = DataDirectory(path)
    directory.hold(create=False)
    try:
        directory.sync_everything()
        try:
            recovered = Recovery(directory, OFFLINE_CAPACITY).run()
        except Damage as damage:
            return cut_off(directory, damage)
        except JournalDamaged:
            return salvage(directory)
        return Repair("nothing to repair", None, None, recovered.lsn, 0)
    finally:
        directory.release()


def cut_off(directory: DataDirectory, damage: Damage, trusted: Seal | None = None) -> Repair:
    """Keep the damaged file and all later ones under another name, and end the journal before.

    The seal is made anew last of all, from `trusted` where the directory's own is gone.
    """
    kept = broken_path(damage.path)
    with explained(damage.path):
        write_file(kept, damage.path.read_bytes())
    # From the last to the first, so that a repair that is cut short leaves no gap.
    for later in reversed(directory.segment_paths()):
        if later > damage.path:
            set_aside(later)
    directory.clear_tail(damage.path, damage.scan.offset)
    last = damage.scan.next_lsn - 1
    for snapshot in directory.snapshot_paths():
        if int(snapshot.stem) > last:
            set_aside(snapshot)
    seal = trusted or directory.read_seal()
    if seal is None:
        raise JournalDamaged(f"{directory.seal}: there is no valid seal in it")
    header = directory.read_header(damage.path)
    directory.write_seal(
        replace(
            seal,
            synced_lsn=last,
            segment=header.number,
            clean=False,
            frame_crc=damage.scan.previous_crc,
            sequence=seal.sequence + 1,
        )
    )
    return Repair("truncated", str(damage.path), str(kept), last, max(0, seal.synced_lsn - last))


def salvage(directory: DataDirectory) -> Repair:
    """Restore what links the files: a seal that is gone, or a segment without a sound header.

    The journal ends before the first segment that cannot be linked to the one before it; that one
    and all later ones are kept under another name.
    """
    seal = directory.read_seal()
    sound: list[SegmentHeader] = []
    broken: list[Path] = []
    for path in directory.segment_paths():
        header = None
        with suppress(JournalDamaged):
            header = directory.read_header(path)
        if broken or header is None or (sound and not follows(header, sound[-1])):
            broken.append(path)
        else:
            sound.append(header)
    if not sound:
        raise JournalDamaged(f"{directory.journal}: the journal is gone: no segment is left")
    moved = [set_aside(path) for path in reversed(broken)]
    trusted = Seal(0, sound[-1].number, sound[0].ledger_id, 0, False, 1)
    try:
        recovered = Recovery(directory, OFFLINE_CAPACITY, seal=trusted).run()
    except Damage as damage:
        return cut_off(directory, damage, trusted)
    settle_tail(directory, recovered)
    directory.write_seal(
        replace(trusted, synced_lsn=recovered.lsn, frame_crc=recovered.previous_crc)
    )
    if not moved:
        return Repair("seal restored", str(directory.seal), None, recovered.lsn, 0)
    lost = 0 if seal is None else max(0, seal.synced_lsn - recovered.lsn)
    return Repair("truncated", str(directory.journal), str(moved[-1]), recovered.lsn, lost)


def follows(header: SegmentHeader, before: SegmentHeader) -> bool:
    """Whether a segment is of the same ledger and the next in number."""
    return header.ledger_id == before.ledger_id and header.number == before.number + 1


def broken_path(path: Path) -> Path:
    """The name under which a damaged file is kept."""
    return path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")


def set_aside(path: Path) -> Path:
    """Keep a file under a name that nothing reads; returns it."""
    kept = broken_path(path)
    with explained(path):
        path.rename(kept)
        sync_directory(path.parent)
    return kept


def compact(path: str | os.PathLike[str]) -> str | None:
    """Make a snapshot of the whole journal; returns its path, None where there is nothing new."""
    directory = DataDirectory(path)
    directory.hold(create=False)
    try:
        # A snapshot of what a power cut could still take back would contradict the journal.
        directory.sync_everything()
        recovered = Recovery(directory, OFFLINE_CAPACITY).run()
        settle_tail(directory, recovered)
        return keep_snapshot(directory, recovered)
    finally:
        directory.release()
