"""Snapshots: a shorter way to the same ledger, made beside it, and passed over where it is bad."""

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import ledgercore
from ledgercore import Status
from ledgercore.accounts import copy_state
from ledgercore.directory import snapshot_name
from ledgercore.file_store import FileStore
from ledgercore.helper_process import start_helper
from ledgercore.journal_check import digest_state
from ledgercore.replay import dump_keys
from ledgercore.snapshots import SNAPSHOTS_KEPT, make_snapshot
from ledgercore.store import Recovered
from tests.support.damage import flipped
from tests.support.histories import history_of, open_funded, open_small
from tests.support.making import CAPACITY, make_long, many_rows, poll, recover, roll_over


@pytest.fixture
def made(directory: Path) -> Path:
    """A closed ledger with accounts and keys of every kind."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 1000)
        ledger.open_account("euro", asset="EUR/2", floor=-5, ceiling=9, frozen=True)
        ledger.transfer_batch(many_rows(20_000, target=2))
        ledger.transfer("alice", "bob", 7, key="memo", client="shop", memo="für Öl")
        ledger.transfer("alice", "ghost", 3, key="lost")
        ledger.change_account("alice", floor=-7, ceiling=10**6)
    return directory


def snapshots_of(directory: Path) -> list[Path]:
    return sorted((directory / "snapshots").iterdir())


def state_of(recovered: Recovered) -> tuple[int, str, npt.NDArray[np.void]]:
    """All that decides what a ledger answers from here on."""
    lsn, balances, rows = copy_state(recovered.ledger)
    return lsn, digest_state(balances, rows), dump_keys(recovered.ledger)


def assert_same_state(directory: Path) -> None:
    """Recovery with the snapshots and without them leads to the same."""
    with_them, alone = recover(directory), recover(directory, snapshots=[])
    assert with_them.snapshot_lsn > 0 == alone.snapshot_lsn
    (lsn, digest, keys), other = state_of(with_them), state_of(alone)
    assert (lsn, digest) == other[:2] and (keys == other[2]).all()


def test_a_snapshot_leads_to_the_state_of_the_journal(made: Path) -> None:
    path = ledgercore.compact(made)
    assert path is not None
    last = recover(made, snapshots=[]).lsn
    assert Path(path).name == snapshot_name(last) == f"{last:020}.snapshot"
    assert snapshots_of(made) == [Path(path)]
    assert_same_state(made)
    with open_small(made) as ledger:
        ledger.transfer_batch(many_rows(500, start=10**6, target=2))
        assert ledger.audit(journal=True).ok
    assert_same_state(made)


def test_everything_is_answered_as_before(made: Path) -> None:
    with open_small(made) as ledger:
        accounts, history = ledger.accounts(), history_of(ledger)
        rows = many_rows(20_000, target=2)
        answers = ledger.transfer_batch(rows)
    ledgercore.compact(made)
    with open_small(made) as ledger:
        assert ledger.recovered is not None and ledger.recovered.snapshot_lsn > 0
        assert ledger.accounts() == accounts and history_of(ledger) == history
        assert (ledger.transfer_batch(rows) == answers).all() and answers["replayed"].all()
        memo = ledger.transfer("alice", "bob", 7, key="memo", client="shop", memo="für Öl")
        assert memo.replayed and memo.status is Status.APPLIED
        reused = ledger.transfer("alice", "bob", 7, key="memo", client="shop", memo="other")
        assert reused.status is Status.KEY_REUSED
        assert ledger.transfer("alice", "ghost", 3, key="lost").replayed
        assert ledger.find_key("lost").state == "refused"
        assert ledger.transfer("alice", "bob", 10**4, key="n").status is Status.INSUFFICIENT_FUNDS
        assert ledger.account("euro").frozen and ledger.account("alice").ceiling == 10**6
        # The next id is the next one, and no older.
        assert ledger.statistics().lsn_applied == max(history) + 2


def test_nothing_new_makes_no_snapshot(made: Path, directory: Path) -> None:
    assert ledgercore.compact(made) is not None
    before = [(path, path.stat().st_mtime_ns) for path in snapshots_of(made)]
    assert ledgercore.compact(made) is None
    assert [(path, path.stat().st_mtime_ns) for path in snapshots_of(made)] == before


def test_an_empty_ledger_makes_no_snapshot(directory: Path) -> None:
    open_small(directory).close()
    assert ledgercore.compact(directory) is None and snapshots_of(directory) == []


def test_the_newest_two_are_kept_and_a_bad_one_is_passed_over(made: Path) -> None:
    paths = []
    for round in range(4):
        with open_small(made) as ledger:
            ledger.transfer("world", "bob", 1, key=f"round-{round}")
        paths.append(Path(ledgercore.compact(made) or ""))
    older, newest = paths[-SNAPSHOTS_KEPT:]
    assert snapshots_of(made) == [older, newest]
    good = newest.read_bytes()
    for bad in (b"", good[:4096], flipped(good, 20), flipped(good, 5000), good[:-64], good + good):
        newest.write_bytes(bad)
        assert recover(made).snapshot_lsn == int(older.stem)
        assert_same_state(made)
    older.write_bytes(b"")
    assert recover(made).snapshot_lsn == 0
    with open_small(made) as ledger:
        assert ledger.audit(journal=True).ok and ledger.find_key("round-3").state == "applied"
    newest.write_bytes(good)
    assert recover(made).snapshot_lsn == int(newest.stem)


def test_a_snapshot_of_another_ledger_is_passed_over(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with open_small(other) as ledger:
        open_funded(ledger, ["mallory"], 10**6)
    foreign = Path(ledgercore.compact(other) or "")
    (made / "snapshots" / foreign.name).write_bytes(foreign.read_bytes())
    assert recover(made).snapshot_lsn == 0
    with open_small(made) as ledger, pytest.raises(ledgercore.AccountNotFound):
        ledger.balance("mallory")


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_is_gone_is_a_loss_also_behind_a_snapshot(directory: Path, number: int) -> None:
    make_long(directory)
    ledgercore.compact(directory)
    gone = sorted((directory / "journal").iterdir())[number]
    gone.unlink()
    with pytest.raises(ledgercore.JournalDamaged, match=f"{gone}: this segment is missing"):
        open_small(directory)


def run_module(address: Path, *numbers: int) -> subprocess.CompletedProcess[str]:
    with start_helper("snapshot", address, *numbers) as process:
        output, problem = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, problem)


def test_a_process_makes_one_beside_the_running_engine(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        roll_over(ledger, directory, 3)
        done = run_module(directory, CAPACITY.accounts_max, CAPACITY.keys_max)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (path,) = snapshots_of(directory)
        # Only sealed files were read, so the engine is ahead.
        assert 0 < int(path.stem) < ledger.statistics().lsn_applied
        assert int(path.stem) == recover(directory, sealed_only=True).lsn
        assert make_snapshot(FileStore(directory), CAPACITY, sealed_only=True) is None
        ledger.transfer("world", "alice", 1, key="after")
    assert_same_state(directory)


def test_a_process_that_cannot_make_one_says_why(made: Path, tmp_path: Path) -> None:
    # As long as no file is sealed there is nothing to take, whatever the sizes.
    assert run_module(made, 1, 1).returncode == 0
    with open_small(made, segment_bytes=4 << 20, key_ttl_s=5):
        few = run_module(made, 1, CAPACITY.keys_max)
    assert few.returncode == 1 and "accounts_max" in few.stderr
    assert few.stderr.startswith("ledgercore: no snapshot: ") and few.stderr.count("\n") == 1
    nowhere = run_module(tmp_path / "nowhere", 1, 1)
    assert nowhere.returncode == 1 and "no valid seal" in nowhere.stderr
    assert snapshots_of(made) == []


def test_expired_keys_stay_expired(directory: Path) -> None:
    with open_small(directory, key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = ledger.transfer("world", "alice", 1, key="old")
        poll(lambda: ledger.find_key("old").state == "expired", "the key expires")
    ledgercore.compact(directory)
    assert_same_state(directory)
    with open_small(directory, key_ttl_s=1) as ledger:
        state = ledger.find_key("old")
        assert state.state == "expired" and state.transfer is not None
        assert state.transfer.id == first.id
        again = ledger.transfer("world", "alice", 1, key="old")
        assert (again.status, again.id) == (Status.KEY_EXPIRED, first.id)
        assert ledger.find_key("old").state == "expired" and ledger.balance("alice") == 1
    ledgercore.compact(directory)
    assert_same_state(directory)
    ledgercore.verify(directory)
