"""Python's own frames: of threads, and of tasks as deep as they wait."""

import asyncio
import sys
from collections.abc import AsyncIterator

from ledgercore.service.profiling.python_frames import (
    DEPTH_MAX,
    list_awaits,
    list_frames,
    name_awaited,
)
from ledgercore.service.profiling.stacks import Kind
from tests.support.spinning import spinning


def test_a_stack_has_the_outer_frame_first() -> None:
    def inner() -> list[str]:
        return [frame.name for frame in list_frames(sys._getframe())]

    names = inner()
    own = "test_a_stack_has_the_outer_frame_first"
    assert names[-2:] == [own, f"{own}.<locals>.inner"]
    assert list_frames(None) == []


def test_a_frame_always_has_a_line() -> None:
    with spinning() as thread:
        for _ in range(2000):
            frames = list_frames(sys._current_frames().get(thread.ident or 0))
            assert all(frame.line > 0 for frame in frames)
    assert [frame.file for frame in frames if frame.name == "spin"] == ["tests/support/spinning.py"]
    assert frames[0].kind is Kind.LIBRARY


async def wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def yield_from(event: asyncio.Event) -> AsyncIterator[int]:
    await wait_for(event)
    yield 1


async def collect(event: asyncio.Event) -> None:
    async for _ in yield_from(event):
        pass


async def test_a_task_is_followed_to_what_it_waits_for() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(wait_for(event), name="waiter")
    outer = asyncio.create_task(asyncio.wait_for(task, None))
    through = asyncio.create_task(collect(event))
    assert name_awaited(task) == "nothing: it is running, or about to"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [frame.name for frame in list_awaits(task)] == ["wait_for", "Event.wait"]
    assert all(frame.line > 0 for frame in list_awaits(task))
    assert name_awaited(task) == "Future"
    assert name_awaited(outer) == "task waiter"
    names = [frame.name for frame in list_awaits(through)]
    assert names[0] == "collect" and names[-2:] == ["wait_for", "Event.wait"]
    event.set()
    await asyncio.gather(outer, through)
    assert list_awaits(task) == []


async def nest(depth: int, event: asyncio.Event) -> None:
    if depth:
        await nest(depth - 1, event)
    else:
        await event.wait()


async def test_a_task_is_followed_so_deep_and_no_deeper() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(nest(DEPTH_MAX + 50, event))
    await asyncio.sleep(0)
    assert len(list_awaits(task)) == DEPTH_MAX
    event.set()
    await task
