"""Repair: a damaged directory is made usable, and what is lost is reported before and after.

It finds what `verify` finds, by the same replay of the whole journal; nothing is removed, what is
cut off is kept under another name. What a newer program wrote is never touched.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .directory import DataDirectory, explained, write_file
from .errors import JournalDamaged, too_new
from .file_replacement import sync_directory
from .file_store import FileStore, make_tail_durable
from .frames import SEGMENT_HEADER_BYTES, Seal, SegmentHeader, scan_frames
from .recovery import Recovery
from .store import Damage
from .verification import check_snapshot, find_false_snapshots, offline_capacity


@dataclass(frozen=True, slots=True)
class Repair:
    """What `repair` did. `lsns_lost` counts what was known to be synced and is cut off."""

    action: str
    file: str | None
    kept_as: str | None
    lsn_last: int
    lsns_lost: int


def repair(path: str | os.PathLike[str], *, cut_below_snapshot: bool = False) -> Repair:
    """Make a directory sound that `verify` finds damaged, keeping all that is cut off or replaced.

    A damaged journal is cut off before its damage. This forgets acknowledged transfers, if what is
    damaged was acknowledged. Where a snapshot still holds what came of the damaged file, all later
    transfers are still there, and a cut would lose them: then JournalDamaged is raised, unless
    `cut_below_snapshot` asks for it. Raises LedgerError where no cut helps, as the first segment or
    its header is gone, and FormatTooNew.
    """
    store = FileStore(path)
    directory = store.directory
    directory.hold(create=False)
    try:
        directory.refuse_newer()
        refuse_newer_frames(directory)
        directory.sync_everything()
        repaired = repair_journal(store, cut_below_snapshot)
        # What is left is sound, and shows which snapshots are not.
        recovered = Recovery(store, offline_capacity(directory), snapshots=[]).run()
        false = find_false_snapshots(store, recovered)
        kept = [set_aside(snapshot) for snapshot in false]
        if repaired is not None:
            return repaired
        if kept:
            file = str(next(iter(false)))
            return Repair("snapshot set aside", file, str(kept[0]), recovered.lsn, 0)
        return Repair("nothing to repair", None, None, recovered.lsn, 0)
    finally:
        directory.release()


def refuse_newer_frames(directory: DataDirectory) -> None:
    """Raise FormatTooNew where a frame of a newer program stands, also behind damage."""
    for path in directory.segment_paths():
        with suppress(JournalDamaged):
            header, data = directory.read_segment(path)
            scan = scan_frames(
                data, header.salt, SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn
            )
            if scan.end == "newer":
                raise too_new(f"{path}: offset {scan.offset}, LSN {scan.next_lsn}")


def repair_journal(store: FileStore, cut_below_snapshot: bool) -> Repair | None:
    """Repair the journal and the seal; None where they are sound."""
    directory = store.directory
    try:
        Recovery(store, offline_capacity(directory), snapshots=[]).run()
    except Damage as damage:
        later = [path for path in directory.segment_paths() if path > Path(damage.place)]
        if not cut_below_snapshot:
            refuse_costly_cut(directory, damage, damage.scan.next_lsn - 1, later)
        return cut_off(directory, damage)
    except JournalDamaged as damage:
        return salvage(directory, damage, cut_below_snapshot)
    return None


def refuse_costly_cut(
    directory: DataDirectory, damage: JournalDamaged, lsn_kept: int, later: Sequence[Path]
) -> None:
    """Raise JournalDamaged where a snapshot leads over the damage to the segments behind it."""
    headers = (directory.read_any_header(path) for path in later)
    edge = next((header for header in headers if header is not None), None)
    if edge is None:
        return
    seal = directory.read_seal()
    for snapshot in directory.snapshot_paths():
        if int(snapshot.stem) < edge.first_lsn - 1:
            break
        if check_snapshot(directory, snapshot, edge.ledger_id) is None:
            last = int(snapshot.stem) if seal is None else max(seal.synced_lsn, int(snapshot.stem))
            raise JournalDamaged(
                f"{damage}. Nothing is cut: {snapshot.name} still holds what came of this file, so"
                f" restore it from a copy. To cut the journal all the same, and so lose LSN"
                f" {lsn_kept + 1} to {last}, ask for it (--cut-below-snapshot)"
            )


def cut_off(directory: DataDirectory, damage: Damage, trusted: Seal | None = None) -> Repair:
    """Keep the damaged file and all later ones under another name, and end the journal before.

    The seal is made anew last of all, from `trusted` where the directory's own is gone.
    """
    path = Path(damage.place)
    kept = broken_path(path)
    with explained(path):
        write_file(kept, path.read_bytes())
    # From the last to the first, so that a repair that is cut short leaves no gap.
    for later in reversed(directory.segment_paths()):
        if later > path:
            set_aside(later)
    directory.clear_tail(path, damage.scan.offset)
    last = damage.scan.next_lsn - 1
    for snapshot in directory.snapshot_paths():
        if int(snapshot.stem) > last:
            set_aside(snapshot)
    seal = trusted or directory.read_seal()
    if seal is None:
        raise JournalDamaged(f"{directory.seal}: there is no valid seal in it")
    header = directory.read_header(path)
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
    return Repair("truncated", damage.place, str(kept), last, max(0, seal.synced_lsn - last))


def salvage(directory: DataDirectory, damage: JournalDamaged, cut_below_snapshot: bool) -> Repair:
    """Restore what links the files: the seal, or a segment that is missing or has no sound header.

    The journal ends before the first segment that cannot be linked to the one before it; that one
    and all later ones are kept under another name.
    """
    seal = directory.read_seal()
    sound, broken = split_segments(directory)
    if not sound:
        raise JournalDamaged(
            f"{directory.journal}: the journal is gone: its first segment is missing or damaged,"
            " and no cut helps. Restore it from a copy"
        )
    if broken and not cut_below_snapshot:
        refuse_costly_cut(directory, damage, last_lsn(directory, sound), broken)
    moved = [set_aside(path) for path in reversed(broken)]
    trusted = Seal(0, sound[-1].number, sound[0].ledger_id, 0, False, 1)
    if seal is not None:
        with explained(directory.seal):
            write_file(broken_path(directory.seal), directory.seal.read_bytes())
    try:
        store = FileStore(directory.path, seal=trusted)
        recovered = Recovery(store, offline_capacity(directory), snapshots=[]).run()
    except Damage as cut:
        return cut_off(directory, cut, trusted)
    make_tail_durable(directory, recovered)
    directory.write_seal(
        replace(trusted, synced_lsn=recovered.lsn, frame_crc=recovered.previous_crc)
    )
    for snapshot in directory.snapshot_paths():
        if int(snapshot.stem) > recovered.lsn:
            set_aside(snapshot)
    lost = 0 if seal is None else max(0, seal.synced_lsn - recovered.lsn)
    if not moved and not lost:
        return Repair("seal restored", str(directory.seal), None, recovered.lsn, 0)
    kept = str(moved[-1]) if moved else None
    return Repair("truncated", str(directory.journal), kept, recovered.lsn, lost)


def split_segments(directory: DataDirectory) -> tuple[list[SegmentHeader], list[Path]]:
    """The headers that follow each other from the first on, and the files behind them."""
    sound: list[SegmentHeader] = []
    broken: list[Path] = []
    for path in directory.segment_paths():
        header = None
        with suppress(JournalDamaged):
            header = directory.read_header(path)
        if broken or header is None or not follows(header, sound):
            broken.append(path)
        else:
            sound.append(header)
    return sound, broken


def follows(header: SegmentHeader, sound: Sequence[SegmentHeader]) -> bool:
    """Whether a segment is the next one, of the same ledger."""
    if not sound:
        return (header.number, header.first_lsn, header.previous_crc) == (1, 1, 0)
    before = sound[-1]
    return (
        header.number == before.number + 1
        and header.ledger_id == before.ledger_id
        and header.hash_key == before.hash_key
        and header.first_lsn >= before.first_lsn
    )


def last_lsn(directory: DataDirectory, sound: Sequence[SegmentHeader]) -> int:
    """The last LSN of the last sound segment."""
    header = sound[-1]
    _, data = directory.read_segment(directory.segment_paths()[len(sound) - 1])
    scan = scan_frames(
        data, header.salt, SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn
    )
    return scan.next_lsn - 1


def broken_path(path: Path) -> Path:
    """The name under which a damaged file is kept; no other file has it."""
    stamp = time.strftime("%Y%m%dT%H%M%S")
    name = f"{path.name}.broken-{stamp}"
    taken = {other.name for other in path.parent.iterdir()}
    number = 2
    while name in taken:
        name = f"{path.name}.broken-{stamp}-{number}"
        number += 1
    return path.with_name(name)


def set_aside(path: Path) -> Path:
    """Keep a file under a name that nothing reads; returns it."""
    kept = broken_path(path)
    with explained(path):
        path.rename(kept)
        sync_directory(path.parent)
    return kept
