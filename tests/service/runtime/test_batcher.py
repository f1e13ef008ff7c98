"""The batcher: what it hands over when, and whom it tells what, against a scripted engine."""

import asyncio
import os
from typing import Any

import pytest

from ledgercore import EngineClosed, EngineFailed, QueueFull
from ledgercore.service.runtime.batcher import Batcher
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import Problem
from tests.support.scripted_engine import (
    CHARGE,
    ScriptedEngine,
    ScriptedSubmission,
    request_of,
    start,
    turn,
)

pytest_plugins = ["tests.support.batcher_fixtures"]


async def test_one_turn_is_one_batch(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(*(batcher.transfer(CHARGE, request_of(number)) for number in range(3)))
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
        batcher.transfer(CHARGE, request_of(1, "a")), batcher.transfer(CHARGE, request_of(2, "ab"))
    )
    taken = dict(engine.taken)
    engine.complete(taken[0])
    await second
    assert not first.done()
    engine.complete(taken[1])
    await first


async def test_each_segment_has_its_batch(batcher: Batcher, engine: ScriptedEngine) -> None:
    sources = ["a", "ab", "abc", "abcd"]
    tasks = await start(*(batcher.transfer(CHARGE, request_of(0, source)) for source in sources))
    assert sorted((segment, len(submission)) for segment, submission in engine.taken) == [
        (0, 2),
        (1, 2),
    ]
    for _, submission in engine.taken:
        engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_full_batch_leaves_at_once(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(*(batcher.transfer(CHARGE, request_of(number)) for number in range(10)))
    assert [len(submission) for _, submission in engine.taken] == [4, 4, 2]
    for _, submission in engine.taken:
        engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_client_that_hangs_up_changes_nothing(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    leaving, staying = await start(
        *(batcher.transfer(CHARGE, request_of(number)) for number in range(2))
    )
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
    task = asyncio.ensure_future(batcher.transfer(CHARGE, request_of(1)))
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
    tasks = await start(*(batcher.transfer(CHARGE, request_of(number)) for number in range(3)))
    raised = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(exception, type(error)) for exception in raised)
    # One each, and a full queue says when to come again; nothing drains here.
    assert len({id(exception) for exception in raised}) == 3
    assert batcher.regulator.describe()["inflight"] == 0
    waits = [getattr(exception, "retry_after_s", None) for exception in raised]
    assert waits == [1 if isinstance(error, QueueFull) else None] * 3
    assert failures == []
    await batcher.drain()


async def test_queue_that_was_full_takes_the_next(batcher: Batcher, engine: ScriptedEngine) -> None:
    engine.error = QueueFull("full")
    (task,) = await start(batcher.transfer(CHARGE, request_of(1)))
    with pytest.raises(QueueFull):
        await task
    engine.error = None
    (task,) = await start(batcher.transfer(CHARGE, request_of(1)))
    engine.complete(engine.taken[0][1])
    await task


async def test_failed_engine_takes_nothing(
    batcher: Batcher, engine: ScriptedEngine, failures: list[str]
) -> None:
    engine.error = EngineFailed("no space")
    (task,) = await start(batcher.transfer(CHARGE, request_of(1)))
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
    (task,) = await start(batcher.transfer(CHARGE, request_of(1)))
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
    tasks = await start(batcher.transfer(CHARGE, request_of(1)))
    assert len(engine.taken) == 1 and calls == []
    engine.is_queueing = True
    tasks += await start(batcher.transfer(CHARGE, request_of(2)))
    assert calls == [2]
    large: Any = ScriptedSubmission(8)
    large.segment_hash = 3
    tasks += await start(batcher.apply(CHARGE, large))
    assert calls == [2, 3] and engine.taken[2] == (1, large)
    for _, submission in engine.taken:
        engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_drain_flushes_and_waits(batcher: Batcher, engine: ScriptedEngine) -> None:
    request = asyncio.ensure_future(batcher.transfer(CHARGE, request_of(1)))
    await asyncio.sleep(0)
    drain = asyncio.ensure_future(batcher.drain())
    await turn()
    assert not drain.done()
    engine.complete(engine.taken[0][1])
    await drain
    assert request.done()
