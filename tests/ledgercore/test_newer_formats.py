"""What a newer program wrote is named as that by every command, and nothing touches it.

Each file here is sound, for its checksums are made anew; only a version, a kind, a flag or a field
that has to be zero is none that this program knows.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ledgercore
from ledgercore import frames
from tests.support.damage import (
    HEADER_BYTES,
    Files,
    directory_in_memory,
    frames_of,
    read_files,
    write_files,
)
from tests.support.histories import open_funded, open_small
from tests.support.making import make_long, reencoded

SEAL, FIRST, SECOND, LAST = "seal", *(f"journal/000000000{number}.segment" for number in (1, 2, 3))
SEAL_SLOT_BYTES = 4096
Edit = Callable[[Files], Files]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A closed ledger of three journal files and a snapshot of the whole."""
    directory = tmp_path_factory.mktemp("newer") / "ledger"
    make_long(directory)
    ledgercore.compact(directory)
    return read_files(directory)


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as directory:
        yield directory


def patched(data: bytes, start: int, offset: int, value: bytes, end: int) -> bytes:
    """The data with bytes changed in the header at `start`, whose CRC stands at `end`."""
    changed = bytearray(data)
    changed[start + offset : start + offset + len(value)] = value
    crc = frames.checksum(bytes(changed[start : start + end]))
    changed[start + end : start + end + 4] = struct.pack("<I", crc)
    return bytes(changed)


def snapshot_of(files: Files) -> str:
    return next(name for name in files if name.endswith(".snapshot"))


def header_edit(name: str, offset: int, value: bytes) -> Edit:
    """Change a field of the header of a segment, or of the snapshot."""

    def edit(files: Files) -> Files:
        path = name or snapshot_of(files)
        data = patched(files[path], 0, offset, value, HEADER_BYTES - 4)
        return files | {path: data}

    return edit


def frame_edit(name: str, position: int, offset: int, value: bytes) -> Edit:
    """Change a field of a frame's header."""

    def edit(files: Files) -> Files:
        path = name or snapshot_of(files)
        frame = frames_of(files[path])[position]
        return files | {path: patched(files[path], frame.offset, offset, value, 124)}

    return edit


def record_edit(name: str, offset: int, value: int) -> Edit:
    """Change a byte of the last record of a file, and make all checksums anew."""

    def edit(files: Files) -> Files:
        path = name or snapshot_of(files)
        header = frames.read_segment_header(files[path])
        last = frames_of(files[path])[-1]
        assert header is not None

        def change(lsn: int, record: bytearray) -> None:
            if lsn == last.first_lsn + last.count - 1:
                record[offset] = value

        data, crc = reencoded(files[path], change, 0 if not name else header.previous_crc)
        seal = frames.read_seal(files[SEAL])
        assert seal is not None
        if path != LAST:
            return files | {path: data}
        return files | {path: data, SEAL: patched_seal(files[SEAL], 48, struct.pack("<I", crc))}

    return edit


def patched_seal(data: bytes, offset: int, value: bytes) -> bytes:
    """Change the slot of the seal that counts."""
    seal = frames.read_seal(data)
    assert seal is not None
    return patched(data, seal.sequence % 2 * SEAL_SLOT_BYTES, offset, value, 60)


def seal_edit(offset: int, value: bytes) -> Edit:
    return lambda files: files | {SEAL: patched_seal(files[SEAL], offset, value)}


TWO = struct.pack("<I", 2)
EDITS: dict[str, Edit] = {
    "segment version": header_edit(SECOND, 8, TWO),
    "last segment version": header_edit(LAST, 8, TWO),
    "segment magic": header_edit(SECOND, 7, b"2"),
    "segment kind": header_edit(SECOND, 12, struct.pack("<I", 3)),
    "segment field": header_edit(SECOND, 96, b"\1"),
    "segment flags": header_edit(SECOND, 44, b"\1"),
    "frame version": frame_edit(LAST, -1, 4, struct.pack("<H", 2)),
    "frame version in the middle": frame_edit(LAST, 0, 4, struct.pack("<H", 2)),
    "frame flags": frame_edit(LAST, -1, 6, b"\1"),
    "frame chain": frame_edit(LAST, -1, 48, b"\1"),
    "frame field": frame_edit(LAST, -1, 84, b"\1"),
    "record kind": record_edit(LAST, 8, 4),
    "record status": record_edit(LAST, 9, 10),
    "record flags": record_edit(LAST, 10, 2),
    "record field": record_edit(LAST, 11, 1),
    "record client": record_edit(LAST, 12, 1),
    "snapshot version": header_edit("", 8, TWO),
    "snapshot kind": header_edit("", 12, struct.pack("<I", 7)),
    "snapshot frame version": frame_edit("", 0, 4, struct.pack("<H", 2)),
    "snapshot record kind": record_edit("", 8, 19),
    "seal magic": seal_edit(7, b"2"),
    "seal flags": seal_edit(52, TWO),
    "seal field": seal_edit(56, b"\1"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_newer_format_is_named_and_left_alone(files: Files, directory: Path, edit: Edit) -> None:
    edited = edit(files)
    (name,) = [name for name in edited if edited[name] != files[name]][:1]
    write_files(directory, edited)
    (directory / "journal" / "spare.tmp").write_bytes(b"left over")
    for work in (open_small, ledgercore.verify, ledgercore.repair, ledgercore.compact):
        with pytest.raises(ledgercore.FormatTooNew, match=f"{name}: .*by a newer ledgercore"):
            work(directory)
    assert read_files(directory) == edited
    assert (directory / "journal" / "spare.tmp").read_bytes() == b"left over"
    told = str(ledgercore.inspect(directory))
    # It reads no records.
    is_record = any(value is edit and "record" in key for key, value in EDITS.items())
    assert is_record or "by a newer ledgercore" in told


def test_repair_sees_it_also_behind_damage(files: Files, directory: Path) -> None:
    """A cut there would set the newer file aside, and half of the transfers with it."""
    broken = bytearray(files[FIRST])
    broken[5000] ^= 1
    for edit in (EDITS["last segment version"], EDITS["frame version"], EDITS["snapshot version"]):
        edited = edit(files | {FIRST: bytes(broken)})
        write_files(directory, edited)
        with pytest.raises(ledgercore.FormatTooNew):
            ledgercore.repair(directory, cut_below_snapshot=True)
        assert read_files(directory) == edited


def test_a_running_ledger_names_it(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        path = directory / FIRST
        path.write_bytes(frame_edit(FIRST, 2, 4, TWO[:2])({FIRST: path.read_bytes()})[FIRST])
        with pytest.raises(ledgercore.FormatTooNew):
            ledger.find_transfer(3)
        with pytest.raises(ledgercore.FormatTooNew):
            list(ledgercore.read_journal(directory))


def test_the_journal_is_read_up_to_a_newer_record(files: Files, directory: Path) -> None:
    write_files(directory, EDITS["record kind"](files))
    with pytest.raises(ledgercore.FormatTooNew):
        list(ledgercore.read_journal(directory))


def test_rot_is_not_taken_for_a_newer_version(files: Files, directory: Path) -> None:
    """Without its checksum a version is damage: nobody wrote that."""
    data = bytearray(files[SECOND])
    data[8] ^= 2
    write_files(directory, files | {SECOND: bytes(data)})
    with pytest.raises(ledgercore.JournalDamaged):
        ledgercore.verify(directory)
