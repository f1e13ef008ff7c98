"""Telling what has completed: each future once, and none that nobody waits for any more."""

import asyncio

import ledgercore
from ledgercore import Submission
from service.delivery import deliver, give_back
from tests.histories import open_small


async def test_futures_are_told_but_for_those_that_were_cancelled() -> None:
    loop = asyncio.get_running_loop()
    waiting, cancelled, told = (loop.create_future() for _ in range(3))
    cancelled.cancel()
    told.set_result(None)
    with open_small(None, durability="memory") as ledger:
        submission: Submission = ledger.new_submission()
        deliver(submission, [waiting, cancelled, told])
        assert waiting.result() is submission
        assert cancelled.cancelled() and told.result() is None
        # A future is refunded by who awaits it; only rows of connections are given back here.
        later: asyncio.Future[ledgercore.Submission] = loop.create_future()
        give_back(submission, [later])
        assert not later.done()
