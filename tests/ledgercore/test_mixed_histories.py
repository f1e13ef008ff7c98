"""Files of one ledger that went on twice, mixed: a directory is of one history, or it is refused.

So it comes when a copy is restored, goes on, and files of before are put beside it. The ids are the
same, each file is sound, and only the checksums that files name of each other can tell.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import ledgercore
from ledgercore.file_store import FileStore
from ledgercore.snapshots import make_snapshot
from tests.support.damage import Files, directory_in_memory, read_files, write_files
from tests.support.histories import balances_of, open_funded, open_small
from tests.support.making import CAPACITY, many_rows, roll_over

SEAL = "seal"


@dataclass
class Branch:
    """One way in which a ledger went on, as its files are after a clean end."""

    files: Files
    balances: dict[str, int]
    lsn: int

    def names(self, suffix: str) -> list[str]:
        return sorted(name for name in self.files if name.endswith(suffix))


def go_on(common: Path, home: Path, amount: int, rows: int) -> Branch:
    """Let a copy of a closed ledger go on into a third file, with a snapshot within it."""
    directory = shutil.copytree(common, home)
    with open_small(directory) as ledger:
        ledger.transfer_batch(many_rows(rows, start=1 << 20, amount=amount))
        roll_over(ledger, directory, 3, start=1 << 21)
    ledgercore.compact(directory)
    with open_small(directory) as ledger:
        ledger.transfer_batch(many_rows(rows, start=1 << 22, amount=amount))
        return Branch(read_files(directory), balances_of(ledger), ledger.statistics().lsn_applied)


@pytest.fixture(scope="module")
def branches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Branch, Branch]:
    """Two histories that part in the middle of the second file."""
    home = tmp_path_factory.mktemp("branches")
    common = home / "common"
    with open_small(common) as ledger:
        open_funded(ledger, ["alice", "bob"], 100)
        start = roll_over(ledger, common, 2)
        ledger.transfer_batch(many_rows(500, start=start))
    return go_on(common, home / "one", 1, 300), go_on(common, home / "other", 2, 250)


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as directory:
        yield directory


def check_refused(directory: Path, files: Files, named: str) -> None:
    """Opening refuses and names the file, verify does not pass it, and nothing is touched."""
    write_files(directory, files)
    with pytest.raises(ledgercore.JournalDamaged, match=named):
        open_small(directory)
    with suppress(ledgercore.JournalDamaged):
        assert ledgercore.verify(directory).violations
    assert read_files(directory) == files


def test_the_branches_are_two(branches: tuple[Branch, Branch], directory: Path) -> None:
    one, other = branches
    assert one.balances != other.balances
    for branch in branches:
        write_files(directory, branch.files)
        assert ledgercore.verify(directory).violations == ()
        with open_small(directory) as ledger:
            assert ledger.recovered is not None and 0 < ledger.recovered.snapshot_lsn < branch.lsn
            assert balances_of(ledger) == branch.balances
    shared = one.files.items() & other.files.items()
    assert {name for name, _ in shared} == {"journal/0000000001.segment"}


@pytest.mark.parametrize("turned", [False, True])
def test_a_snapshot_of_another_history_is_refused(
    branches: tuple[Branch, Branch], directory: Path, turned: bool
) -> None:
    """Behind the end of the journal as well as before it, and in the middle of a frame."""
    one, other = branches[::-1] if turned else branches
    (own,) = one.names(".snapshot")
    (foreign,) = other.names(".snapshot")
    files = {name: data for name, data in one.files.items() if name != own}
    check_refused(directory, files | {foreign: other.files[foreign]}, foreign)
    # Whatever it is called: the name is no proof.
    renamed = "snapshots/" + "9" * 20 + ".snapshot"
    write_files(directory, files | {renamed: other.files[foreign]})
    with open_small(directory) as ledger:
        assert balances_of(ledger) == one.balances


def test_a_snapshot_at_the_edge_of_a_file_is_compared(
    branches: tuple[Branch, Branch], directory: Path
) -> None:
    """It is made of sealed files alone, and ends where the next one begins."""
    one, _ = branches
    found: dict[str, bytes] = {}
    for branch in branches:
        write_files(directory, branch.files)
        shutil.rmtree(directory / "snapshots")
        (directory / "snapshots").mkdir()

        path = make_snapshot(FileStore(directory), CAPACITY, sealed_only=True)
        assert path is not None
        found[Path(path).name] = Path(path).read_bytes()
    files = {name: data for name, data in one.files.items() if not name.endswith(".snapshot")}
    own, foreign = found
    write_files(directory, files | {f"snapshots/{own}": found[own]})
    with open_small(directory) as ledger:
        assert ledger.recovered is not None and ledger.recovered.snapshot_lsn == int(own[:20])
    write_files(directory, files | {f"snapshots/{foreign}": found[foreign]})
    with pytest.raises(ledgercore.JournalDamaged, match=foreign):
        open_small(directory)


@pytest.mark.parametrize("turned", [False, True])
def test_a_segment_of_another_history_is_refused(
    branches: tuple[Branch, Branch], directory: Path, turned: bool
) -> None:
    one, other = branches[::-1] if turned else branches
    for name in one.names(".segment")[1:]:
        files = one.files | {name: other.files[name]}
        bare = {path: data for path, data in files.items() if not path.endswith(".snapshot")}
        check_refused(directory, bare, "journal|seal")
        write_files(directory, files)
        with pytest.raises(ledgercore.JournalDamaged):
            ledgercore.verify(directory)


def test_a_seal_of_another_history_is_refused(
    branches: tuple[Branch, Branch], directory: Path
) -> None:
    for one, other in (branches, branches[::-1]):
        check_refused(directory, one.files | {SEAL: other.files[SEAL]}, "seal")


def test_repair_leaves_one_history(branches: tuple[Branch, Branch], directory: Path) -> None:
    """The journal is the truth: what contradicts it is set aside, and nothing is removed."""
    one, other = branches
    (own,) = one.names(".snapshot")
    (foreign,) = other.names(".snapshot")
    files = {name: data for name, data in one.files.items() if name != own}
    write_files(directory, files | {foreign: other.files[foreign], SEAL: other.files[SEAL]})
    ledgercore.repair(directory)
    assert ledgercore.verify(directory).violations == ()
    assert ledgercore.repair(directory).action == "nothing to repair"
    with open_small(directory) as ledger:
        assert balances_of(ledger) == one.balances and ledger.audit(journal=True).ok
    kept = {name.partition(".broken-")[0]: data for name, data in read_files(directory).items()}
    assert kept[foreign] == other.files[foreign]
