"""Repair: what `verify` finds is what is mended, nothing is removed, and no cut is made unasked."""

from pathlib import Path

import pytest

import ledgercore
from ledgercore import Repair
from ledgercore.directory import DataDirectory
from tests.support.damage import Story, flip_file, frames_of, read_files, sealed_story, write_files
from tests.support.histories import balances_of, crash_copy, journal_files, open_funded, open_small
from tests.support.making import make_long, recover


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A short ledger that was closed cleanly."""
    return sealed_story(tmp_path_factory.mktemp("story"))


def test_a_sound_ledger_needs_no_repair(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    expected = Repair("nothing to repair", None, None, story.lsn, 0)
    assert ledgercore.repair(directory) == expected
    assert read_files(directory) == story.files


def test_a_torn_tail_needs_no_repair(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        copy = crash_copy(directory, directory.with_name("copy"))
    (path,) = journal_files(copy)
    end = recover(copy).offset
    with open(path, "r+b") as file:
        file.seek(end)
        file.write(b"\xff" * 100)
    assert ledgercore.repair(copy).action == "nothing to repair"


def test_repair_cuts_the_journal_off_and_keeps_what_it_cuts(directory: Path) -> None:
    last = make_long(directory, 4)
    ledgercore.compact(directory)
    first, second, third, fourth = journal_files(directory)
    (snapshot,) = (directory / "snapshots").iterdir()
    frames = frames_of(second.read_bytes())
    cut = frames[len(frames) // 2]
    evidence = flip_file(second, cut.offset + 200)
    before = {path.name: path.read_bytes() for path in (first, third, fourth)}
    prefix = cut.first_lsn - 1
    before_cut = read_files(directory)
    # The snapshot still holds what came of the damaged file, so a cut is nothing to be had unasked.
    told = f"{second}: offset {cut.offset}.* lose LSN {prefix + 1} to {last}"
    with pytest.raises(ledgercore.JournalDamaged, match=told):
        ledgercore.repair(directory)
    assert read_files(directory) == before_cut
    repaired = ledgercore.repair(directory, cut_below_snapshot=True)
    assert not snapshot.exists()
    assert (repaired.action, repaired.file) == ("truncated", str(second))
    assert (repaired.lsn_last, repaired.lsns_lost) == (prefix, last - prefix)
    kept = Path(repaired.kept_as or "")
    assert kept.parent == second.parent and kept.read_bytes() == evidence
    assert kept.name.startswith(second.name + ".broken-")
    assert journal_files(directory) == [first, second]
    assert first.read_bytes() == before[first.name]
    assert second.read_bytes() == evidence[: cut.offset].ljust(len(evidence), b"\0")
    for path in (third, fourth):
        # Each has the second of its own renaming in its name.
        (aside,) = path.parent.glob(f"{path.name}.broken-*")
        assert aside.read_bytes() == before[path.name]
    seal = DataDirectory(directory).read_seal()
    assert seal is not None and (seal.synced_lsn, seal.segment, seal.clean) == (prefix, 2, False)
    check_prefix(directory, prefix)


def check_prefix(directory: Path, lsn: int) -> None:
    """The ledger opens with so many records, is sound, and goes on."""
    for number in range(2):
        with open_small(directory) as ledger:
            assert ledger.statistics().lsn_applied == lsn + number
            assert ledger.audit(journal=True).ok
            outcome = ledger.transfer("world", "bob", 1, key=f"after-{number}")
            assert outcome.id == lsn + 1 + number and not outcome.replayed
    assert ledgercore.verify(directory).lsn == lsn + 2
    assert ledgercore.repair(directory).action == "nothing to repair"


def test_repair_sets_aside_a_snapshot_that_is_ahead(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["bob"], 5)
        ledger.transfer("bob", "world", 1, key="late")
    snapshot = Path(ledgercore.compact(directory) or "")
    (path,) = journal_files(directory)
    last = frames_of(path.read_bytes())[-1]
    flip_file(path, last.offset + 1)
    repaired = ledgercore.repair(directory)
    assert (repaired.lsn_last, repaired.lsns_lost) == (last.first_lsn - 1, 1)
    assert not snapshot.exists() and len(list(snapshot.parent.iterdir())) == 1
    check_prefix(directory, last.first_lsn - 1)


def test_repair_restores_a_lost_seal(story: Story, directory: Path) -> None:
    for lost in (None, b"", bytes(8192)):
        write_files(directory, story.files)
        (directory / "seal").unlink()
        if lost is not None:
            (directory / "seal").write_bytes(lost)
        with pytest.raises(ledgercore.JournalDamaged, match="no valid seal"):
            open_small(directory)
        expected = Repair("seal restored", str(directory / "seal"), None, story.lsn, 0)
        assert ledgercore.repair(directory) == expected
        seal = DataDirectory(directory).read_seal()
        assert seal is not None and (seal.synced_lsn, seal.segment) == (story.lsn, 1)
        with open_small(directory) as ledger:
            assert balances_of(ledger) == story.balances


def test_repair_helps_where_a_later_file_is_gone(directory: Path) -> None:
    make_long(directory)
    first, second, third = journal_files(directory)
    edge = DataDirectory(directory).read_segment(second)[0].first_lsn
    flip_file(second, 50)
    with pytest.raises(ledgercore.JournalDamaged):
        open_small(directory)
    # What comes before the damage is whole, and so can be kept.
    assert ledgercore.repair(directory).lsn_last == edge - 1
    assert journal_files(directory) == [first] and not third.exists()
    check_prefix(directory, edge - 1)


def test_repair_cannot_make_a_journal_that_is_gone(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    (path,) = journal_files(directory)
    flip_file(path, 50)
    before = read_files(directory)
    with pytest.raises(ledgercore.JournalDamaged):
        ledgercore.repair(directory)
    assert read_files(directory) == before
    path.unlink()
    with pytest.raises(ledgercore.JournalDamaged):
        ledgercore.repair(directory)
    (directory / "seal").unlink()
    with pytest.raises(ledgercore.JournalDamaged, match="the journal is gone"):
        ledgercore.repair(directory)
    assert not journal_files(directory)
