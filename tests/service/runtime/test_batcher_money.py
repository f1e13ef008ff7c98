"""The batcher: whose money is given back when, and which rows have which deadline."""

import asyncio
from typing import Any

import pytest

from ledgercore import EngineClosed, EngineFailed, QueueFull
from ledgercore.service.runtime.batcher import Batcher
from ledgercore.service.wire.problems import Problem
from tests.support.scripted_engine import (
    CLIENT,
    ScriptedAdmission,
    ScriptedEngine,
    request_of,
    start,
    turn,
)

pytest_plugins = ["tests.support.batcher_fixtures"]


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
    bulk: Any = submission
    (task,) = await start(batcher.apply(CLIENT, bulk, deadline_ns=7))
    assert submission.deadlines == [(7, None)]
    engine.complete(submission)
    await task
