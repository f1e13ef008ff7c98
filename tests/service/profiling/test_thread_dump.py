"""The dump of threads and tasks: everybody is in it, by name, with where it is."""

import asyncio
import threading

from ledgercore.service.profiling.thread_dump import TASKS, make_dump_profile, take_dump, write_dump


async def wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_dump_has_every_thread_and_task() -> None:
    event, is_over = asyncio.Event(), threading.Event()
    threads = [threading.Thread(target=is_over.wait, name=f"waits-{n}") for n in (1, 2)]
    for thread in threads:
        thread.start()
    tasks = [asyncio.create_task(wait_for(event), name=f"asks-{n}") for n in (1, 2)]
    await asyncio.sleep(0)
    dump = take_dump()
    event.set()
    is_over.set()
    for thread in threads:
        thread.join()
    await asyncio.gather(*tasks)

    blocks = dict(block.split("\n", 1) for block in write_dump(dump).split("\n\n")[1:])
    heads = {head.split('"')[1]: head for head in blocks}
    for thread in threads:
        head = heads[thread.name]
        assert head.startswith(f'thread "{thread.name}", native id {thread.native_id}, ')
        assert "s of processor:" in head
        # The inner frame comes first, with its file and line.
        first, *_, last = blocks[head].split("\n")
        assert "(threading.py:" in first and last.startswith("    Thread._bootstrap (")
    for task in tasks:
        head = heads[task.get_name()]
        assert head == f'task "{task.get_name()}", waits for Future:'
        lines = blocks[head].split("\n")
        assert "Event.wait (asyncio/locks.py:" in lines[0]
        assert "wait_for (tests/service/profiling/test_thread_dump.py:" in lines[1]
    assert "MainThread" in heads

    rows = make_dump_profile(dump).rows
    waiting = [
        row.values for row in rows if row.thread == TASKS and row.stack[0].name == "wait_for"
    ]
    assert waiting == [(2,)], "alike stacks are one, with their count"
    for thread in threads:
        (row,) = [row for row in rows if row.thread == thread.name]
        assert row.values == (1,) and row.stack[0].name == "Thread._bootstrap"


async def test_a_thread_that_has_ended_meanwhile_is_told_so() -> None:
    dump = take_dump()
    dump.facts.clear()
    assert "has ended" in write_dump(dump)


async def test_a_thread_without_python_is_told_by_its_own_name() -> None:
    dump = take_dump()
    known = {thread.native_id for thread in dump.threads}
    # The main thread of the process, as one that Python has never heard of.
    (main,) = [thread for thread in dump.threads if thread.name == "MainThread"]
    less = type(dump)(
        tuple(thread for thread in dump.threads if thread is not main), dump.tasks, dump.facts
    )
    name = dump.facts[main.native_id].name
    assert main.native_id in known
    assert f'thread "{name}", native id {main.native_id}, ' in write_dump(less)
    assert "no frame of Python" in write_dump(less)
