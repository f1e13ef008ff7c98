"""What only the store of files does: the seal, what was left half made, and how files are kept."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ledgercore import FormatTooNew, JournalDamaged
from ledgercore.directory import DataDirectory
from ledgercore.file_store import FileStore
from ledgercore.frames import SEGMENT_HEADER_BYTES
from ledgercore.opening import open_store
from ledgercore.recovery import Recovery
from tests.support.damage import read_files
from tests.support.histories import journal_files
from tests.support.making import CAPACITY
from tests.support.stores import fill, options


@pytest.fixture
def filled(directory: Path) -> FileStore:
    """A closed ledger of several files."""
    store = FileStore(directory)
    fill(store)
    return store


def test_it_is_called_by_its_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory.parent)
    store = FileStore(directory.name)
    assert store.address == store.place == str(directory)
    assert [*directory.parent.iterdir()] == [], "to name it makes nothing"


def test_what_is_left_half_made_goes_with_the_writer_and_not_before(filled: FileStore) -> None:
    path = filled.directory.path
    left = [path / "seal.tmp", path / "journal/spare.tmp", path / "snapshots/7.snapshot.tmp"]
    for each in left:
        each.write_bytes(b"half")
    filled.claim(options())
    recovered = Recovery(filled, CAPACITY).run()
    assert all(each.exists() for each in left)
    filled.writer(recovered).close()
    assert not any(each.exists() for each in left)
    filled.release()


def test_a_newer_clock_is_left_as_it_is(filled: FileStore) -> None:
    clock = filled.directory.clock
    clock.write_bytes(b"LCCLOCK2 and more")
    before = read_files(filled.directory.path)
    with pytest.raises(FormatTooNew, match=str(clock)):
        filled.claim(options())
    assert read_files(filled.directory.path) == before
    clock.unlink()
    open_store(filled, options()).release()


def test_a_journal_that_is_gone_is_not_made_anew(filled: FileStore) -> None:
    for path in journal_files(filled.directory.path):
        path.unlink()
    with pytest.raises(JournalDamaged, match="the journal is gone: no segment is there"):
        filled.claim(options())
    with pytest.raises(JournalDamaged, match="is missing, which the seal names"):
        filled.chapters()


def test_a_seal_that_is_given_counts_in_the_place_of_its_own(filled: FileStore) -> None:
    directory = filled.directory
    seal = directory.read_seal()
    assert seal is not None
    directory.seal.unlink()
    with pytest.raises(JournalDamaged, match="there is no valid seal in it"):
        filled.chapters()
    trusted = FileStore(directory.path, seal=replace(seal, synced_lsn=3))
    assert {chapter.synced.lsn for chapter in trusted.chapters()} == {3}
    assert not directory.seal.exists()


def test_an_end_before_the_seal_is_no_torn_end(filled: FileStore) -> None:
    seal = filled.directory.read_seal()
    assert seal is not None
    ahead = FileStore(filled.place, seal=replace(seal, synced_lsn=seal.synced_lsn + 1))
    told = f"the seal says that LSN {seal.synced_lsn + 1} was synced; there is: 00 00"
    with pytest.raises(JournalDamaged, match=told):
        Recovery(ahead, CAPACITY).run()


def test_a_frame_that_was_synced_is_no_torn_end(filled: FileStore) -> None:
    """Where the seal is older than the last frames, these say it of each other."""
    directory = filled.directory
    seal = directory.read_seal()
    assert seal is not None
    (*_, last) = filled.chapters()
    old = FileStore(directory.path, seal=replace(seal, synced_lsn=0))
    assert Recovery(old, CAPACITY).run().lsn == seal.synced_lsn
    data = bytearray(Path(last.place).read_bytes())
    data[SEGMENT_HEADER_BYTES + 130] ^= 1  # in the first record of several frames
    Path(last.place).write_bytes(data)
    with pytest.raises(JournalDamaged, match=r"a later frame, at \d+, says that it was synced"):
        Recovery(old, CAPACITY).run()


def test_a_snapshot_is_a_file_of_its_owner(filled: FileStore) -> None:
    shelf = filled.snapshots()
    shelf.put(42, [b"bytes"], lambda *_: None)
    path = filled.directory.snapshots / f"{42:020}.snapshot"
    assert shelf.place(42) == str(path) and path.read_bytes() == b"bytes"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*filled.directory.snapshots.iterdir()] == [path]
    assert DataDirectory(filled.directory.path).snapshot_paths() == [path]
