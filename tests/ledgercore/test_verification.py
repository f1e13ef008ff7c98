"""Offline work on a directory: verify, inspect, repair, compact; all but `inspect` alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

import ledgercore
from ledgercore.directory import DataDirectory
from tests.support.damage import Story, flip_file, frames_of, read_files, sealed_story, write_files
from tests.support.histories import journal_files, open_funded, open_small
from tests.support.making import forge_journal, make_long, many_rows, reencoded, roll_over


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A short ledger that was closed cleanly."""
    return sealed_story(tmp_path_factory.mktemp("story"))


def test_verify_counts_what_is_there(story: Story, directory: Path) -> None:
    told: list[tuple[int, int]] = []
    write_files(directory, story.files)
    found = ledgercore.verify(directory, lambda done, total: told.append((done, total)))
    applied = sum(one.status is ledgercore.Status.APPLIED for one in story.history.values())
    assert (found.accounts, found.keys) == (len(story.balances), len(story.history))
    assert (found.transfers, found.refusals) == (applied, len(story.history) - applied)
    assert found.lsn == found.records == story.lsn
    assert found.sums == {"USD/2": 0} and found.violations == () and found.torn_bytes == 0
    assert found.seconds > 0 and found.records_per_second == found.records / found.seconds
    assert told == [(4 << 20, 4 << 20)]
    assert read_files(directory) == story.files


def test_verify_tells_its_speed(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        ledger.transfer_batch(many_rows(200_000))
    found = ledgercore.verify(directory)
    # The goal is five million; a busy machine with a sanitizer must not fail here.
    assert found.transfers == 200_000 and found.records_per_second > 100_000


def test_verify_reports_torn_bytes_and_leaves_them(story: Story, directory: Path) -> None:
    data, end = story.files[story.journal], story.end
    torn = story.damaged(story.journal, data[:end] + b"\xff" * 100 + data[end + 100 :])
    write_files(directory, torn)
    found = ledgercore.verify(directory)
    assert (found.torn_bytes, found.lsn, found.violations) == (100, story.lsn, ())
    assert read_files(directory) == torn


def test_verify_raises_where_the_journal_is_damaged(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    (path,) = journal_files(directory)
    frame = story.frames[3]
    flip_file(path, frame.offset + 150)
    place = f"{path}: offset {frame.offset}, LSN {frame.first_lsn}"
    with pytest.raises(ledgercore.JournalDamaged, match=place):
        ledgercore.verify(directory)
    ledgercore.repair(directory)
    assert ledgercore.verify(directory).lsn == frame.first_lsn - 1


def test_verify_names_a_bad_snapshot(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    path = Path(ledgercore.compact(directory) or "")
    assert ledgercore.verify(directory).violations == ()
    flip_file(path, 4096 + 130)
    (violation,) = ledgercore.verify(directory).violations
    assert violation.startswith(f"{path}: ")


def test_verify_names_a_snapshot_that_contradicts_the_journal(
    story: Story, directory: Path
) -> None:
    write_files(directory, story.files)
    path = Path(ledgercore.compact(directory) or "")

    def change(position: int, record: bytearray) -> None:
        # The first two accounts: five more here, five less there.
        if position <= 2:
            balance = int.from_bytes(record[40:48], "little", signed=True) + 15 - 10 * position
            record[40:48] = balance.to_bytes(8, "little", signed=True)

    path.write_bytes(reencoded(path.read_bytes(), change)[0])
    assert [str(path) in one for one in ledgercore.verify(directory).violations] == [True]


def test_inspect_tells_what_is_there(directory: Path) -> None:
    last = make_long(directory)
    snapshot = Path(ledgercore.compact(directory) or "")
    found = ledgercore.inspect(directory)
    seal = DataDirectory(directory).read_seal()
    assert seal is not None and found.ledger_id == seal.ledger_id.hex()
    assert found.seal is not None and found.seal["clean"] is True
    assert (found.seal["synced_lsn"], found.seal["segment"]) == (last, 3)
    assert [one["file"] for one in found.segments] == [p.name for p in journal_files(directory)]
    assert [one["state"] for one in found.segments] == ["whole"] * 3
    assert sum(one["records"] for one in found.segments) == last == found.segments[-1]["last_lsn"]
    for one, path in zip(found.segments, journal_files(directory), strict=True):
        frames = frames_of(path.read_bytes())
        assert (one["frames"], one["bytes"]) == (len(frames), 4 << 20)
        assert one["bytes_used"] == frames[-1].offset + frames[-1].length
        assert one["records"] == one["last_lsn"] - one["first_lsn"] + 1 and one["problem"] is None
    size = snapshot.stat().st_size
    expected = {"file": snapshot.name, "lsn": last, "bytes": size, "valid": True}
    assert found.snapshots == [expected]


def test_inspect_judges_nothing_and_tells_of_damage(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    snapshot = Path(ledgercore.compact(directory) or "")
    (path,) = journal_files(directory)
    frame = story.frames[3]
    flip_file(path, frame.offset)
    flip_file(snapshot, 5000)
    found = ledgercore.inspect(directory)
    (segment,) = found.segments
    assert segment["state"] == "bytes after the last frame"
    assert (segment["last_lsn"], segment["frames"]) == (frame.first_lsn - 1, 3)
    assert segment["problem"].startswith(f"offset {frame.offset}: ")
    assert found.snapshots[0]["valid"] is False
    flip_file(path, 50)
    (segment,) = ledgercore.inspect(directory).segments
    assert (segment["state"], segment["records"]) == ("bad header", 0)
    assert str(path) in segment["problem"]


def test_inspect_needs_no_sound_files_and_no_lock(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ledgercore.DirectoryUnusable, match="there is no ledger here"):
        ledgercore.inspect(tmp_path / "nowhere")
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        found = ledgercore.inspect(directory)
        assert found.segments[0]["last_lsn"] == 3 and found.seal is not None
    (directory / "seal").write_bytes(b"")
    assert ledgercore.inspect(directory).seal is None
    assert len(ledgercore.inspect(directory).segments) == 1


@pytest.mark.parametrize("work", [ledgercore.verify, ledgercore.repair, ledgercore.compact])
def test_who_works_on_a_directory_works_alone(
    directory: Path, tmp_path: Path, work: Callable[[Path], object]
) -> None:
    with pytest.raises(ledgercore.DirectoryUnusable, match="there is no ledger here"):
        work(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        with pytest.raises(ledgercore.DirectoryLocked):
            work(directory)
        ledger.transfer("alice", "world", 1, key="k")
    for _ in range(2):
        # It lets go of the lock, also when it fails.
        work(directory)
    forge_journal(directory, lambda lsn, record: record.__setitem__(slice(16, 32), bytes(16)))
    for path in (directory / "snapshots").iterdir():
        path.unlink()
    if work is not ledgercore.repair:
        with pytest.raises(ledgercore.JournalDamaged):
            work(directory)
    ledgercore.repair(directory)
    open_small(directory).close()


def test_compact_shortens_the_next_start(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["bob"], 5)
        roll_over(ledger, directory, 3)
    path = ledgercore.compact(directory)
    assert path is not None and len(journal_files(directory)) == 3
    assert ledgercore.compact(directory) is None
    with open_small(directory) as ledger:
        assert ledger.recovered is not None
        assert ledger.recovered.snapshot_lsn == ledger.statistics().lsn_applied
        assert ledger.recovered.transfers == 0 and ledger.audit().ok
