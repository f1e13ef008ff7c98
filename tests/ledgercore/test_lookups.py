"""Questions about what has happened: a transfer by its id, and the state of a key."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledgercore
from ledgercore import KeyState, Status
from ledgercore.options import RING_RECORDS
from tests.support.histories import batch_of, open_funded, open_small
from tests.support.making import many_rows, poll

UNKNOWN = [0, -1, 5000, 2**63, 2**64, 2**70]


@pytest.fixture
def ledger(directory: Path) -> Iterator[ledgercore.Engine]:
    """A durable ledger with small files."""
    with open_small(directory) as engine:
        open_funded(engine, ["alice", "bob"], 100)
        engine.open_account("euro", asset="EUR/2")
        yield engine


def test_an_applied_transfer_is_told_whole(ledger: ledgercore.Engine) -> None:
    outcome = ledger.transfer("alice", "bob", 7, key="k", memo="für Öl")
    expected = ledgercore.Transfer(
        outcome.id, Status.APPLIED, "alice", "bob", 7, "USD/2", outcome.time_ns, "für Öl"
    )
    assert ledger.find_transfer(outcome.id) == expected
    bare = ledger.transfer("alice", "bob", 7, key="bare")
    found = ledger.find_transfer(bare.id)
    assert found is not None and found.memo is None


def test_refusals_are_told_with_their_reason(ledger: ledgercore.Engine) -> None:
    for source, target, amount, asset, status in [
        ("alice", "bob", 101, "USD/2", Status.INSUFFICIENT_FUNDS),
        ("alice", "alice", 1, "USD/2", Status.SAME_ACCOUNT),
        ("alice", "euro", 1, "USD/2", Status.ASSET_MISMATCH),
        ("alice", "ghost", 1, None, Status.TARGET_NOT_FOUND),
        ("ghost", "alice", 1, None, Status.SOURCE_NOT_FOUND),
        ("ghost", "phantom", 1, None, Status.SOURCE_NOT_FOUND),
    ]:
        outcome = ledger.transfer(source, target, amount, key=f"{source}-{target}", memo="why")
        assert ledger.find_transfer(outcome.id) == ledgercore.Transfer(
            outcome.id, status, source, target, amount, asset, outcome.time_ns, "why"
        )


def test_the_opening_of_an_account_is_no_transfer(ledger: ledgercore.Engine) -> None:
    entries = [ledger.find_transfer(id) for id in range(1, 7)]
    assert [entry is None for entry in entries] == [True, True, False, True, False, True]
    ledger.change_account("alice", frozen=True)
    assert ledger.statistics().lsn_applied == 7 and ledger.find_transfer(7) is None


@pytest.mark.parametrize("durability", ["sync", "memory"])
@pytest.mark.parametrize("id", UNKNOWN)
def test_an_id_that_never_was_leads_to_nothing(directory: Path, durability: str, id: int) -> None:
    with open_small(directory, durability=durability) as ledger:
        open_funded(ledger, ["alice"], 1)
        assert ledger.find_transfer(id) is None and ledger.find_transfer(3) is not None


def test_a_slot_that_was_empty_is_not_named_for_who_has_it_now(ledger: ledgercore.Engine) -> None:
    rows = [("out", 1, 4, 1), ("in", 4, 1, 1), ("both", 4, 5, 1), ("same", 4, 4, 1)]
    outcomes = ledger.transfer_batch(batch_of(ledger, rows))
    ledger.open_account("late", asset="USD/2")
    found = [ledger.find_transfer(int(id)) for id in outcomes["id"]]
    told = [(one.source, one.target, one.asset) for one in found if one is not None]
    # Where the source is missing the target was not looked at, so it is named as it stands.
    assert told[:3] == [("alice", "#4", None), ("#4", "alice", None), ("#4", "#5", None)]
    assert told[3][0] == "#4" and len(told) == 4


def test_the_past_outlives_a_restart_and_a_close(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        before = ledger.find_transfer(3)
    assert before is not None and ledger.find_transfer(3) == before
    with open_small(directory) as ledger:
        assert ledger.find_transfer(3) == before


def test_a_key_is_in_one_of_four_states(directory: Path) -> None:
    with open_small(directory, key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        assert ledger.find_key("good") == KeyState("unseen", None)
        good = ledger.transfer("world", "alice", 5, key="good", client="shop", memo="m")
        bad = ledger.transfer("alice", "world", 6, key="bad")
        applied, refused = ledger.find_key("good", "shop"), ledger.find_key("bad")
        assert applied == KeyState("applied", ledger.find_transfer(good.id))
        assert refused == KeyState("refused", ledger.find_transfer(bad.id))
        assert applied.transfer is not None and applied.transfer.memo == "m"
        # A key of one client is not the key of another.
        assert ledger.find_key("good").state == ledger.find_key("bad", "shop").state == "unseen"
        poll(lambda: ledger.find_key("bad").state == "expired", "the key expires")
        for key, client, was in [("good", "shop", applied), ("bad", "", refused)]:
            assert ledger.find_key(key, client) == KeyState("expired", was.transfer)


@pytest.mark.parametrize("key", ["", "a b", "k" * 256])
def test_what_is_no_key_is_refused(ledger: ledgercore.Engine, key: str) -> None:
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledger.find_key(key)
    assert caught.value.field == "key"


def test_in_memory_the_newest_are_held_without_their_memos() -> None:
    with open_small(None, durability="memory") as ledger:
        open_funded(ledger, ["alice"], 5)
        memo = ledger.transfer("alice", "world", 1, key="memo", memo="m")
        lost = ledger.transfer("alice", "ghost", 1, key="lost", memo="m")
        found, gone = ledger.find_transfer(memo.id), ledger.find_transfer(lost.id)
        assert found is not None and (found.memo, found.amount) == (None, 1)
        assert gone is not None and gone.status is Status.TARGET_NOT_FOUND
        assert (gone.source, gone.asset, gone.memo) == ("alice", None, None)
        assert ledger.find_key("memo") == KeyState("applied", found)
        ledger.transfer_batch(many_rows(RING_RECORDS))
        last = ledger.statistics().lsn_applied
        # The ring holds so many records and no more.
        assert ledger.find_transfer(last - RING_RECORDS) is None
        oldest = ledger.find_transfer(last - RING_RECORDS + 1)
        assert oldest is not None and oldest.id == last - RING_RECORDS + 1
        # A key outlives the record that it leads to.
        assert ledger.find_key("memo") == KeyState("applied", None)


def test_what_is_told_is_durable(ledger: ledgercore.Engine) -> None:
    # A thread transfers, and each time the newest id is asked for at once.
    batches = [many_rows(16, start=16 * number, source=0, target=1) for number in range(200)]
    writer = threading.Thread(target=lambda: [ledger.transfer_batch(rows) for rows in batches])
    writer.start()
    try:
        while writer.is_alive():
            newest = ledger.statistics().lsn_applied
            found = ledger.find_transfer(newest)
            assert ledger.statistics().lsn_durable >= newest
            assert found is not None or newest == 6
    finally:
        writer.join()
