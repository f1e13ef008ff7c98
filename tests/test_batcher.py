"""The batcher: what it hands over when, and whom it tells what, against a scripted engine."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ledgercore import EngineClosed, EngineFailed, QueueFull
from service import problems
from service.admission import Client
from service.batcher import Batcher
from service.limits import Limiter
from service.problems import Problem
from service.requests import TransferRequest

CLIENT = Client("", None, Limiter().find_client(""))


class ScriptedSubmission:
    """A submission that remembers what it was given, and answers with its own indices."""

    def __init__(self, rows_max: int) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.deadlines: list[tuple[int, int | None]] = []
        self.failed = False
        self._rows_max = rows_max

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_full(self) -> bool:
        return len(self.rows) == self._rows_max

    def add(self, *row: Any) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def limit_time(self, deadline_ns: int, index: int | None = None) -> None:
        self.deadlines.append((deadline_ns, index))

    segment_hash = 0


class ScriptedEngine:
    """An engine that takes or refuses as it is told, and completes when it is told."""

    batch_max = 4
    segments = 2

    def __init__(self) -> None:
        self.taken: list[tuple[int, ScriptedSubmission]] = []
        self.barriers: list[tuple[int | None, ScriptedSubmission]] = []
        self.error: Exception | None = None
        self.failure: str | None = None
        self.is_queueing = False
        self._done: list[ScriptedSubmission] = []
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK)

    def segment_of(self, source: str) -> int:
        return len(source) % 2

    def new_submission(self) -> ScriptedSubmission:
        return ScriptedSubmission(self.batch_max)

    def submit(self, submission: ScriptedSubmission, segment: int = 0) -> bool:
        if self.error:
            raise self.error
        self.taken.append((segment, submission))
        return self.is_queueing

    def barrier(self, lsn: int | None = None) -> ScriptedSubmission:
        if self.error:
            raise self.error
        submission = self.new_submission()
        self.barriers.append((lsn, submission))
        return submission

    def fileno(self) -> int:
        return self._eventfd

    def complete(self, submission: ScriptedSubmission, failed: bool = False) -> None:
        submission.failed = failed
        self._done.append(submission)
        os.eventfd_write(self._eventfd, 1)

    def completed(self) -> list[ScriptedSubmission]:
        os.eventfd_read(self._eventfd)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        os.close(self._eventfd)


class ScriptedAdmission:
    """An admission that remembers whose money it was to give back, and of which rows."""

    def __init__(self) -> None:
        self.settled: list[tuple[Any, Any, int | None]] = []
        self.given_back: list[tuple[Any, Any, int | None]] = []

    def settle(
        self, client: Client, submission: Any, charged_ns: int = 0, index: int | None = None
    ) -> None:
        self.settled.append((client, submission, index))

    def give_back_money(
        self, client: Client, submission: Any, charged_ns: int = 0, index: int | None = None
    ) -> None:
        self.given_back.append((client, submission, index))


@pytest.fixture(autouse=True)
def without_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing native be given a scripted submission: futures alone wait in these tests."""

    def give_back(submission: ScriptedSubmission, waiters: list[Any]) -> None:
        assert all(isinstance(waiter, asyncio.Future) for waiter in waiters)

    monkeypatch.setattr("service.batcher.give_back", give_back)


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine()
    yield engine
    engine.close()


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def admission() -> ScriptedAdmission:
    return ScriptedAdmission()


@pytest.fixture
async def batcher(
    engine: ScriptedEngine, admission: ScriptedAdmission, failures: list[str]
) -> Any:
    batcher = Batcher(
        engine,  # type: ignore[arg-type]
        admission,  # type: ignore[arg-type]
        asyncio.get_running_loop(),
        lambda: failures.append("failed"),
    )
    yield batcher
    batcher.close()


def request_of(number: int, source: str = "ab") -> TransferRequest:
    return TransferRequest(f"k-{number}", source, "bob", 250, None)


async def turn() -> None:
    """Let what is due run: the requests, and then the flush at the end of their turn."""
    for _ in range(3):
        await asyncio.sleep(0)


async def start(*requests: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(request) for request in requests]
    await turn()
    return tasks


