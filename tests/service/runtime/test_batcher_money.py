"""The batcher: whose money is given back when, and which rows have which deadline."""

import asyncio
from typing import Any

import pytest

from ledgercore import EngineClosed, EngineFailed, QueueFull
from ledgercore.service.runtime.batcher import Batcher
from ledgercore.service.wire.problems import Problem
from tests.support.scripted_engine import (
    CHARGE,
    ScriptedCharge,
    ScriptedEngine,
    ScriptedSubmission,
    request_of,
    start,
    turn,
)

pytest_plugins = ["tests.support.batcher_fixtures"]


def charges(count: int) -> list[Any]:
    return [ScriptedCharge() for _ in range(count)]


async def test_what_has_completed_is_settled_before_it_is_told(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    money = charges(2)
    tasks = await start(*(batcher.transfer(each, request_of(0)) for each in money))
    ((_, submission),) = engine.taken
    assert [charge.completed for charge in money] == [[], []]
    told: list[bool] = []
    tasks[0].add_done_callback(lambda _: told.append(bool(money[0].completed)))
    engine.complete(submission)
    await asyncio.gather(*tasks)
    assert [charge.completed for charge in money] == [[(submission, 0)], [(submission, 1)]]
    assert [charge.refunded for charge in money] == [0, 0] and told == [True]


@pytest.mark.parametrize("error", [QueueFull("full"), EngineClosed("closed"), EngineFailed("gone")])
async def test_what_was_not_taken_is_refunded_once(
    batcher: Batcher, engine: ScriptedEngine, error: Exception
) -> None:
    engine.error, money = error, charges(4)
    tasks = await start(*(batcher.transfer(each, request_of(0)) for each in money[:3]))
    bulk: Any = engine.new_submission()
    tasks += await start(batcher.apply(money[3], bulk))
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [charge.refunded for charge in money] == [1] * 4
    assert not any(charge.completed for charge in money)


async def test_an_unknown_outcome_keeps_the_money(batcher: Batcher, engine: ScriptedEngine) -> None:
    (charge,) = charges(1)
    (task,) = await start(batcher.transfer(charge, request_of(1)))
    engine.complete(engine.taken[0][1], failed=True)
    with pytest.raises(Problem):
        await task
    assert charge.completed == [] and charge.refunded == 0


async def test_a_client_that_hangs_up_is_settled_all_the_same(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    money = charges(2)
    leaving, staying = await start(*(batcher.transfer(each, request_of(0)) for each in money))
    leaving.cancel()
    await turn()
    ((_, submission),) = engine.taken
    engine.complete(submission)
    await staying
    assert [charge.completed for charge in money] == [[(submission, 0)], [(submission, 1)]]


async def test_a_client_that_hangs_up_is_refunded_what_was_not_taken(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    (charge,) = charges(1)
    task = asyncio.ensure_future(batcher.transfer(charge, request_of(1)))
    await asyncio.sleep(0)
    task.cancel()
    engine.error = QueueFull("full")
    await batcher.drain()
    assert charge.refunded == 1


async def test_a_bulk_that_hangs_up_is_settled_all_the_same(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    submission: Any = engine.new_submission()
    (charge,) = charges(1)
    (task,) = await start(batcher.apply(charge, submission))
    task.cancel()
    await turn()
    engine.complete(submission)
    await batcher.drain()
    assert charge.completed == [(submission, None)]


async def test_deadlines_are_those_of_their_rows(batcher: Batcher, engine: ScriptedEngine) -> None:
    tasks = await start(
        batcher.transfer(CHARGE, request_of(0)),
        batcher.transfer(CHARGE, request_of(1), deadline_ns=7),
    )
    ((_, submission),) = engine.taken
    assert submission.deadlines == [(7, 1)]
    engine.complete(submission)
    await asyncio.gather(*tasks)


async def test_a_deadline_of_a_bulk_is_that_of_all(
    batcher: Batcher, engine: ScriptedEngine
) -> None:
    submission = engine.new_submission()
    bulk: Any = submission
    (task,) = await start(batcher.apply(CHARGE, bulk, deadline_ns=7))
    assert submission.deadlines == [(7, None)]
    engine.complete(submission)
    await task


async def test_a_row_whose_deadline_finds_no_memory_is_of_nobody_else(
    batcher: Batcher, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    money = charges(2)
    monkeypatch.setattr(ScriptedSubmission, "limit_time", fail)
    unlucky, other = await start(
        batcher.transfer(money[0], request_of(0), deadline_ns=7),
        batcher.transfer(money[1], request_of(1)),
    )
    with pytest.raises(MemoryError):
        await unlucky
    ((_, submission),) = engine.taken
    engine.complete(submission)
    assert await other == (submission, 1)
    assert [charge.completed for charge in money] == [[(submission, 0)], [(submission, 1)]]
