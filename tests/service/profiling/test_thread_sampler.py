"""The profiler in the process: it charges who works, leaves out who waits, and ends when told."""

import asyncio
import sys
import threading
import time

import pytest

from ledgercore.service.profiling.proc import read_thread
from ledgercore.service.profiling.thread_sampler import ThreadSampler, sample_threads
from tests.support.spinning import NAME, spinning
from tests.support.waiting import wait_until


def list_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def test_who_works_is_charged_what_it_had() -> None:
    usual_s = sys.getswitchinterval()
    idle = threading.Event()
    waiting = threading.Thread(target=idle.wait, name="idler")
    waiting.start()
    with spinning() as thread:
        before = read_thread(thread.native_id or 0)
        stacks = await sample_threads(1.0)
        after = read_thread(thread.native_id or 0)
    idle.set()
    waiting.join()
    assert before is not None and after is not None
    spent_s = (after.cpu_ns - before.cpu_ns) / 1e9
    assert spent_s > 0.2
    # A hundred looks a second: each stands for a hundredth of a second of processor time.
    assert stacks[NAME].total() / 100 == pytest.approx(spent_s, abs=0.15)
    names = {stack[0].name for stack in stacks[NAME]}
    assert "spin" in names, "the way from the start of a thread to its work is left out"
    assert "idler" not in stacks and "profiler" not in stacks
    assert "profiler" not in list_names()
    assert sys.getswitchinterval() == pytest.approx(usual_s)


async def test_whoever_cancels_ends_it() -> None:
    task = asyncio.create_task(sample_threads(60))
    await asyncio.sleep(0)
    assert "profiler" in list_names()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "profiler" not in list_names()


def test_a_slow_rate_charges_longer_periods() -> None:
    sampler = ThreadSampler(10)
    with spinning() as thread:
        native_id = thread.native_id or 0
        assert sampler._charge(native_id) == 0
        started = time.monotonic()
        while (facts := read_thread(native_id)) and facts.cpu_ns < 350_000_000:
            assert time.monotonic() - started < 30
        assert sampler._charge(native_id) in (3, 4)
        # What is less than a period is kept for the next look.
        assert sampler._charge(native_id) == 0
    wait_until(lambda: read_thread(native_id) is None, "the thread to be gone")
    assert sampler._charge(native_id) == 0
