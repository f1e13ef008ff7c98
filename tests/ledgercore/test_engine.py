"""An engine as a whole: opened, used and closed as one."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledgercore
from ledgercore import Engine
from tests.support.histories import open_funded, open_small
from tests.support.making import many_rows


@pytest.fixture
def ledger(directory: Path) -> Iterator[Engine]:
    """A durable ledger with small files."""
    with open_small(directory) as engine:
        yield engine


def test_a_with_block_closes_whatever_happens(directory: Path) -> None:
    with suppress(ZeroDivisionError), open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        raise ZeroDivisionError
    with pytest.raises(ledgercore.EngineClosed):
        ledger.transfer("world", "alice", 1, key="late")
    seal = ledgercore.inspect(directory).seal
    assert seal is not None and seal["clean"]
    with open_small(directory) as again:
        assert again.balance("alice") == 5


def test_closing_twice_and_at_once_is_closing(directory: Path) -> None:
    ledger = open_small(directory, workers_min=2, workers_max=2)
    names = {"journal", "housekeeper", "worker-0-0", "worker-0-1"}
    running = [thread for thread in threading.enumerate() if thread.name in names]
    assert len(running) >= 4
    closers = [threading.Thread(target=ledger.close) for _ in range(4)]
    for thread in closers:
        thread.start()
    for thread in closers:
        thread.join()
    ledger.close()
    assert not any(thread.is_alive() for thread in running)
    open_small(directory).close()


WORK: dict[str, Callable[[Engine], object]] = {
    "transfer": lambda ledger: ledger.transfer("world", "alice", 1, key="late"),
    "transfer_batch": lambda ledger: ledger.transfer_batch(many_rows(2)),
    "submit": lambda ledger: ledger.submit(ledger.new_submission()),
    "barrier": lambda ledger: ledger.barrier(),
    "open_account": lambda ledger: ledger.open_account("late", asset="USD/2"),
    "open_account again": lambda ledger: ledger.open_account("alice", asset="USD/2"),
    "open_accounts": lambda ledger: ledger.open_accounts(["late"], asset="USD/2"),
    "change_account": lambda ledger: ledger.change_account("alice", frozen=True),
}


@pytest.mark.parametrize("name", WORK)
def test_a_closed_engine_takes_no_work_and_still_tells(directory: Path, name: str) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        before = ledger.accounts(), ledger.find_key("fund-alice")
    with pytest.raises(ledgercore.EngineClosed):
        WORK[name](ledger)
    assert (ledger.accounts(), ledger.find_key("fund-alice")) == before
    assert list(ledger.balances) == [-5, 5] and ledger.audit().ok
    assert ledger.statistics().lsn_applied == 3 == ledger.statistics().lsn_durable


def test_a_forgotten_engine_warns_and_closes(directory: Path) -> None:
    forgotten = [open_small(directory)]
    open_funded(forgotten[0], ["alice"], 5)
    with pytest.warns(ResourceWarning, match=r"<ledgercore.Engine, .*> was never closed"):
        forgotten.clear()
    seal = ledgercore.inspect(directory).seal
    assert seal is not None and seal["clean"]
    with open_small(directory) as again:
        assert again.balance("alice") == 5


def test_a_closed_engine_is_forgotten_in_silence(
    directory: Path, recwarn: pytest.WarningsRecorder
) -> None:
    ledger = open_small(directory)
    ledger.close()
    del ledger
    gc.collect()
    assert not [one for one in recwarn if one.category is ResourceWarning]


def test_its_name_tells_where_it_is(ledger: Engine, directory: Path) -> None:
    assert repr(ledger) == f"<ledgercore.Engine, durability=sync at {directory}>"
    with open_small(None, durability="memory") as other:
        assert repr(other) == "<ledgercore.Engine, durability=memory>"


def test_statistics_count(directory: Path) -> None:
    options = {"segments": 2, "workers_min": 3, "workers_max": 3}
    with open_small(directory, **options) as ledger:
        empty = ledger.statistics()
        assert (empty.lsn_applied, empty.lsn_durable, empty.accounts, empty.keys) == (0, 0, 0, 0)
        open_funded(ledger, ["alice"], 5)
        ledger.transfer_batch(many_rows(100))
        found = ledger.statistics()
        assert (found.lsn_applied, found.lsn_durable) == (103, 103)
        assert (found.accounts, found.keys, found.keys_max) == (2, 101, 1 << 18)
        assert (found.queue_depth, found.workers, found.durability) == (0, 6, "sync")
        assert [(one.queue_depth, one.workers) for one in found.segments] == [(0, 3)] * 2
        assert 4 <= found.groups <= 103
    with open_small(directory) as ledger:
        again = ledger.statistics()
        assert (again.lsn_durable, again.keys, again.workers) == (103, 101, 1)
        assert again.groups == 0
        assert again.recovered_records == 103 and again.recovery_seconds > 0


@pytest.mark.parametrize("segments", [1, 2, 7, 256])
def test_each_account_has_its_segment(directory: Path, segments: int) -> None:
    ids = [f"account-{number}" for number in range(500)]
    with open_small(directory, segments=segments) as ledger:
        first = [ledger.segment_of(id) for id in ids]
        assert set(first) <= set(range(segments))
        # They spread, and an account need not be open.
        assert len(set(first)) >= min(segments, 200)
        ledger.open_account(ids[0], asset="USD/2")
        assert [ledger.segment_of(id) for id in ids] == first
    with open_small(directory, segments=segments) as ledger:
        assert [ledger.segment_of(id) for id in ids] == first


def test_many_accounts_are_opened_with_their_settings(ledger: Engine) -> None:
    slots = ledger.open_accounts(["a", "b", "a"], asset="USD/2", floor=-3, ceiling=9)
    assert slots.dtype == np.uint32 and list(slots) == [0, 1, 0]
    assert ledger.open_accounts(iter([]), asset="USD/2").shape == (0,)
    assert [(one.floor, one.ceiling, one.frozen) for one in ledger.accounts()] == [
        (-3, 9, False)
    ] * 2
    assert ledger.statistics().lsn_durable == 2
    # It returns the durable: also where another thread has opened them a moment ago.
    ids = [f"many-{number}" for number in range(1000)]
    assert list(ledger.open_accounts(ids, asset="EUR/2")) == list(range(2, 1002))
    assert ledger.statistics().lsn_durable == 1002


def test_what_is_not_given_stays_as_it_is(ledger: Engine) -> None:
    ledger.open_account("a", asset="USD/2", floor=-3, ceiling=9, frozen=True)

    def settings() -> tuple[int | None, int | None, bool]:
        account = ledger.account("a")
        return account.floor, account.ceiling, account.frozen

    steps: list[tuple[dict[str, Any], tuple[int | None, int | None, bool]]] = [
        ({}, (-3, 9, True)),
        ({"floor": -4}, (-4, 9, True)),
        ({"ceiling": None}, (-4, None, True)),
        ({"frozen": False}, (-4, None, False)),
        ({"floor": None, "ceiling": 0}, (None, 0, False)),
        ({"floor": 0, "ceiling": 0, "frozen": True}, (0, 0, True)),
    ]
    for changes, expected in steps:
        assert ledger.change_account("a", **changes) == ledger.account("a")
        assert settings() == expected
    assert ledger.statistics().lsn_applied == 6
    # The same again is nothing new, and is not logged.
    ledger.change_account("a", floor=0, frozen=True)
    assert ledger.statistics().lsn_applied == 6
    with pytest.raises(ledgercore.AccountNotFound, match="no account 'b'"):
        ledger.change_account("b", frozen=True)


def test_fingerprints_are_those_of_each_key(ledger: Engine) -> None:
    keys = ["a", "b", "a", "k" * 255]
    found = ledger.fingerprints(keys, "shop")
    assert found.dtype == np.dtype("V16") and found.shape == (4,)
    assert [one.tobytes() for one in found] == [ledger.fingerprint(key, "shop") for key in keys]
    assert found.flags.writeable and len({one.tobytes() for one in found}) == 3
    assert ledger.fingerprint("a") != ledger.fingerprint("a", "shop")
    none = ledger.fingerprints([])
    assert none.shape == (0,) and none.dtype == np.dtype("V16")


def test_fingerprints_belong_to_their_ledger_and_outlive_it(directory: Path) -> None:
    with open_small(directory) as ledger:
        first = ledger.fingerprint("key", "shop")
    with open_small(directory) as ledger:
        assert ledger.fingerprint("key", "shop") == first
    # Another ledger has another secret, so nobody can make keys that collide in it.
    with open_small(None, durability="memory") as other:
        assert other.fingerprint("key", "shop") != first


def test_reads_that_need_not_wait_see_the_same(ledger: Engine) -> None:
    open_funded(ledger, ["alice"], 5)
    assert ledger.peek_account("alice") == ledger.account("alice")
    assert ledger.peek_accounts() == ledger.accounts() and ledger.balance("alice") == 5
    assert [one.id for one in ledger.accounts(1, 5)] == ["alice"] and ledger.accounts(2) == []
    for read in (ledger.account, ledger.peek_account, ledger.balance):
        with pytest.raises(ledgercore.AccountNotFound):
            read("ghost")


def test_a_sound_engine_has_no_failure(ledger: Engine) -> None:
    assert ledger.failure is None
    ledger.close()
    assert ledger.failure is None
