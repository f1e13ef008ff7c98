"""How work comes in and goes out: submitted, waited for, taken back, refused at the end."""

import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ledgercore
from ledgercore import Engine, Status, Submission
from tests.support.histories import open_funded, open_small, wait_readable
from tests.support.making import many_rows


@pytest.fixture(params=["sync", "memory"])
def ledger(directory: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A ledger with small files, and one in memory."""
    with open_small(directory, durability=request.param) as engine:
        open_funded(engine, ["alice"], 1000)
        yield engine


def filled(ledger: Engine, key: str, count: int = 3) -> Submission:
    submission = ledger.new_submission()
    for number in range(count):
        submission.add("", f"{key}-{number}", "alice", "world", 1)
    return submission


def take(ledger: Engine, count: int) -> list[Submission]:
    """Wait until so many have completed."""
    found: list[Submission] = []
    while len(found) < count:
        wait_readable(ledger)
        found += ledger.completed()
    return found


def readable(ledger: Engine) -> bool:
    return bool(select.select([ledger.fileno()], [], [], 0)[0])


def test_a_submission_comes_back_once(ledger: Engine) -> None:
    assert ledger.completed() == [] and not readable(ledger)
    submission = filled(ledger, "a")
    ledger.submit(submission)
    assert take(ledger, 1) == [submission]
    assert not readable(ledger) and ledger.completed() == []
    assert [submission.outcome(index).id for index in range(3)] == [4, 5, 6]
    assert not submission.failed and ledger.balance("alice") == 997


def test_what_is_completed_is_durable(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 1000)
        for round in range(50):
            sent = [filled(ledger, f"{round}-{number}", 2) for number in range(3)]
            for submission in sent:
                ledger.submit(submission)
            while sent:
                wait_readable(ledger)
                for submission in ledger.completed():
                    # Asked right away: nothing is handed out before its time.
                    assert submission.outcome(1).id <= ledger.statistics().lsn_durable
                    sent.remove(submission)
        assert ledger.balance("alice") == 700
        assert ledger.statistics().groups > 50


def test_a_replay_waits_for_what_it_rests_on(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 1000)
        for round in range(20):
            first, again = filled(ledger, f"{round}"), filled(ledger, f"{round}")
            ledger.submit(first)
            ledger.submit(again)
            assert {*take(ledger, 2)} == {first, again}
            assert again.outcome(2).replayed and again.outcome(2).id == first.outcome(2).id
            assert first.outcome(2).id <= ledger.statistics().lsn_durable


def test_a_submission_is_submitted_once(ledger: Engine) -> None:
    submission = filled(ledger, "a")
    ledger.submit(submission)
    for _ in range(2):
        with pytest.raises(ValueError, match="submitted before"):
            ledger.submit(submission)
        if _ == 0:
            take(ledger, 1)
    assert ledger.balance("alice") == 997


def test_an_empty_submission_is_a_barrier(ledger: Engine) -> None:
    submission = ledger.new_submission()
    ledger.submit(submission)
    assert take(ledger, 1) == [submission] and len(submission) == 0


@pytest.mark.parametrize("segment", [-1, 1, 2])
def test_a_segment_that_is_not_there_is_refused(ledger: Engine, segment: int) -> None:
    submission = filled(ledger, "a")
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledger.submit(submission, segment)
    assert caught.value.field == "segment"
    ledger.submit(submission, 0)
    assert take(ledger, 1) == [submission]


def test_barriers_complete_on_the_past_the_present_and_the_future(ledger: Engine) -> None:
    # A future LSN may never come, so a barrier on it waits for what there is.
    barriers = [ledger.barrier(lsn) for lsn in (0, 1, 3, 4, 10**9, None)]
    assert {*take(ledger, 6)} == {*barriers}
    assert all(len(barrier) == 0 and not barrier.failed for barrier in barriers)


def test_a_barrier_waits_until_its_lsn_is_durable(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        for round in range(30):
            thread = threading.Thread(
                target=ledger.transfer_batch, args=(many_rows(500, start=round * 500),)
            )
            thread.start()
            before = ledger.statistics().lsn_applied
            barrier = ledger.barrier()
            assert take(ledger, 1) == [barrier]
            assert ledger.statistics().lsn_durable >= before
            thread.join()


def test_many_threads_submit_and_nothing_is_lost(ledger: Engine) -> None:
    threads = [
        threading.Thread(
            target=lambda name=name: [
                ledger.submit(filled(ledger, f"{name}-{number}", 2)) for number in range(50)
            ]
        )
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    found = take(ledger, 200)
    for thread in threads:
        thread.join()
    ids = sorted(one.outcome(index).id for one in found for index in range(2))
    assert ids == list(range(4, 404)) and ledger.balance("alice") == 600
    assert len({id(one) for one in found}) == 200 and ledger.completed() == []


def test_a_queue_that_is_exceeded_refuses_and_applies_nothing() -> None:
    with open_small(None, durability="memory", queue_size=8) as ledger:
        open_funded(ledger, ["alice"], 1000)
        large = Submission(ledger._ledger, 9)
        for number in range(9):
            large.add("", f"large-{number}", "alice", "world", 1)
        with pytest.raises(ledgercore.QueueFull):
            ledger.submit(large)
        ledger.barrier()
        take(ledger, 1)
        assert ledger.balance("alice") == 1000 and ledger.find_key("large-0").state == "unseen"
        small = filled(ledger, "small", 8)
        ledger.submit(small)
        assert take(ledger, 1) == [small] and ledger.balance("alice") == 992


def test_closing_finishes_what_was_queued(directory: Path) -> None:
    for durability in ("sync", "memory"):
        ledger = open_small(directory, durability=durability, segments=2)
        open_funded(ledger, ["alice"], 1000)
        sent = [filled(ledger, f"{number}", 4) for number in range(60)]
        for number, submission in enumerate(sent):
            ledger.submit(submission, number % 2)
        ledger.close()
        assert {*ledger.completed()} == {*sent} and ledger.completed() == []
        for submission in sent:
            assert not submission.failed
            assert {submission.outcome(index).status for index in range(4)} == {Status.APPLIED}
    with open_small(directory) as again:
        assert again.balance("alice") == 760 and again.audit(journal=True).ok


DOORS: list[Callable[[Engine, Submission], object]] = [
    lambda ledger, submission: ledger.submit(submission),
    lambda ledger, submission: ledger.submit(ledger.new_submission()),
    lambda ledger, _: ledger.barrier(),
    lambda ledger, _: ledger.transfer("alice", "world", 1, key="late"),
    lambda ledger, _: ledger.transfer_batch(many_rows(1)),
    lambda ledger, _: ledger.open_account("late", asset="USD/2"),
]


@pytest.mark.parametrize("door", DOORS)
def test_a_closed_door_takes_nothing(directory: Path, door: Callable[..., object]) -> None:
    ledger = open_small(directory)
    open_funded(ledger, ["alice"], 5)
    submission = filled(ledger, "a", 1)
    ledger.close()
    lsn = ledger.statistics().lsn_applied
    for _ in range(2):
        with pytest.raises(ledgercore.EngineClosed):
            door(ledger, submission)
    assert ledger.statistics().lsn_applied == lsn == 3 and ledger.completed() == []
    with open_small(directory) as again:
        assert again.statistics().lsn_applied == 3 and again.balance("alice") == 5


def test_what_nobody_takes_is_let_go_with_the_engine(directory: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        ledger = open_small(directory)
        if number == 0:
            open_funded(ledger, ["alice"], 1000)
        ledger.submit(filled(ledger, f"{number}"))
        ledger.close()
        del ledger
    assert len(os.listdir("/proc/self/fd")) <= before + 1
