"""A micro-batch: it grows as it is filled, stays as it is once handed over, and tells its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ledgercore
from ledgercore import Status, Submission
from tests.support.histories import open_funded, open_small, wait_readable

RECORDS_MIN = 32
TEXT_BYTES_MIN = 1024


@pytest.fixture
def ledger(directory: Path) -> Iterator[ledgercore.Engine]:
    """A durable ledger with small files."""
    with open_small(directory) as engine:
        open_funded(engine, ["alice", "bob"], 1000)
        engine.open_account("euro", asset="EUR/2")
        yield engine


def complete(ledger: ledgercore.Engine, submission: Submission) -> Submission:
    """Submit, and wait until it comes back."""
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission] and not submission.failed
    return submission


def test_it_grows_with_what_is_put_in_up_to_its_bound(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    for number in range(ledger.batch_max):
        assert len(submission) == number and not submission.is_full
        assert submission.add("", f"key-{number}", "world", "alice", number + 1) == number
    assert ledger.batch_max > 4 * RECORDS_MIN and submission.is_full
    with pytest.raises(ledgercore.QueueFull, match="the submission is full"):
        submission.add("", "more", "world", "alice", 1)
    assert len(submission) == ledger.batch_max
    complete(ledger, submission)
    outcomes = [submission.outcome(index) for index in range(ledger.batch_max)]
    first = outcomes[0].id
    assert [one.id for one in outcomes] == list(range(first, first + ledger.batch_max))
    for number in (0, RECORDS_MIN - 1, RECORDS_MIN, ledger.batch_max - 1):
        found = ledger.find_transfer(first + number)
        assert found is not None and found.amount == number + 1
    assert ledger.find_key("more").state == "unseen"


@pytest.mark.parametrize(("batch_max", "queue_size", "room"), [(1, 9, 1), (9, 5, 5), (40, 99, 40)])
def test_its_bound_is_what_the_queue_takes_at_once(
    batch_max: int, queue_size: int, room: int
) -> None:
    options = {"batch_max": batch_max, "queue_size": queue_size, "durability": "memory"}
    with open_small(None, **options) as ledger:
        open_funded(ledger, ["alice"], 0)
        submission = ledger.new_submission()
        while not submission.is_full:
            submission.add("", f"key-{len(submission)}", "world", "alice", 1)
        assert len(complete(ledger, submission)) == room == ledger.balance("alice")


def test_its_text_survives_its_growth(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    expected = []
    for number in range(100):
        memo = f"{number}:" + "ü" * (number % 100) if number % 3 else None
        source = f"ghost-{number}-{'x' * (number % 50)}" if number % 4 == 1 else "alice"
        target = f"nobody-{number}" if number % 5 == 2 else "bob"
        submission.add("client", f"key-{number}", source, target, 1, memo)
        expected.append((source, target, memo))
    text = sum(len(f"{s}{t}{m or ''}".encode()) for s, t, m in expected)
    assert text > 4 * TEXT_BYTES_MIN
    complete(ledger, submission)
    found = [ledger.find_transfer(submission.outcome(index).id) for index in range(100)]
    assert [(one.source, one.target, one.memo) for one in found if one] == expected
    told = [e for e in ledgercore.read_journal(ledger.path) if e.kind == "transfer"][-100:]
    assert [(one.source, one.target, one.memo) for one in told] == expected


def test_outcomes_and_assets_are_told_by_index(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    for key, source, target, amount, memo in [
        ("a", "alice", "bob", 1, None),
        ("b", "alice", "bob", 10**6, None),
        ("c", "alice", "euro", 1, None),
        ("d", "alice", "ghost", 1, None),
        ("e", "ghost", "alice", 1, None),
        ("a", "alice", "bob", 1, None),
        ("a", "alice", "bob", 1, "memo"),
    ]:
        submission.add("", key, source, target, amount, memo)
    complete(ledger, submission)
    outcomes = [submission.outcome(index) for index in range(7)]
    assert [one.status for one in outcomes] == [
        Status.APPLIED,
        Status.INSUFFICIENT_FUNDS,
        Status.ASSET_MISMATCH,
        Status.TARGET_NOT_FOUND,
        Status.SOURCE_NOT_FOUND,
        Status.APPLIED,
        Status.KEY_REUSED,
    ]
    assert [one.replayed for one in outcomes] == [False] * 5 + [True, False]
    assert outcomes[5].id == outcomes[0].id > 0 == outcomes[6].id
    assert [submission.asset(index) for index in range(7)][:5] == ["USD/2"] * 3 + [None] * 2
    assert submission.asset(5) == "USD/2"
    for index in (7, 8, 1000):
        with pytest.raises(IndexError):
            submission.outcome(index)
        with pytest.raises(IndexError):
            submission.asset(index)


def test_an_account_that_was_not_found_has_no_asset_later_either(
    ledger: ledgercore.Engine,
) -> None:
    submission = ledger.new_submission()
    submission.add("", "k", "alice", "late", 1)
    complete(ledger, submission)
    ledger.open_account("late", asset="USD/2")
    assert submission.asset(0) is None
    again = ledger.new_submission()
    again.add("", "k", "alice", "late", 1)
    complete(ledger, again)
    assert again.outcome(0).replayed and again.asset(0) is None


def test_a_replay_has_the_asset_of_the_first_answer(ledger: ledgercore.Engine) -> None:
    """Two of one key wait while their source is opened: it was there when the first was applied."""
    ledger.stall(0)
    first, second = ledger.new_submission(), ledger.new_submission()
    for submission in (first, second):
        submission.add("", "k", "late", "alice", 1)
        assert ledger.submit(submission), "it waits for a worker"
    ledger.open_account("late", asset="USD/2", floor=None)
    ledger.stall(0, False)
    done: list[Submission] = []
    while len(done) < 2:
        wait_readable(ledger)
        done += ledger.completed()
    assert [one.outcome(0).status for one in (first, second)] == [Status.APPLIED] * 2
    assert [one.outcome(0).replayed for one in (first, second)] == [False, True]
    assert [one.asset(0) for one in (first, second)] == ["USD/2", "USD/2"]


def test_nothing_is_added_once_it_is_handed_over(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    submission.add("", "k", "alice", "bob", 1)
    complete(ledger, submission)
    with pytest.raises(ledgercore.QueueFull):
        submission.add("", "l", "alice", "bob", 1)
    assert len(submission) == 1 and submission.outcome(0).status is Status.APPLIED


BAD: dict[str, tuple[Any, ...]] = {
    "key": ("", "", "alice", "bob", 1),
    "client": ("c" * 256, "k", "alice", "bob", 1),
    "source": ("", "k", "", "bob", 1),
    "target": ("", "k", "alice", "b b", 1),
    "amount": ("", "k", "alice", "bob", 0),
    "memo": ("", "k", "alice", "bob", 1, "m" * 257),
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_argument_is_named_and_adds_nothing(ledger: ledgercore.Engine, field: str) -> None:
    submission = ledger.new_submission()
    submission.add("", "good", "alice", "bob", 1, "memo")
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        submission.add(*BAD[field])
    assert caught.value.field == field and len(submission) == 1
    complete(ledger, submission)
    found = ledger.find_transfer(submission.outcome(0).id)
    assert found is not None and found.memo == "memo"


# -- what became of one ---------------------------------------------------------------------------
