"""The threads' meeting place, with workers that the test starts itself.

So it can look before, between and after, and a full queue is no matter of luck.
"""

import select
import threading
import time
from collections.abc import Iterator

import pytest

from ledgercore import EngineClosed, QueueFull, Status, Submission
from ledgercore.accounts import balances, open_account
from ledgercore.executor import Executor
from ledgercore.ledger import Ledger
from ledgercore.opening import open_in_memory
from ledgercore.options import Options
from ledgercore.replay import last_lsn, look_up_key
from tests.support.histories import open_funded, open_small, wait_readable
from tests.support.waiting import wait_until

QUEUE_SIZE = 64
BATCH_MAX = 16


class Stage:
    """Two segments without a journal, whose workers are not there yet."""

    def __init__(self) -> None:
        options = Options(durability="memory", accounts_max=16, keys_max=1 << 12)
        self.ledger: Ledger = open_in_memory(options).ledger
        for id, floor in (("world", None), ("alice", 0)):
            open_account(self.ledger, id.encode(), b"USD/2", floor, None, False)
        self.executor = Executor(self.ledger, None, 2, QUEUE_SIZE, BATCH_MAX)
        self.executor.inline_max = 0  # Let the workers do all of it.
        self.threads: list[threading.Thread] = []

    def batch(self, count: int, key: str = "key") -> Submission:
        """A submission of so many transfers."""
        submission = Submission(self.ledger, count)
        for number in range(count):
            submission.add("", f"{key}-{number}", "world", "alice", 1)
        return submission

    def start(self, segment: int) -> None:
        thread = threading.Thread(target=self.executor.run_worker, args=(segment,))
        self.threads.append(thread)
        thread.start()

    def finish(self) -> list[Submission]:
        """Let the workers finish, as `close` does; returns what has completed."""
        for segment in range(2):
            self.start(segment)
        self.executor.stop_intake()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        self.executor.drain()
        return self.executor.completed()

    def readable(self) -> bool:
        return bool(select.select([self.executor.event_fd], [], [], 0)[0])


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A pipeline at rest, ended after the test."""
    found = Stage()
    yield found
    found.finish()


def test_what_is_queued_waits_for_a_worker(stage: Stage) -> None:
    first, second, other = stage.batch(5, "a"), stage.batch(7, "b"), stage.batch(3, "c")
    for submission, segment in ((first, 0), (second, 0), (other, 1)):
        stage.executor.submit(submission, segment)
    assert stage.executor.queue_depth == 15 and stage.executor.completed() == []
    assert not stage.readable() and list(balances(stage.ledger)) == [0, 0]
    # Each segment has its own queue and its own worker.
    stage.start(1)
    assert select.select([stage.executor.event_fd], [], [], 30)[0]
    assert stage.executor.completed() == [other] and stage.executor.queue_depth == 12
    assert list(balances(stage.ledger)) == [-3, 3]
    assert stage.finish() == [first, second]
    # Within a segment, the order of the queue is the order of the ids.
    assert [first.outcome(0).id, first.outcome(4).id, second.outcome(0).id] == [6, 10, 11]
    assert stage.executor.queue_depth == 0 and list(balances(stage.ledger)) == [-15, 15]


def test_a_small_batch_of_an_idle_segment_needs_no_worker(stage: Stage) -> None:
    stage.executor.inline_max = 8
    small, large = stage.batch(8, "a"), stage.batch(9, "b")
    stage.executor.submit(small, 0)
    assert stage.readable() and stage.executor.completed() == [small]
    assert small.outcome(7).status is Status.APPLIED and list(balances(stage.ledger)) == [-8, 8]
    stage.executor.submit(large, 0)
    behind, other = stage.batch(1, "c"), stage.batch(1, "d")
    stage.executor.submit(behind, 0)
    stage.executor.submit(other, 1)
    # What comes behind a batch that waits, waits as well; the other segment is idle.
    assert stage.executor.completed() == [other] and stage.executor.queue_depth == 10
    assert {*stage.finish()} == {large, behind}
    assert list(balances(stage.ledger)) == [-19, 19]


def test_a_full_queue_takes_nothing(stage: Stage) -> None:
    kept = [stage.batch(32, "a"), stage.batch(31, "b")]
    for submission in kept:
        stage.executor.submit(submission, 0)
    refused = stage.batch(2, "c")
    for _ in range(3):
        with pytest.raises(QueueFull):
            stage.executor.submit(refused, 0)
    assert stage.executor.queue_depth == 63 and last_lsn(stage.ledger) == 2
    # The bound is on transfers: one more fits, and the other queue is empty.
    last = stage.batch(1, "d")
    stage.executor.submit(last, 0)
    assert stage.executor.queue_depth == QUEUE_SIZE
    with pytest.raises(QueueFull):
        stage.executor.submit(stage.batch(1, "e"), 0)
    # What was refused is the caller's again, and may go elsewhere.
    stage.executor.submit(refused, 1)
    assert {*stage.finish()} == {*kept, last, refused}
    assert list(balances(stage.ledger)) == [-66, 66]
    assert look_up_key(stage.ledger, stage.ledger.fingerprint(b"\0e-0")) is None


def test_a_submission_larger_than_the_queue_never_fits(stage: Stage) -> None:
    with pytest.raises(QueueFull):
        stage.executor.submit(stage.batch(QUEUE_SIZE + 1), 0)
    assert stage.executor.queue_depth == 0


def test_a_closed_queue_takes_nothing_and_is_finished(stage: Stage) -> None:
    taken = stage.batch(9)
    stage.executor.submit(taken, 0)
    stage.executor.stop_intake()
    for segment in range(2):
        with pytest.raises(EngineClosed):
            stage.executor.submit(stage.batch(1, "late"), segment)
    assert stage.executor.completed() == [] and stage.finish() == [taken]
    assert [taken.outcome(index).status for index in range(9)] == [Status.APPLIED] * 9


def test_the_eventfd_is_readable_while_there_is_something_to_take(stage: Stage) -> None:
    assert not stage.readable()
    for _ in range(2):
        for _ in range(3):
            stage.executor.submit(Submission(stage.ledger, 0), 0)
        assert stage.readable() and stage.readable()
        assert len(stage.executor.completed()) == 3 and not stage.readable()
        assert stage.executor.completed() == []


def test_several_workers_share_a_queue(stage: Stage) -> None:
    for _ in range(4):
        stage.start(0)
    sent = []
    for number in range(200):
        submission = stage.batch(3, f"s{number}")
        while submission not in sent:
            try:
                stage.executor.submit(submission, 0)
                sent.append(submission)
            except QueueFull:
                select.select([stage.executor.event_fd], [], [], 30)
    assert {*stage.finish()} == {*sent} and list(balances(stage.ledger)) == [-600, 600]
    ids = [one.outcome(index).id for one in sent for index in range(3)]
    assert sorted(ids) == list(range(3, 603))


@pytest.mark.parametrize("durability", ["sync", "memory"])
def test_an_idle_engine_uses_no_processor(
    tmp_path_factory: pytest.TempPathFactory, durability: str
) -> None:
    path = tmp_path_factory.mktemp("idle") / "ledger"
    with open_small(
        path, durability=durability, segments=4, workers_min=4, workers_max=4
    ) as ledger:
        open_funded(ledger, ["alice"], 5)
        before = time.process_time()
        # Nothing comes, so this waits to its end; the journal writes its seal meanwhile.
        assert select.select([ledger.fileno()], [], [], 0.3) == ([], [], [])
        assert time.process_time() - before < 0.02
        ledger.barrier()
        wait_readable(ledger)


def wait_ended(threads: list[threading.Thread], count: int) -> list[threading.Thread]:
    """Wait until so many of the threads have ended; returns the others."""

    def others() -> list[threading.Thread]:
        return [thread for thread in threads if thread.is_alive()]

    wait_until(lambda: len(others()) == len(threads) - count, f"{count} workers to end")
    return others()


def test_each_retirement_ends_one_worker_that_takes_nothing(stage: Stage) -> None:
    # Those that retire before they have begun would be the first to take the batch.
    stage.executor.retire(0, 2)
    taken = stage.batch(5)
    stage.executor.submit(taken, 0)
    for _ in range(2):
        stage.start(0)
    assert wait_ended(stage.threads, 2) == []
    assert stage.executor.queue_depth == 5 and stage.executor.completed() == []
    for _ in range(3):
        stage.start(0)
    assert select.select([stage.executor.event_fd], [], [], 30)[0]
    assert stage.executor.completed() == [taken] and list(balances(stage.ledger)) == [-5, 5]
    # Those that wait for work are woken to go, and the one that stays does all of it.
    stage.executor.retire(0, 2)
    (last,) = wait_ended(stage.threads[2:], 2)
    sent = [stage.batch(3, f"s{number}") for number in range(20)]
    for submission in sent:
        stage.executor.submit(submission, 0)
    assert last.is_alive() and {*stage.finish()} == {*sent}
    assert list(balances(stage.ledger)) == [-65, 65]


def test_a_closed_queue_is_finished_before_anybody_retires(stage: Stage) -> None:
    sent = [stage.batch(3, f"s{number}") for number in range(20)]
    for submission in sent:
        stage.executor.submit(submission, 0)
    stage.executor.retire(0, 1)
    stage.executor.stop_intake()
    stage.start(0)
    assert wait_ended(stage.threads, 1) == []
    assert {*stage.executor.completed()} == {*sent} and stage.executor.queue_depth == 0


def test_a_stalled_segment_takes_nothing_until_it_goes_on(stage: Stage) -> None:
    stage.executor.inline_max = 8
    for segment in range(2):
        stage.start(segment)
    stage.executor.stall(0, True)
    held, other = stage.batch(5, "a"), stage.batch(5, "b")
    # Not even here, where it would be quick: a stall would otherwise hold up the large ones only.
    assert stage.executor.submit(held, 0) is True and stage.executor.submit(other, 1) is False
    assert stage.executor.completed() == [other]
    assert [stage.executor.load(segment)[0] for segment in range(2)] == [5, 0]
    full = [stage.batch(16, f"s{number}") for number in range(3)]
    for submission in full:
        stage.executor.submit(submission, 0)
    with pytest.raises(QueueFull):
        stage.executor.submit(stage.batch(12, "late"), 0)
    # A worker that waits there can still be retired, and another takes its place.
    stage.executor.retire(0, 1)
    wait_ended(stage.threads, 1)
    stage.start(0)
    assert stage.executor.completed() == [] and stage.executor.load(0) == (53, 0)
    stage.executor.stall(0, False)
    wait_until(lambda: stage.executor.queue_depth == 0, "the queue to be worked off")
    assert stage.finish() == [held, *full] and list(balances(stage.ledger)) == [-58, 58]


def test_closing_ends_a_stall(stage: Stage) -> None:
    stage.executor.stall(0, True)
    held = stage.batch(5)
    stage.executor.submit(held, 0)
    assert stage.finish() == [held]


def test_busy_time_is_the_time_of_the_workers(stage: Stage) -> None:
    assert [stage.executor.load(segment) for segment in range(2)] == [(0, 0), (0, 0)]
    before_ns = time.monotonic_ns()
    for number in range(4):
        stage.executor.submit(stage.batch(16, f"s{number}"), 0)
    stage.start(0)
    wait_until(lambda: stage.executor.queue_depth == 0, "the queue to be worked off")
    busy_ns = stage.executor.load(0)[1]
    assert 0 < busy_ns < time.monotonic_ns() - before_ns
    # Nobody is at work any more, so it stands still; and the other segment never began.
    assert stage.executor.load(0) == (0, busy_ns) and stage.executor.load(1) == (0, 0)
