"""Accounts: opening, changing, paging, the view of the balances, and arguments out of range."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledgercore
from ledgercore import Status
from tests.support.histories import balances_of, open_funded, open_small
from tests.support.model import INT64_MAX, INT64_MIN

Engine = ledgercore.Engine


@pytest.fixture
def ledger(directory: Path) -> Iterator[Engine]:
    """A durable ledger with small files: there are hundreds of these."""
    with open_small(directory) as engine:
        yield engine


def test_an_account_is_opened_once(ledger: Engine) -> None:
    settings: dict[str, Any] = {"asset": "USD/2", "floor": -5, "ceiling": 9, "frozen": True}
    opened = ledger.open_account("alice", **settings)
    assert opened == ledgercore.Account("alice", "USD/2", 0, -5, 9, True, 0)
    assert ledger.open_account("alice", **settings) == opened == ledger.account("alice")
    assert ledger.statistics().lsn_applied == 1 == ledger.statistics().accounts
    others: list[dict[str, Any]]
    others = [{"asset": "EUR/2"}, {"floor": None}, {"ceiling": 10}, {"frozen": False}]
    for other in others:
        with pytest.raises(ledgercore.AccountExists):
            ledger.open_account("alice", **(settings | other))
    assert ledger.account("alice") == opened and ledger.statistics().lsn_applied == 1
    assert ledger.open_account("bob", asset="USD/2").slot == 1


@pytest.mark.parametrize("limits", [{"floor": 1}, {"ceiling": -1}, {"floor": 5, "ceiling": 9}])
def test_no_account_opens_outside_its_limits(ledger: Engine, limits: dict[str, Any]) -> None:
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledger.open_account("alice", asset="USD/2", **limits)
    assert caught.value.field in limits
    assert ledger.accounts() == [] and ledger.statistics().lsn_applied == 0


def test_limits_reach_to_the_edges_of_int64(ledger: Engine) -> None:
    # The ends of the range themselves stand for 'no limit' in the journal, so nobody may ask.
    lowest, highest = INT64_MIN + 1, INT64_MAX - 1
    limits: dict[str, Any] = {"floor": lowest, "ceiling": highest}
    opened = ledger.open_account("edge", asset="USD/2", **limits)
    assert (opened.floor, opened.ceiling) == (lowest, highest)
    assert ledger.open_account("edge", asset="USD/2", **limits) == opened
    with pytest.raises(ledgercore.AccountExists):
        ledger.open_account("edge", asset="USD/2", floor=None, ceiling=None)
    none = ledger.change_account("edge", floor=None, ceiling=None)
    assert (none.floor, none.ceiling) == (None, None)
    assert ledger.change_account("edge", **limits) == opened


def test_many_accounts_are_opened_together_and_paged_in_order(ledger: Engine) -> None:
    ids = [f"acct-{number}" for number in range(250)]
    slots = ledger.open_accounts(iter(ids), asset="USD/2", ceiling=5)
    assert slots.dtype == np.uint32 and list(slots) == list(range(250))
    assert list(ledger.open_accounts(reversed(ids), asset="USD/2", ceiling=5)) == list(slots)[::-1]
    assert ledger.statistics().lsn_applied == 250
    assert list(ledger.slots(["acct-7", "acct-249", "acct-7"])) == [7, 249, 7]
    assert ledger.slots([]).shape == (0,)
    with pytest.raises(ledgercore.AccountNotFound, match="ghost"):
        ledger.slots(["acct-1", "ghost"])
    pages: list[ledgercore.Account] = []
    while page := ledger.accounts(len(pages), 64):
        pages += page
    assert [account.id for account in pages] == ids
    assert [account.slot for account in pages] == list(range(250))
    assert len(ledger.accounts()) == 100 and ledger.accounts(250) == []
    assert ledger.peek_accounts(3, 2) == ledger.accounts(3, 2) == pages[3:5]


def test_a_failing_bulk_opening_names_the_account(ledger: Engine) -> None:
    ledger.open_account("b", asset="EUR/2")
    with pytest.raises(ledgercore.AccountExists, match="b"):
        ledger.open_accounts(["a", "b", "c"], asset="USD/2")
    for account in ledger.accounts():
        assert account.asset == ("EUR/2" if account.id == "b" else "USD/2")
    ledger.open_accounts(["a", "c"], asset="USD/2")
    assert sorted(account.id for account in ledger.accounts()) == ["a", "b", "c"]


def test_changes_obey_the_balance(ledger: Engine) -> None:
    open_funded(ledger, ["alice"], 10)
    lsn = ledger.statistics().lsn_applied
    assert ledger.change_account("alice").balance == 10
    assert ledger.change_account("alice", floor=0, ceiling=None, frozen=False).balance == 10
    assert ledger.statistics().lsn_applied == lsn
    refused: list[dict[str, Any]]
    refused = [{"floor": 11}, {"ceiling": 9}, {"floor": 11, "ceiling": 12}]
    for settings in refused:
        with pytest.raises(ledgercore.LimitConflict):
            ledger.change_account("alice", **settings)
        assert ledger.account("alice").floor == 0 and ledger.account("alice").ceiling is None
    assert ledger.statistics().lsn_applied == lsn
    changed = ledger.change_account("alice", floor=10, ceiling=10)
    assert (changed.floor, changed.ceiling, changed.frozen) == (10, 10, False)
    assert ledger.change_account("alice", frozen=True).ceiling == 10
    assert ledger.statistics().lsn_applied == lsn + 2
    with pytest.raises(ledgercore.LimitConflict):
        ledger.change_account("world", floor=-9)
    assert ledger.change_account("world", floor=-10).floor == -10
    for missing in (ledger.change_account, ledger.account, ledger.balance, ledger.peek_account):
        with pytest.raises(ledgercore.AccountNotFound, match="ghost"):
            missing("ghost")


def test_the_view_of_the_balances_is_live_and_read_only(ledger: Engine) -> None:
    open_funded(ledger, ["alice"], 10)
    view = ledger.balances
    assert view.dtype == np.int64 and view.shape == (2,) and list(view) == [-10, 10]
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    ledger.transfer("alice", "world", 3, key="back")
    assert list(view) == [-7, 7] and ledger.balance("alice") == 7


def test_a_view_outlives_its_engine(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 10)
        view = ledger.balances
    del ledger
    # Memory under a numpy array that somebody holds must stay mapped: reading it is no crash.
    assert int(view.sum()) == 0


def test_stated_capacities_are_kept() -> None:
    with open_small(None, durability="memory", accounts_max=4) as ledger:
        ledger.open_accounts(["a", "b", "c", "d"], asset="USD/2", floor=None)
        with pytest.raises(ledgercore.CapacityExceeded):
            ledger.open_account("e", asset="USD/2")
        assert ledger.open_account("a", asset="USD/2", floor=None).slot == 0
        assert ledger.transfer("a", "d", 1, key="k").status is Status.APPLIED
        assert ledger.transfer("a", "e", 1, key="e").status is Status.TARGET_NOT_FOUND


LONG = "x" * 64
FRACTION: Any = 0.0
REFUSED: dict[str, list[Any]] = {
    "source": ["", "a b", LONG + "x", "ä", "a\0", None, 7],
    "target": ["", "a b", LONG + "x", "ä", "a\n"],
    "amount": [0, -1, 2**63, -(2**63), 2**64, 1.0, 1.5, True, "1", None],
    "key": ["", "a b", "x" * 256, "ä", "a\x7f", "\t", None, 7],
    "client": ["x" * 256, "ä" * 128, None],
    "memo": ["x" * 257, "ä" * 129, "\ud800", 7],
}
ARGUMENTS: list[tuple[str, Callable[[Engine], Any]]] = [
    *(
        (field, lambda ledger, field=field, bad=bad: transfer_with(ledger, **{field: bad}))
        for field, values in REFUSED.items()
        for bad in values
    ),
    ("id", lambda ledger: ledger.open_account("a b", asset="USD/2")),
    ("id", lambda ledger: ledger.open_account("x" * 65, asset="USD/2")),
    ("asset", lambda ledger: ledger.open_account("a", asset="")),
    ("asset", lambda ledger: ledger.open_account("a", asset="dollars and cents")),
    ("floor", lambda ledger: ledger.open_account("a", asset="USD/2", floor=INT64_MIN)),
    ("ceiling", lambda ledger: ledger.open_account("a", asset="USD/2", ceiling=INT64_MAX)),
    ("floor", lambda ledger: ledger.open_account("a", asset="USD/2", floor=FRACTION)),
    ("floor", lambda ledger: ledger.change_account("bob", floor=2**63)),
    ("ceiling", lambda ledger: ledger.change_account("bob", ceiling=-(2**63) - 1)),
    ("start", lambda ledger: ledger.accounts(-1)),
    ("limit", lambda ledger: ledger.accounts(0, -1)),
]


def transfer_with(ledger: Engine, **argument: Any) -> Any:
    """A sound transfer but for one argument."""
    sound: dict[str, Any] = {"source": "world", "target": "bob", "amount": 1, "key": "k"}
    return ledger.transfer(**(sound | argument))


@pytest.mark.parametrize(("field", "call"), ARGUMENTS)
def test_a_bad_argument_is_named_and_changes_nothing(
    ledger: Engine, field: str, call: Callable[[Engine], Any]
) -> None:
    open_funded(ledger, ["bob"], 1)
    before = balances_of(ledger), ledger.statistics().lsn_applied
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        call(ledger)
    assert caught.value.field == field
    assert (balances_of(ledger), ledger.statistics().lsn_applied) == before


def test_arguments_at_their_limits_are_taken(ledger: Engine) -> None:
    ledger.open_account("world", asset="USD/2", floor=None)
    ledger.open_account(LONG, asset="USD/2")
    ledger.open_account("aA0._:@/-", asset="USD/2")
    edges: dict[str, Any] = {"key": "!" + "~" * 254, "client": "ä" * 127, "memo": "ä" * 128}
    outcome = ledger.transfer("world", LONG, INT64_MAX, **edges)
    assert outcome.status is Status.APPLIED
    stored = ledger.find_transfer(outcome.id)
    assert stored is not None
    assert (stored.memo, stored.amount, stored.target) == (edges["memo"], INT64_MAX, LONG)
    assert ledger.find_key(edges["key"], edges["client"]).transfer == stored
    assert ledger.transfer("world", LONG, INT64_MAX, **edges).replayed
    # An empty memo is none, for the journal keeps only the bytes of it.
    assert not ledger.transfer("world", LONG, 1, key="m", memo="").replayed
    assert ledger.transfer("world", LONG, 1, key="m").replayed
    for id in (0, outcome.id + 2, 2**63, 2**64 - 1, 1):
        assert ledger.find_transfer(id) is None


OPTIONS: list[tuple[str, Any]] = [
    ("durability", "fsync"),
    ("segments", 0),
    ("workers_max", 0),
    ("queue_size", 0),
    ("batch_max", 0),
    ("accounts_max", 0),
    ("keys_max", 0),
    ("key_ttl_s", -1),
    ("segment_bytes", 0),
    ("snapshot_every", -1),
]


@pytest.mark.parametrize(("field", "value"), OPTIONS)
def test_a_bad_option_is_named_and_makes_nothing(directory: Path, field: str, value: Any) -> None:
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledgercore.open(directory, **{field: value})
    assert caught.value.field == field
    assert not directory.exists()


def test_a_closed_engine_takes_nothing(directory: Path) -> None:
    ledger = open_small(directory)
    open_funded(ledger, ["alice"], 5)
    submission = ledger.new_submission()
    submission.add("", "late", "world", "alice", 1)
    ledger.close()
    ledger.close()
    for call in [
        lambda: ledger.transfer("world", "alice", 1, key="k"),
        lambda: ledger.transfer_batch(np.zeros(1, ledgercore.TRANSFER)),
        lambda: ledger.open_account("bob", asset="USD/2"),
        lambda: ledger.change_account("alice", frozen=True),
        lambda: ledger.submit(submission),
        lambda: ledger.barrier(),
    ]:
        with pytest.raises(ledgercore.EngineClosed):
            call()
    with open_small(directory) as ledger:
        assert balances_of(ledger) == {"world": -5, "alice": 5}
