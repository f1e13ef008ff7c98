"""Opening a ledger: what has to be there is made, and a failed opening leaves no trace."""

import os
from pathlib import Path
from typing import Any

import pytest

import ledgercore
from ledgercore.options import DURABILITIES, OPTION_RANGES
from tests.support.damage import read_files
from tests.support.histories import journal_files, open_funded, open_small


def test_what_is_no_option_is_refused() -> None:
    with pytest.raises(TypeError, match="journal_bytes"):
        ledgercore.open(None, journal_bytes=1)  # type: ignore[call-arg]


def test_a_durable_ledger_needs_a_directory() -> None:
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledgercore.open()
    assert caught.value.field == "path"


def test_a_ledger_in_memory_touches_no_file(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (None, directory):
        with open_small(path, durability="memory") as ledger:
            open_funded(ledger, ["alice"], 5)
            assert ledger.balance("alice") == 5 and ledger.durability == "memory"
            assert ledger.path == "" and ledger.recovered is None
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_ledger_works(directory: Path) -> None:
    options: dict[str, Any] = {field: low for field, (low, _) in OPTION_RANGES.items()}
    options["accounts_max"] = 2
    for durability in DURABILITIES:
        with ledgercore.open(directory, durability=durability, **options) as ledger:
            open_funded(ledger, ["alice"], 5)
            submission = ledger.new_submission()
            submission.add("", "key", "alice", "world", 1)
            assert submission.is_full
            ledger.submit(submission)


def test_a_new_directory_is_made_with_its_parents_and_its_files(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ledger"
    with open_small(path) as ledger:
        assert ledger.path == str(path)
        assert {child.name for child in path.iterdir()} == {
            "clock",
            "journal",
            "lock",
            "seal",
            "snapshots",
        }
        (segment,) = journal_files(path)
        assert segment.stat().st_size == 4 << 20 and segment.name == "0000000001.segment"
        assert (path / "lock").read_text() == f"{os.getpid()}\n"


def test_leftovers_of_a_killed_process_are_removed(directory: Path) -> None:
    open_small(directory).close()
    before = read_files(directory)
    leftovers = [directory / "journal" / "spare.tmp", directory / "seal.tmp"]
    leftovers.append(directory / "snapshots" / "00000000000000000009.snapshot.tmp")
    for path in leftovers:
        path.write_bytes(b"half")
    with open_small(directory):
        assert not any(path.exists() for path in leftovers)
    assert read_files(directory).keys() == before.keys()


def test_the_lock_is_let_go_when_opening_fails(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        with pytest.raises(ledgercore.DirectoryLocked, match=f"pid {os.getpid()}"):
            open_small(directory)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ledgercore.InvalidArgument, match="accounts_max"):
            open_small(directory, accounts_max=1)
    assert len(os.listdir("/proc/self/fd")) == before
    (segment,) = journal_files(directory)
    aside = segment.rename(directory / "aside")
    with pytest.raises(ledgercore.JournalDamaged, match="the journal is gone"):
        open_small(directory)
    aside.rename(segment)
    with open_small(directory) as ledger:
        assert ledger.balance("alice") == 5


def test_a_bad_option_makes_no_directory(directory: Path) -> None:
    with pytest.raises(ledgercore.InvalidArgument):
        ledgercore.open(directory, segments=0)
    assert not directory.exists()
