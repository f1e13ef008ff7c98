"""Blocking calls: how many there may be, what is told beyond that, and that none is given up."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ledgercore import QueueFull
from ledgercore.service.runtime import blocking_calls
from ledgercore.service.runtime.blocking_calls import BlockingCalls
from ledgercore.service.wire.problems import RETRY_AFTER_S, Busy


@pytest.fixture
async def calls() -> AsyncIterator[BlockingCalls]:
    calls = BlockingCalls()
    yield calls
    calls.close()


async def test_calls_are_bounded(calls: BlockingCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_calls, "CALLS_MAX", 2)
    gate = threading.Event()
    waiting = [asyncio.ensure_future(calls.call(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await calls.call(gate.wait)
    gate.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await calls.call(gate.wait) is True


async def test_too_many_calls_are_told_when_to_come_by_how_fast_calls_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocking_calls, "CALLS_MAX", 40)
    now_ns = 10**12
    calls, gate = BlockingCalls(lambda: now_ns), threading.Event()

    async def fill() -> tuple[list[asyncio.Task[bool]], int]:
        """Return calls that wait at the gate, and what one too many is told."""
        waiting = [asyncio.ensure_future(calls.call(gate.wait)) for _ in range(40)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as caught:
            await calls.call(gate.wait)
        return waiting, caught.value.retry_after_s

    waiting, wait_s = await fill()
    assert wait_s == RETRY_AFTER_S  # Nothing has ended yet, and so nothing is known.
    gate.set()
    await asyncio.gather(*waiting)
    gate.clear()
    now_ns += 1_900_000_000  # 40 calls ended in two seconds.
    waiting, wait_s = await fill()
    assert wait_s == 2
    gate.set()
    await asyncio.gather(*waiting)
    calls.close()


async def test_a_call_runs_to_its_end_when_nobody_waits(calls: BlockingCalls) -> None:
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait()
        done.set()

    call = asyncio.ensure_future(calls.call(work))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    draining = asyncio.ensure_future(calls.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    gate.set()
    await draining
    assert done.is_set()


async def test_who_asks_for_the_same_shares_one_run(calls: BlockingCalls) -> None:
    gate = threading.Event()
    runs: list[bool] = []

    def audit(*, journal: bool) -> bool:
        runs.append(journal)
        gate.wait()
        return journal

    asked = [
        asyncio.ensure_future(calls.call_shared(audit, journal=journal))
        for journal in (True, True, False)
    ]
    await asyncio.sleep(0)
    asked[0].cancel()  # Who gives up leaves the others theirs.
    gate.set()
    assert await asyncio.gather(*asked[1:]) == [True, False]
    assert sorted(runs) == [False, True]
    assert await calls.call_shared(audit, journal=True) is True
    assert sorted(runs) == [False, True, True]
