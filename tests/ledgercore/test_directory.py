"""Damage to whole files of a ledger's directory, and who may hold the directory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledgercore
from tests.support.damage import (
    HEADER_BYTES,
    Story,
    directory_in_memory,
    flipped,
    frames_of,
    read_files,
    reopen,
    sealed_story,
    tell,
    write_files,
    write_history,
    zeroed,
)
from tests.support.histories import fill_segment, open_small


@pytest.fixture
def directory() -> Iterator[Path]:
    """Hundreds of openings: in memory."""
    with directory_in_memory() as directory:
        yield directory


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A ledger that was closed cleanly."""
    return sealed_story(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A ledger of several journal files, closed cleanly, without snapshots."""
    directory = tmp_path_factory.mktemp("long") / "ledger"
    with open_small(directory) as ledger:
        write_history(ledger)
        for number in range(3):
            fill_segment(ledger, directory, f"fill-{number}")
        story = tell(ledger, directory, directory.parent / "copy")
    story.files = read_files(directory)
    return story


def seal_of(story: Story) -> str:
    return next(name for name in story.files if "seal" in name)


# -- the seal -----------------------------------------------------------------------------------


def test_every_flip_in_the_seal_is_harmless_or_noticed(sealed: Story, directory: Path) -> None:
    name = seal_of(sealed)
    data = sealed.files[name]
    # Of the two slots of a page each, the first 64 bytes are used.
    for offset in [*range(64), *range(64, 4096, 640), *range(4096, 4160), len(data) - 1]:
        damaged = sealed.damaged(name, flipped(data, offset))
        assert reopen(directory, damaged, sealed) in (None, sealed.lsn)


def test_a_seal_that_is_gone_is_noticed(sealed: Story, directory: Path) -> None:
    name = seal_of(sealed)
    data = sealed.files[name]
    without = {other: bytes for other, bytes in sealed.files.items() if other != name}
    for files in (without, sealed.damaged(name, b""), sealed.damaged(name, bytes(len(data)))):
        assert reopen(directory, files, sealed) is None


def test_an_old_seal_hides_no_loss_that_the_journal_shows(sealed: Story, directory: Path) -> None:
    """A seal may lag behind the journal after a crash; then the journal's own word counts."""
    young = write_files(directory.with_name("young"), sealed.files)
    with open_small(young) as ledger:
        ledger.transfer("world", "bob", 1, key="young")
        story = tell(ledger, young, directory.with_name("copy"))
    newer = read_files(young)
    files = newer | {seal_of(sealed): sealed.files[seal_of(sealed)]}
    assert reopen(directory, files, story) == story.lsn
    # The other way round, the seal knows of more than the journal holds.
    files = sealed.files | {seal_of(sealed): newer[seal_of(sealed)]}
    assert reopen(directory, files, story) is None


# -- journal files ------------------------------------------------------------------------------


def test_a_missing_or_foreign_journal_file_is_noticed(long: Story, directory: Path) -> None:
    names = long.journals
    assert len(names) >= 4 and reopen(directory, long.files, long) == long.lsn
    for name in names:
        without = {other: data for other, data in long.files.items() if other != name}
        assert reopen(directory, without, long) is None, f"{name} is missing"
        assert reopen(directory, long.damaged(name, b""), long) is None
        blank = bytes(len(long.files[name]))
        assert reopen(directory, long.damaged(name, blank), long) is None
        headed = long.files[name][:HEADER_BYTES] + blank[HEADER_BYTES:]
        assert reopen(directory, long.damaged(name, headed), long) is None


def test_journal_files_out_of_place_are_noticed(long: Story, directory: Path) -> None:
    first, second, third = long.journals[:3]
    for one, other in [(first, second), (second, third)]:
        swapped = long.files | {one: long.files[other], other: long.files[one]}
        assert reopen(directory, swapped, long) is None
    twice = long.files | {third: long.files[second]}
    assert reopen(directory, twice, long) is None


def test_a_journal_file_of_another_ledger_is_noticed(
    long: Story, directory: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    with open_small(other) as ledger:
        write_history(ledger)
    foreign = read_files(other)
    for name in long.journals:
        if name in foreign:
            assert reopen(directory, long.damaged(name, foreign[name]), long) is None
    assert long.journals[0] in foreign
    assert reopen(directory, long.damaged(seal_of(long), foreign[seal_of(long)]), long) is None


def test_every_journal_file_is_checked_to_its_end(long: Story, directory: Path) -> None:
    for name in long.journals:
        data = long.files[name]
        frames = frames_of(data)
        for frame in (frames[0], frames[len(frames) // 2], frames[-1]):
            for offset in (frame.offset, frame.offset + 130, frame.offset + frame.length - 1):
                files = long.damaged(name, flipped(data, offset))
                assert reopen(directory, files, long) is None, f"{name} at {offset}"
        end = frames[-1].offset + frames[-1].length
        files = long.damaged(name, zeroed(data, frames[-1].offset, end))
        assert reopen(directory, files, long) is None


def test_strange_files_do_no_harm(sealed: Story, directory: Path) -> None:
    strange = {"README": b"hello", "core": bytes(5000), ".hidden": b"", "journal.bak": b"x"}
    assert reopen(directory, sealed.files | strange, sealed) == sealed.lsn
    assert {name: (directory / name).read_bytes() for name in strange} == strange


# -- snapshots ----------------------------------------------------------------------------------


def test_a_damaged_snapshot_is_replaced_by_the_journal(long: Story, directory: Path) -> None:
    write_files(directory, long.files)
    ledgercore.compact(directory)
    files = read_files(directory)
    snapshots = [name for name in files if "snapshot" in name]
    assert len(snapshots) == 1 and reopen(directory, files, long) == long.lsn
    (name,) = snapshots
    data = files[name]
    kept = set(long.journals) <= files.keys()
    for offset in [0, 8, 100, HEADER_BYTES, HEADER_BYTES + 200, len(data) // 2, len(data) - 1]:
        found = reopen(directory, files | {name: flipped(data, offset)}, long)
        assert found == long.lsn if kept else found in (None, long.lsn)
    for size in [0, 100, HEADER_BYTES, len(data) // 2, len(data) - 64]:
        found = reopen(directory, files | {name: data[:size]}, long)
        assert found == long.lsn if kept else found in (None, long.lsn)


# -- who holds the directory --------------------------------------------------------------------


HOLDER = """
import sys, ledgercore
try:
    ledgercore.open(sys.argv[1]).close()
except ledgercore.LedgerError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def open_elsewhere(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HOLDER, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_directory_has_one_holder(directory: Path) -> None:
    with open_small(directory) as ledger:
        with pytest.raises(ledgercore.DirectoryLocked, match=str(directory)):
            open_small(directory)
        other = open_elsewhere(directory)
        assert other.returncode == 1 and other.stderr.startswith("DirectoryLocked: ")
        assert len(other.stderr.splitlines()) == 1
        ledger.open_account("alice", asset="USD/2")
    assert open_elsewhere(directory).returncode == 0
    open_small(directory).close()


def test_a_failed_opening_lets_go_of_the_directory(sealed: Story, directory: Path) -> None:
    assert reopen(directory, sealed.damaged(seal_of(sealed), b""), sealed) is None
    write_files(directory, sealed.files)
    assert open_elsewhere(directory).returncode == 0


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ledgercore.DirectoryUnusable, match="file"):
            open_small(path)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    with open_small(path) as ledger:
        assert Path(ledger.path) == path and ledger.statistics().lsn_applied == 0
    with open_small(str(path)) as ledger:
        assert ledger.accounts() == [] and ledger.audit().ok
