"""Idempotency keys: whose they are, how long they are kept, and what a full table says."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore import Status
from tests.histories import balances_of, batch_of, crash_copy, open_funded, open_small
from tests.model import rederive

SECOND = 10**9


@pytest.fixture
def ledger(directory: Path) -> Iterator[ledgercore.Engine]:
    """A durable ledger with small files."""
    with open_small(directory) as engine:
        yield engine


def test_keys_belong_to_their_client(ledger: ledgercore.Engine) -> None:
    open_funded(ledger, ["alice"], 0)
    ids = {
        ledger.transfer("world", "alice", 1, key=key, client=client).id
        # Where client and key were simply joined, the last two would be one key.
        for client, key in [("", "k"), ("one", "k"), ("two", "k"), ("a", "bc"), ("ab", "c")]
    }
    assert len(ids) == 5 and ledger.balance("alice") == 5
    assert ledger.find_key("k", "one").state == "applied"
    assert ledger.find_key("k", "three").state == "unseen"


def test_a_full_key_table_refuses_new_keys_only() -> None:
    with open_small(None, durability="memory", keys_max=1024) as ledger:
        open_funded(ledger, ["alice"], 0)
        world, alice = (int(slot) for slot in ledger.slots(["world", "alice"]))
        rows = [(f"key-{number}", world, alice, 1) for number in range(8192)]
        outcomes = ledger.transfer_batch(batch_of(ledger, rows))
        statuses = outcomes["status"]
        taken = statuses == Status.APPLIED
        assert (statuses[~taken] == Status.KEYS_FULL).all() and not outcomes["id"][~taken].any()
        # The table is full as a whole before a part of it is, so the first keys all fit; and it
        # is not much larger than was asked for.
        assert taken[:1024].all() and taken.sum() < 4 * 1024
        assert ledger.balance("alice") == ledger.statistics().keys == taken.sum()
        again = ledger.transfer_batch(batch_of(ledger, rows))
        assert (again["replayed"].astype(bool) == taken).all()
        assert (again["id"] == outcomes["id"]).all() and (again["status"] == statuses).all()
        other = [("key-0", world, alice, 2), ("", world, alice, 1), ("new", world, alice, 0)]
        refused = f"key-{np.argmin(taken)}"
        assert list(ledger.transfer_batch(batch_of(ledger, other))["status"]) == [
            Status.KEY_REUSED,
            Status.KEY_MISSING,
            Status.AMOUNT_INVALID,
        ]
        assert ledger.transfer("ghost", "alice", 1, key=refused).status is Status.KEYS_FULL
        assert ledger.find_key(refused).state == "unseen"


def test_a_full_table_makes_room_as_keys_expire() -> None:
    with open_small(None, durability="memory", keys_max=1024, key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        rows = [(f"key-{number}", 0, 1, 1) for number in range(4096)]
        first = ledger.transfer_batch(batch_of(ledger, rows))
        assert first["status"][-1] == Status.KEYS_FULL
        # All keys of the first batch have one time, so all are gone once that is a second ago.
        over = int(first["time_ns"][0]) + SECOND
        while time.time_ns() < over:
            known = ledger.find_key("key-0").state == "applied"
            assert known or time.time_ns() >= over
        second = ledger.transfer_batch(batch_of(ledger, rows))
        assert not second["replayed"].any() and second["status"][0] == Status.APPLIED
        assert (second["status"] == Status.APPLIED).sum() >= 1024


def test_a_key_is_gone_when_its_time_is_over_and_not_before(directory: Path) -> None:
    """The clock is watched, not waited for; the journal then shows when each key was taken anew."""
    seen: dict[str, int] = {}
    taken = 0
    copy = directory.with_name("copy")
    options = {"key_ttl_s": 1, "keys_max": 2048}
    ledger = open_small(directory, **options)
    try:
        open_funded(ledger, ["alice"], 0)
        start = time.monotonic()
        for number in range(10**9):
            if time.monotonic() - start > 2.5:
                break
            if number == 300:
                # Keys keep their times over a clean restart, and over a crash.
                ledger.close()
                ledger = open_small(directory, **options)
            if number == 600:
                crash_copy(directory, copy)
                ledger.close()
                directory = copy
                ledger = open_small(directory, **options)
            key = f"key-{number * 7 % 97}"
            before = time.time_ns()
            outcome = ledger.transfer("world", "alice", 1, key=key)
            assert outcome.status is Status.APPLIED
            if outcome.replayed:
                assert outcome.time_ns == seen[key]
                assert before - outcome.time_ns < SECOND, "an expired key was answered from"
            else:
                assert key not in seen or outcome.time_ns - seen[key] >= SECOND
                seen[key] = outcome.time_ns
                taken += 1
        balances = balances_of(ledger)
        key = min(seen, key=lambda name: seen[name])
        while time.time_ns() < seen[key] + SECOND:
            known = ledger.find_key(key).state == "applied"
            assert known or time.time_ns() >= seen[key] + SECOND
        assert ledger.find_key(key).state == "expired"
    finally:
        ledger.close()
    assert taken > 2 * 97 and balances["alice"] == taken
    model = rederive(ledgercore.read_journal(directory), SECOND)
    assert model.accounts["alice"].balance == taken
    with open_small(directory, **options) as ledger:
        assert balances_of(ledger) == balances
