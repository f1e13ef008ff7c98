"""Idempotency keys: whose they are, how long they are kept, and what a full table says."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore import Status
from ledgercore.executor import Executor
from ledgercore.ledger import Ledger
from tests.support.histories import balances_of, batch_of, crash_copy, open_funded, open_small
from tests.support.making import many_rows, poll
from tests.support.model import rederive

SECOND = 10**9
MILLISECOND = 10**6


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
        # It is a bound; and what is held back for keys that may come elsewhere is next to nothing.
        assert 1024 * 63 // 64 <= taken.sum() <= 1024
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


@pytest.mark.parametrize("keys_max", [1024, 5000, 65_536])
def test_the_bound_is_one_for_whatever_keys(keys_max: int) -> None:
    """From one client or from many threads, over growth and rotation: never more than was said."""
    with open_small(None, durability="memory", keys_max=keys_max, batch_max=64) as ledger:
        open_funded(ledger, ["alice"], 0)
        taken: list[int] = []

        def pay(part: int) -> None:
            outcomes = ledger.transfer_batch(many_rows(keys_max, start=part * keys_max))
            taken.append(int((outcomes["status"] == Status.APPLIED).sum()))

        threads = [threading.Thread(target=pay, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert keys_max * 63 // 64 <= sum(taken) <= keys_max
        assert ledger.statistics().keys == sum(taken)


@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("keys_held", [1030, 1600, 2048])
def test_a_smaller_bound_than_there_are_keys_takes_nothing_new(
    directory: Path, keys_held: int, is_compacted: bool
) -> None:
    """Whatever part of the table they fall into: a program of before held 1.6 times its bound."""
    with open_small(directory, keys_max=4096) as ledger:
        open_funded(ledger, ["alice"], 0)
        assert not ledger.transfer_batch(many_rows(keys_held))["status"].any()
    if is_compacted:
        assert ledgercore.compact(directory) is not None
    with open_small(directory, keys_max=1024) as ledger:
        assert ledger.recovered is not None
        assert ledger.recovered.snapshot_lsn == (keys_held + 2 if is_compacted else 0)
        assert ledger.statistics().keys == keys_held
        assert ledger.transfer("world", "alice", 1, key="new").status is Status.KEYS_FULL
        assert ledger.transfer_batch(many_rows(keys_held))["replayed"].all()
        # The process that replays the journal has tables of the same size.
        audit = ledger.audit(journal=True)
        assert (audit.ok, audit.journal_checked) == (True, True)


def test_a_bound_far_below_the_keys_that_there_are_is_refused(directory: Path) -> None:
    with open_small(directory, keys_max=4096) as ledger:
        open_funded(ledger, ["alice"], 0)
        assert not ledger.transfer_batch(many_rows(4000))["status"].any()
    with pytest.raises(ledgercore.InvalidArgument, match="the ledger needs a larger one"):
        open_small(directory, keys_max=1024)
    with open_small(directory, keys_max=4096) as ledger:
        assert ledger.transfer_batch(many_rows(4000))["replayed"].all()


def test_fingerprints_that_a_caller_chose_meet_nowhere_in_particular() -> None:
    """Those for which an unkeyed mixing of the two words gives one and the same number."""

    def unmixed(low: int, high: int) -> int:
        mixed = (high ^ high >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        return low ^ mixed ^ mixed >> 31

    count = 30_000
    rows = many_rows(count)
    words = np.zeros((count, 2), "<u8")
    words[:, 1] = np.arange(1, count + 1)
    words[:, 0] = [unmixed(12345, high) for high in range(1, count + 1)]
    rows["key"] = words.view("V16").ravel()
    with open_small(None, durability="memory", keys_max=1 << 18) as ledger:
        open_funded(ledger, ["alice"], 0)
        assert not ledger.transfer_batch(rows)["status"].any()
        assert ledger.transfer_batch(rows)["replayed"].all()


def test_keys_that_are_counted_up_fill_all_stripes_alike() -> None:
    """Whatever the secret of the ledger: a stripe has twice the places that are asked for here."""
    for number in range(1000):
        secret = number.to_bytes(16, "little")
        ledger = Ledger(
            accounts_max=2, keys_max=4096, key_ttl_ns=10**15, ring_records=64, hash_key=secret
        )
        outcomes = np.zeros(2900, ledgercore.OUTCOME)
        Executor(ledger, None, 1, 64, 4096).apply_batch(
            many_rows(2900).view(np.uint8), outcomes.view(np.uint8)
        )
        assert (outcomes["status"] == Status.SOURCE_NOT_FOUND).all(), number


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
        statuses, known = second["status"], first["status"] == Status.APPLIED
        assert not second["replayed"].any() and ledger.statistics().keys <= 1024
        assert np.isin(statuses[~known], [Status.APPLIED, Status.KEYS_FULL]).all()
        assert (statuses == Status.APPLIED).sum() >= 1024 * 63 // 64
        # Of the dead keys those that are still known are refused by the name of their transfer, and
        # those that had to make room are forgotten.
        refused = statuses == Status.KEY_EXPIRED
        assert (second["id"][refused] == first["id"][refused]).all()
        assert (known[refused]).all() and refused.sum() + (statuses[known] == 0).sum() > 0


def test_a_key_is_gone_when_its_time_is_over_and_not_before(directory: Path) -> None:
    """The clock is watched, not waited for; the journal then shows when each key was taken anew.

    Nothing is forgotten before two lifetimes are over, and it ends before, so that each key is
    known to the end, on a fast machine as on a slow one.
    """
    lifetime_s = 2
    lifetime_ns = lifetime_s * SECOND
    seen: dict[str, int] = {}
    ids: dict[str, int] = {}
    taken = refused = 0
    copy = directory.with_name("copy")
    options = {"key_ttl_s": lifetime_s, "keys_max": 2048}
    ledger = open_small(directory, **options)
    try:
        open_funded(ledger, ["alice"], 0)
        start = time.monotonic()
        for number in range(10**9):
            passed_s = time.monotonic() - start
            if passed_s > 1.8 * lifetime_s:
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
            key = f"key-{number * 7 % 97 + int(passed_s * 10)}"
            before = time.time_ns()
            outcome = ledger.transfer("world", "alice", 1, key=key)
            if outcome.status is Status.KEY_EXPIRED:
                assert outcome.id == ids[key] and outcome.time_ns - seen[key] >= lifetime_ns
                refused += 1
                continue
            assert outcome.status is Status.APPLIED
            if outcome.replayed:
                assert (outcome.id, outcome.time_ns) == (ids[key], seen[key])
                age_ns = before - outcome.time_ns
                assert age_ns < lifetime_ns + MILLISECOND, "answered from a dead key"
            else:
                assert key not in seen
                seen[key], ids[key] = outcome.time_ns, outcome.id
                taken += 1
        balances = balances_of(ledger)
        key = min(seen, key=lambda name: seen[name])
        while time.time_ns() < seen[key] + lifetime_ns:
            known = ledger.find_key(key).state == "applied"
            assert known or time.time_ns() >= seen[key] + lifetime_ns - MILLISECOND
        poll(lambda: ledger.find_key(key).state == "expired", "the key expires")
    finally:
        ledger.close()
    assert taken >= 97 and refused > 97 and balances["alice"] == taken
    model = rederive(ledgercore.read_journal(directory), lifetime_ns)
    assert model.accounts["alice"].balance == taken
    with open_small(directory, **options) as ledger:
        assert balances_of(ledger) == balances
