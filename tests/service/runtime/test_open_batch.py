"""Telling what has completed: each future once, and none that nobody waits for any more."""

import asyncio
from typing import Any

import pytest

import ledgercore
from ledgercore import Submission
from ledgercore.service.runtime.open_batch import FutureWaiter, Waiter, deliver, refund
from tests.support.histories import open_small
from tests.support.scripted_engine import ScriptedCharge


async def test_futures_are_told_but_for_those_that_were_cancelled() -> None:
    loop = asyncio.get_running_loop()
    waiting, cancelled, told = (loop.create_future() for _ in range(3))
    cancelled.cancel()
    told.set_result(None)
    with open_small(None, durability="memory") as ledger:
        submission: Submission = ledger.new_submission()
        deliver(submission, [FutureWaiter(each) for each in (waiting, cancelled, told)])
        assert waiting.result() is submission
        assert cancelled.cancelled() and told.result() is None
        later: asyncio.Future[ledgercore.Submission] = loop.create_future()
        refund(submission, [FutureWaiter(later)])
        assert not later.done()


async def test_money_is_settled_whether_or_not_somebody_waits() -> None:
    loop = asyncio.get_running_loop()
    waiting, cancelled = loop.create_future(), loop.create_future()
    cancelled.cancel()
    charges: list[Any] = [ScriptedCharge() for _ in range(3)]
    with open_small(None, durability="memory") as ledger:
        submission: Submission = ledger.new_submission()
        deliver(
            submission,
            [
                FutureWaiter(waiting, charges[0]),
                FutureWaiter(cancelled, charges[1]),
                FutureWaiter(loop.create_future(), charges[2], is_of_all=True),
            ],
        )
        assert [charge.completed for charge in charges] == [
            [(submission, 0)],
            [(submission, 1)],
            [(submission, None)],
        ]
        refund(submission, [FutureWaiter(waiting, charges[0])])
        assert [charge.refunded for charge in charges] == [1, 0, 0]


async def test_an_error_is_raised_once() -> None:
    loop = asyncio.get_running_loop()
    waiting, cancelled = loop.create_future(), loop.create_future()
    cancelled.cancel()
    for each in (waiting, cancelled):
        FutureWaiter(each).fail(ledgercore.QueueFull("no room"))
    with pytest.raises(ledgercore.QueueFull, match="no room"):
        await waiting
    assert cancelled.cancelled()


def test_whoever_waits_is_a_waiter() -> None:
    """What a waiter is, is never asked: anything else is an error before anybody is told."""
    with open_small(None, durability="memory") as ledger:
        submission = ledger.new_submission()
        with pytest.raises(TypeError):
            deliver(submission, [object()])  # type: ignore[list-item]
        for tell in (lambda: deliver(submission, [Waiter()]), lambda: Waiter().fail(OSError())):
            with pytest.raises(NotImplementedError):
                tell()
        refund(submission, [Waiter()])