async def test_one_turn_is_one_batch(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(*(batcher.transfer(CLIENT, request_of(number)) for number in range(3)))
    ((segment, submission),) = engine.taken
    assert segment == 0
    assert [row[1] for row in submission.rows] == ["k-0", "k-1", "k-2"]
    assert submission.rows[0] == ("", "k-0", "ab", "bob", 250, None)
    engine.complete(submission)
    answers = await asyncio.gather(*tasks)
    assert answers == [(submission, 0), (submission, 1), (submission, 2)]


async def test_nothing_is_answered_before_it_is_complete(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    first, second = await start(
        batcher.transfer(CLIENT, request_of(1, "a")), batcher.transfer(CLIENT, request_of(2, "ab"))
    )
    taken = dict(engine.taken)
    engine.complete(taken[0])
    await second
    assert not first.done()
    engine.complete(taken[1])
    await first


async def test_each_segment_has_its_batch(batcher: Batcher, engine: ScriptedEngine) -> None:
    sources = ["a", "ab", "abc", "abcd"]
    tasks = await start(*(batcher.transfer(CLIENT, request_of(0, source)) for source in sources))
    assert sorted((segment, len(submission)) for segment, submission in engine.taken) == [
        (0, 2),
        (1, 2),
    ]
    for _, submission in engine.taken:
        engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_full_batch_leaves_at_once(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(*(batcher.transfer(CLIENT, request_of(number)) for number in range(10)))
    assert [len(submission) for _, submission in engine.taken] == [4, 4, 2]
    for _, submission in engine.taken:
        engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_client_that_hangs_up_changes_nothing(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    leaving, staying = await start(*(batcher.transfer(CLIENT, request_of(number)) for number in range(2)))
    leaving.cancel()
    await turn()
    ((_, submission),) = engine.taken
    assert len(submission) == 2
    engine.complete(submission)
    assert await staying == (submission, 1)
    assert leaving.cancelled()


async def test_client_that_hangs_up_before_the_flush(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    task = asyncio.ensure_future(batcher.transfer(CLIENT, request_of(1)))
    await asyncio.sleep(0)
    task.cancel()
    await turn()
    ((_, submission),) = engine.taken
    assert len(submission) == 1
    engine.complete(submission)
    await batcher.drain()


@pytest.mark.parametrize("error", [QueueFull("full"), EngineClosed("closed")])
async def test_refused_submission_refuses_its_requests(
    batcher: Batcher, engine: ScriptedEngine, failures: list[str], error: Exception
) -> None:
    engine.error = error
    tasks = await start(*(batcher.transfer(CLIENT, request_of(number)) for number in range(3)))
    raised = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(exception) for exception in raised] == [type(error)] * 3
    assert failures == []
    await batcher.drain()


async def test_queue_that_was_full_takes_the_next(batcher: Batcher, engine: ScriptedEngine) -> None:
    engine.error = QueueFull("full")
    (task,) = await start(batcher.transfer(CLIENT, request_of(1)))
    with pytest.raises(QueueFull):
        await task
    engine.error = None
    (task,) = await start(batcher.transfer(CLIENT, request_of(1)))
    engine.complete(engine.taken[0][1])
    await task


async def test_failed_engine_takes_nothing(
    batcher: Batcher, engine: ScriptedEngine, failures: list[str]
) -> None:
    engine.error = EngineFailed("no space")
    (task,) = await start(batcher.transfer(CLIENT, request_of(1)))
    with pytest.raises(EngineFailed):
        await task
    assert failures == ["failed"]


async def test_failure_of_an_idle_engine_is_told(
    batcher: Batcher, engine: ScriptedEngine, failures: list[str]
) -> None:
    engine.failure = "no space"
    os.eventfd_write(engine.fileno(), 1)
    async with asyncio.timeout(30):
        while not failures:
            await turn()
    assert failures == ["failed"]


async def test_failed_submission_has_unknown_outcomes(
    batcher: Batcher, engine: ScriptedEngine, failures: list[str]
) -> None:
    (task,) = await start(batcher.transfer(CLIENT, request_of(1)))
    engine.complete(engine.taken[0][1], failed=True)
    with pytest.raises(Problem) as caught:
        await task
    assert caught.value.kind is problems.OUTCOME_UNKNOWN
    assert failures == ["failed"]


async def test_reads_of_one_turn_share_a_barrier(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(batcher.barrier(), batcher.barrier())
    ((lsn, submission),) = engine.barriers
    assert lsn is None
    assert not any(task.done() for task in tasks)
    engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_barrier_for_one_lsn(batcher: Batcher, engine: ScriptedEngine) -> None:
    (task,) = await start(batcher.barrier(7))
    ((lsn, submission),) = engine.barriers
    assert lsn == 7
    engine.complete(submission)
    await task


async def test_failed_barrier_is_no_unknown_outcome(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    (task,) = await start(batcher.barrier())
    engine.complete(engine.barriers[0][1], failed=True)
    with pytest.raises(EngineFailed):
        await task


@pytest.mark.parametrize("lsn", [None, 7])
async def test_refused_barrier(batcher: Batcher, engine: ScriptedEngine, lsn: int | None) -> None:
    engine.error = QueueFull("full")
    (task,) = await start(batcher.barrier(lsn))
    with pytest.raises(QueueFull):
        await task


async def test_what_waits_for_a_worker_is_told(batcher: Batcher, engine: ScriptedEngine) -> None:
    calls: list[int] = []
    batcher.on_queued = lambda: calls.append(len(engine.taken))
    tasks = await start(batcher.transfer(CLIENT, request_of(1)))
    assert len(engine.taken) == 1 and calls == []
    engine.is_queueing = True
    tasks += await start(batcher.transfer(CLIENT, request_of(2)))
    assert calls == [2]
    large: Any = ScriptedSubmission(8)
    large.segment_hash = 3
    tasks += await start(batcher.apply(CLIENT, large))
    assert calls == [2, 3] and engine.taken[2] == (1, large)
    for _, submission in engine.taken:
        engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_drain_flushes_and_waits(batcher: Batcher, engine: ScriptedEngine) -> None:
    request = asyncio.ensure_future(batcher.transfer(CLIENT, request_of(1)))
    await asyncio.sleep(0)
    drain = asyncio.ensure_future(batcher.drain())
    await turn()
    assert not drain.done()
    engine.complete(engine.taken[0][1])
    await drain
    assert request.done()


# -- money and deadlines ---------------------------------------------------------------------------


async def test_what_has_completed_is_settled_for_its_client(
    batcher: Batcher, engine: ScriptedEngine, admission: ScriptedAdmission
) -> None:
    tasks = await start(*(batcher.transfer(CLIENT, request_of(number)) for number in range(2)))
    ((_, submission),) = engine.taken
    assert admission.settled == []
    engine.complete(submission)
    await asyncio.gather(*tasks)
    assert admission.settled == [(CLIENT, submission, 0), (CLIENT, submission, 1)]
    assert admission.given_back == []


@pytest.mark.parametrize("error", [QueueFull("full"), EngineClosed("closed"), EngineFailed("gone")])
async def test_what_was_not_taken_is_given_back_once(
    batcher: Batcher, engine: ScriptedEngine, admission: ScriptedAdmission, error: Exception
) -> None:
    engine.error = error
    tasks = await start(*(batcher.transfer(CLIENT, request_of(number)) for number in range(3)))
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [(client, index) for client, _, index in admission.given_back] == [
        (CLIENT, 0),
        (CLIENT, 1),
        (CLIENT, 2),
    ]
    assert admission.settled == []


async def test_an_unknown_outcome_keeps_the_money(
    batcher: Batcher, engine: ScriptedEngine, admission: ScriptedAdmission
) -> None:
    (task,) = await start(batcher.transfer(CLIENT, request_of(1)))
    engine.complete(engine.taken[0][1], failed=True)
    with pytest.raises(Problem):
        await task
    assert admission.settled == admission.given_back == []


async def test_a_client_that_hangs_up_is_settled_all_the_same(
    batcher: Batcher, engine: ScriptedEngine, admission: ScriptedAdmission
) -> None:
    leaving, staying = await start(
        *(batcher.transfer(CLIENT, request_of(number)) for number in range(2))
    )
    leaving.cancel()
    await turn()
    ((_, submission),) = engine.taken
    engine.complete(submission)
    await staying
    assert sorted(index for _, _, index in admission.settled if index is not None) == [0, 1]


async def test_a_bulk_that_hangs_up_is_settled_all_the_same(
    batcher: Batcher, engine: ScriptedEngine, admission: ScriptedAdmission
) -> None:
    submission = engine.new_submission()
    (task,) = await start(batcher.apply(CLIENT, submission))  # type: ignore[arg-type]
    task.cancel()
    await turn()
    engine.complete(submission)
    await batcher.drain()
    assert admission.settled == [(CLIENT, submission, None)]


async def test_deadlines_are_those_of_their_rows(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(
        batcher.transfer(CLIENT, request_of(0)),
        batcher.transfer(CLIENT, request_of(1), deadline_ns=7),
    )
    ((_, submission),) = engine.taken
    assert submission.deadlines == [(7, 1)]
    engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_a_deadline_of_a_bulk_is_that_of_all(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    submission = engine.new_submission()
    (task,) = await start(batcher.apply(CLIENT, submission, deadline_ns=7))  # type: ignore[arg-type]
    assert submission.deadlines == [(7, None)]
    engine.complete(submission)
    await task
