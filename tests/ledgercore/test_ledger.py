"""The kernel's rules, one by one: their order of precedence, their edges, and what a key holds.

Every row of the table breaks several rules at once and expects the first. It is asked three
times: of the model, by account names, and as a batch of slots.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledgercore
from ledgercore import Status
from ledgercore.grammar import SLOT_NONE
from tests.support.histories import balances_of, batch_of, open_funded, open_small
from tests.support.model import INT64_MAX, INT64_MIN, Answer, Holding, Model

EURO = "EUR/2"
SETTINGS = ("asset", "floor", "ceiling", "frozen")
STAGE: dict[str, Holding] = {
    "world": Holding("USD/2", None),
    "mint": Holding("USD/2", None),
    "rich": Holding("USD/2"),
    "poor": Holding("USD/2"),
    "credit": Holding("USD/2", -100),
    "full": Holding("USD/2", ceiling=0),
    "near": Holding("USD/2", ceiling=150),
    "ice": Holding("USD/2", frozen=True),
    "ice-full": Holding("USD/2", ceiling=0, frozen=True),
    "euro": Holding(EURO),
    "euro-ice": Holding(EURO, ceiling=0, frozen=True),
    # Limits one step from the edge of int64, where a sloppy comparison would wrap round.
    "bottom": Holding("USD/2", None),
    "deep": Holding("USD/2", INT64_MIN + 1),
    "top": Holding("USD/2"),
    "top-capped": Holding("USD/2", ceiling=INT64_MAX - 1),
}
FUNDING = [
    ("world", "rich", 1000),
    ("world", "near", 100),
    ("bottom", "top", INT64_MAX),
    ("bottom", "rich", 1),
    ("deep", "top-capped", INT64_MAX - 1),
    ("deep", "rich", 1),
]

PRECEDENCE = [
    # (key, source, target, amount), from the first rule to the last; "" is a key of zeros.
    ("", "ghost", "phantom", 0, Status.KEY_MISSING),
    ("", "rich", "poor", 1, Status.KEY_MISSING),
    ("used", "ghost", "phantom", 0, Status.AMOUNT_INVALID),
    ("a1", "ghost", "phantom", -1, Status.AMOUNT_INVALID),
    ("a2", "bottom", "top", INT64_MIN, Status.AMOUNT_INVALID),
    ("used", "ghost", "phantom", 1, Status.KEY_REUSED),
    ("used", "rich", "near", 2, Status.KEY_REUSED),
    ("used", "rich", "poor", 1, Status.KEY_REUSED),
    ("used", "poor", "near", 1, Status.KEY_REUSED),
    ("used", "near", "rich", 1, Status.KEY_REUSED),
    ("b1", "ghost", "phantom", INT64_MAX, Status.SOURCE_NOT_FOUND),
    ("b2", "ghost", "ice-full", 1, Status.SOURCE_NOT_FOUND),
    ("b3", "ghost", "ghost", 1, Status.SOURCE_NOT_FOUND),
    ("c1", "ice", "ghost", INT64_MAX, Status.TARGET_NOT_FOUND),
    ("c2", "poor", "ghost", 1, Status.TARGET_NOT_FOUND),
    ("d1", "ice-full", "ice-full", INT64_MAX, Status.SAME_ACCOUNT),
    ("d2", "full", "full", 1, Status.SAME_ACCOUNT),
    ("d3", "rich", "rich", 1, Status.SAME_ACCOUNT),
    ("e1", "ice", "euro-ice", INT64_MAX, Status.ASSET_MISMATCH),
    ("e2", "euro", "full", 1, Status.ASSET_MISMATCH),
    ("e3", "rich", "euro", 1, Status.ASSET_MISMATCH),
    ("f1", "ice", "ice-full", INT64_MAX, Status.SOURCE_FROZEN),
    ("f2", "ice", "full", 1, Status.SOURCE_FROZEN),
    ("g1", "poor", "ice-full", INT64_MAX, Status.TARGET_FROZEN),
    ("g2", "bottom", "ice-full", 1, Status.TARGET_FROZEN),
    ("h1", "poor", "full", 1, Status.INSUFFICIENT_FUNDS),
    ("h2", "rich", "top", INT64_MAX, Status.INSUFFICIENT_FUNDS),
    ("h3", "deep", "top-capped", 1, Status.INSUFFICIENT_FUNDS),
    ("h4", "deep", "poor", INT64_MAX, Status.INSUFFICIENT_FUNDS),
    ("h5", "credit", "poor", 101, Status.INSUFFICIENT_FUNDS),
    ("i1", "bottom", "full", 1, Status.CEILING_EXCEEDED),
    ("i2", "bottom", "top-capped", 1, Status.CEILING_EXCEEDED),
    ("i3", "rich", "near", 50, Status.CEILING_EXCEEDED),
    ("j1", "bottom", "top", 1, Status.BALANCE_OVERFLOW),
    ("j2", "bottom", "poor", 1, Status.BALANCE_OVERFLOW),
    ("j3", "bottom", "poor", INT64_MAX, Status.BALANCE_OVERFLOW),
    ("j4", "mint", "top", 1, Status.BALANCE_OVERFLOW),
    ("k1", "rich", "near", 49, Status.APPLIED),
    ("k2", "credit", "poor", 100, Status.APPLIED),
    ("k3", "mint", "poor", 1, Status.APPLIED),
]


@pytest.fixture
def ledger(directory: Path) -> Iterator[ledgercore.Engine]:
    """A durable ledger with small files: there are dozens of these."""
    with open_small(directory) as engine:
        yield engine


@pytest.fixture
def staged() -> Iterator[tuple[ledgercore.Engine, Model]]:
    """A ledger in memory and the model of it: `STAGE`, funded, and the key `used` taken."""
    with open_small(None, durability="memory") as ledger:
        model = Model()
        for id, account in STAGE.items():
            settings = {name: getattr(account, name) for name in SETTINGS}
            ledger.open_account(id, **settings)
            model.open(id, Holding(**settings))
        rows = [(f"fund-{row}", *funding) for row, funding in enumerate(FUNDING)]
        for key, source, target, amount in [*rows, ("used", "rich", "near", 1)]:
            answer = model.transfer("", key, source, target, amount, None, 0)
            assert answer.status is Status.APPLIED
            assert named(ledger, key, source, target, amount) == answer
        yield ledger, model


def named(ledger: ledgercore.Engine, key: str, source: str, target: str, amount: int) -> Answer:
    """One transfer by names, as the model would answer it."""
    outcome = ledger.transfer(source, target, amount, key=key)
    return Answer(outcome.status, outcome.id, outcome.replayed)


def batched(ledger: ledgercore.Engine, key: str, source: str, target: str, amount: int) -> Answer:
    """One transfer as a batch of one row; a name without an account is a slot without one."""
    slots = {account.id: account.slot for account in ledger.accounts()}
    giver, taker = (slots.get(id, SLOT_NONE) for id in (source, target))
    row = ledger.transfer_batch(batch_of(ledger, [(key, giver, taker, amount)]))[0]
    return Answer(Status(row["status"]), int(row["id"]), bool(row["replayed"]))


def test_the_table_is_in_order_of_precedence_and_complete() -> None:
    order = [Status.KEY_MISSING, Status.AMOUNT_INVALID, Status.KEY_REUSED]
    order += [status for status in Status if status.is_outcome and status is not Status.APPLIED]
    expected = list(dict.fromkeys(row[-1] for row in PRECEDENCE))
    assert expected == [*order, Status.APPLIED]
    # A full table and expired keys are in test_keys.py, what is late is in test_deadlines.py, and a
    # ledger without further ids in test_limits_of_ids.py.
    apart = {Status.KEYS_FULL, Status.DEADLINE_PASSED, Status.KEY_EXPIRED, Status.LEDGER_FULL}
    assert set(Status) - set(expected) == apart


@pytest.mark.parametrize("row", PRECEDENCE, ids=lambda row: f"{row[-1].name}-{row[1]}-{row[2]}")
def test_the_first_broken_rule_is_the_answer(
    staged: tuple[ledgercore.Engine, Model], row: tuple[str, str, str, int, Status]
) -> None:
    ledger, model = staged
    key, source, target, amount, expected = row
    answer = model.transfer("", key, source, target, amount, None, 0)
    assert answer == (expected, model.lsn if expected.is_outcome else 0, False)
    assert batched(ledger, key, source, target, amount) == answer
    assert batched(ledger, key, source, target, amount) == answer._replace(
        replayed=expected.is_outcome
    )
    assert balances_of(ledger) == {id: held.balance for id, held in model.accounts.items()}
    assert ledger.statistics().lsn_applied == model.lsn
    assert ledger.audit().ok


@pytest.mark.parametrize(
    "row",
    [row for row in PRECEDENCE if row[0] and row[3] > 0],
    ids=lambda row: f"{row[-1].name}-{row[1]}-{row[2]}",
)
def test_both_doors_judge_alike_and_share_their_keys(
    staged: tuple[ledgercore.Engine, Model], row: tuple[str, str, str, int, Status]
) -> None:
    ledger, model = staged
    key, source, target, amount, expected = row
    answer = model.transfer("", key, source, target, amount, None, 0)
    assert named(ledger, key, source, target, amount) == answer
    replay = answer._replace(replayed=expected.is_outcome)
    assert named(ledger, key, source, target, amount) == replay
    if source in STAGE and target in STAGE:
        assert batched(ledger, key, source, target, amount) == replay
    assert balances_of(ledger) == {id: held.balance for id, held in model.accounts.items()}


def test_every_stored_status_is_replayed_whatever_has_changed_since(
    staged: tuple[ledgercore.Engine, Model],
) -> None:
    ledger, _ = staged
    rows = [row for row in PRECEDENCE if row[-1].is_outcome]
    first = [ledger.transfer(*row[1:4], key=row[0]) for row in rows]
    ledger.open_account("ghost", asset="USD/2", floor=None)
    ledger.open_account("phantom", asset="USD/2")
    for id in ("ice", "ice-full", "euro-ice"):
        ledger.change_account(id, frozen=False, ceiling=None)
    ledger.change_account("full", ceiling=None)
    ledger.change_account("rich", frozen=True)
    before = balances_of(ledger), ledger.statistics().lsn_applied
    for (key, source, target, amount, _), outcome in zip(rows, first, strict=True):
        again = ledger.transfer(source, target, amount, key=key)
        assert again.replayed and not outcome.replayed
        assert (again.id, again.status, again.time_ns) == (
            outcome.id,
            outcome.status,
            outcome.time_ns,
        )
    assert (balances_of(ledger), ledger.statistics().lsn_applied) == before


def test_any_difference_in_the_payload_is_another_payload(ledger: ledgercore.Engine) -> None:
    open_funded(ledger, ["alice", "bob"], 1000)
    first = ledger.transfer("alice", "bob", 10, key="k", memo="rent")
    lost = ledger.transfer("alice", "ghost", 10, key="lost")
    assert lost.status is Status.TARGET_NOT_FOUND
    others: list[tuple[str, str, int, str, str | None]] = [
        ("alice", "bob", 11, "k", "rent"),
        ("alice", "bob", 10, "k", "Rent"),
        ("alice", "bob", 10, "k", "rent "),
        ("alice", "bob", 10, "k", None),
        ("alice", "world", 10, "k", "rent"),
        ("world", "bob", 10, "k", "rent"),
        ("bob", "alice", 10, "k", "rent"),
        ("alice", "ghost", 10, "k", "rent"),
        ("alice", "ghost2", 10, "lost", None),
        ("ghost", "alice", 10, "lost", None),
        ("alice", "ghost", 10, "lost", "memo"),
        ("alice", "bob", 10, "lost", None),
    ]
    before = balances_of(ledger)
    for source, target, amount, key, memo in others:
        outcome = ledger.transfer(source, target, amount, key=key, memo=memo)
        assert (outcome.status, outcome.id, outcome.replayed) == (Status.KEY_REUSED, 0, False)
    assert balances_of(ledger) == before
    again = ledger.transfer("alice", "bob", 10, key="k", memo="rent")
    assert again == ledgercore.Outcome(first.id, Status.APPLIED, True, first.time_ns)
    state = ledger.find_key("k")
    assert state.state == "applied" and state.transfer == ledger.find_transfer(first.id)
    assert state.transfer is not None and state.transfer.memo == "rent"
    assert ledger.find_key("lost").state == "refused"
    assert ledger.find_key("never") == ledgercore.KeyState("unseen", None)


def test_a_refusal_of_an_unknown_name_outlives_the_opening_of_the_account(
    ledger: ledgercore.Engine,
) -> None:
    open_funded(ledger, ["alice"], 1000)
    to_bob = ledger.transfer("alice", "bob", 1, key="to-bob")
    from_bob = ledger.transfer("bob", "alice", 1, key="from-bob")
    ledger.open_account("bob", asset="USD/2")
    for source, target, key, first in [
        ("alice", "bob", "to-bob", to_bob),
        ("bob", "alice", "from-bob", from_bob),
    ]:
        again = ledger.transfer(source, target, 1, key=key)
        assert (again.id, again.status, again.replayed) == (first.id, first.status, True)
        stored = ledger.find_transfer(first.id)
        assert stored is not None
        assert (stored.source, stored.target, stored.asset) == (source, target, None)
    assert ledger.transfer("alice", "bob", 1, key="new").status is Status.APPLIED


def test_later_rows_spend_what_earlier_rows_brought(ledger: ledgercore.Engine) -> None:
    open_funded(ledger, ["alice", "bob", "carol"], 0)
    world, alice, bob, carol = range(4)
    rows = [
        ("early", alice, bob, 5),
        ("fund", world, alice, 5),
        ("first", alice, bob, 5),
        ("second", bob, carol, 5),
        ("first", alice, bob, 5),
        ("first", alice, carol, 5),
        ("empty", alice, carol, 1),
    ]
    outcomes = ledger.transfer_batch(batch_of(ledger, rows))
    refused, applied = Status.INSUFFICIENT_FUNDS, Status.APPLIED
    expected = [refused, applied, applied, applied, applied, Status.KEY_REUSED, refused]
    assert list(outcomes["status"]) == expected
    base = int(outcomes["id"][0])
    assert list(outcomes["id"] - base)[:5] == [0, 1, 2, 3, 2] and outcomes["id"][5] == 0
    assert list(outcomes["replayed"]) == [0, 0, 0, 0, 1, 0, 0]
    assert (np.diff(outcomes["time_ns"][:4]) >= 0).all() and outcomes["time_ns"][0] > 0
    assert balances_of(ledger) == {"world": -5, "alice": 0, "bob": 0, "carol": 5}


def test_a_batch_may_be_longer_than_the_queue_takes_at_once() -> None:
    with open_small(None, durability="memory", batch_max=64) as ledger:
        open_funded(ledger, ["alice"], 0)
        world, alice = (int(slot) for slot in ledger.slots(["world", "alice"]))
        rows = [(f"key-{number}", world, alice, 1) for number in range(64 * 5 + 1)]
        outcomes = ledger.transfer_batch(batch_of(ledger, rows))
        assert outcomes.dtype == ledgercore.OUTCOME and outcomes.shape == (len(rows),)
        assert (outcomes["status"] == Status.APPLIED).all()
        assert (np.diff(outcomes["id"]) == 1).all()
        assert ledger.balance("alice") == len(rows)


@pytest.mark.parametrize("slot", [2, 3, 1023, 1024, 2**31 - 1, 2**31, SLOT_NONE])
def test_a_slot_without_an_account_is_refused_and_told(
    ledger: ledgercore.Engine, slot: int
) -> None:
    open_funded(ledger, ["alice"], 0)
    rows = [("source", slot, 1, 1), ("target", 0, slot, 1), ("both", slot, slot, 1)]
    outcomes = ledger.transfer_batch(batch_of(ledger, rows))
    missing = Status.SOURCE_NOT_FOUND
    assert list(outcomes["status"]) == [missing, Status.TARGET_NOT_FOUND, missing]
    source, target = (ledger.find_transfer(int(id)) for id in outcomes["id"][:2])
    assert source is not None and (source.source, source.target) == (f"#{slot}", "alice")
    assert target is not None and (target.source, target.target) == ("world", f"#{slot}")
    assert source.asset is None and target.asset is None
    if slot == 2:
        # The rows still say the same once the slot is taken, so they are still replays.
        ledger.open_account("late", asset="USD/2", floor=None)
    again = ledger.transfer_batch(batch_of(ledger, rows))
    assert list(again["status"]) == list(outcomes["status"]) and again["replayed"].all()
    assert ledger.find_transfer(int(outcomes["id"][0])) == source


def test_the_empty_batch_is_nothing(ledger: ledgercore.Engine) -> None:
    outcomes = ledger.transfer_batch(np.zeros(0, ledgercore.TRANSFER))
    assert outcomes.shape == (0,) and outcomes.dtype == ledgercore.OUTCOME
    assert ledger.statistics().lsn_applied == 0


SWAPPED = np.dtype([("key", "V16"), ("from", ">u4"), ("to", ">u4"), ("amount", ">i8")])


NO_BATCHES: dict[str, Any] = {
    "two dimensions": np.zeros((2, 2), ledgercore.TRANSFER),
    "no dimension": np.zeros((), ledgercore.TRANSFER),
    "outcomes": np.zeros(2, ledgercore.OUTCOME),
    "big-endian": np.zeros(2, SWAPPED),
    "bytes of numpy": np.zeros(64, np.uint8),
    "int64": np.zeros(4, np.int64),
    "list": [],
    "nothing": None,
    "bytes": b"\0" * 32,
}


@pytest.mark.parametrize("batch", NO_BATCHES.values(), ids=NO_BATCHES.keys())
def test_what_is_no_batch_is_refused(ledger: ledgercore.Engine, batch: Any) -> None:
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledger.transfer_batch(batch)
    assert caught.value.field == "batch"


def test_a_batch_may_be_a_read_only_view_of_other_rows(ledger: ledgercore.Engine) -> None:
    open_funded(ledger, ["alice"], 0)
    batch = batch_of(ledger, [(f"k-{row}", 0, 1, 10**row) for row in range(6)])
    batch.flags.writeable = False
    outcomes = ledger.transfer_batch(batch[::-2])
    assert list(outcomes["status"]) == [Status.APPLIED] * 3
    assert ledger.balance("alice") == 101010
    first = ledger.find_transfer(int(outcomes["id"][0]))
    assert first is not None and first.amount == 10**5
