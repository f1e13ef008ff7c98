"""The dump of threads: the stack of every thread, and where every task waits, at one moment.

This module owns what is collected, and the dump as text. It has to run in the event loop, whose
tasks nobody else can list safely; writing the text can be done elsewhere.
"""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ..units import NS_PER_S
from .proc import ThreadFacts, read_threads
from .profile import Measure, Profile, Row
from .python_frames import list_awaits, list_frames, name_awaited
from .stacks import Stack

TASKS = "asyncio tasks"
NOTE = "A dump of one moment: Python frames, and no times."


@dataclass(frozen=True, slots=True)
class ThreadStack:
    """A thread of Python, and its stack with the outer frame first."""

    name: str
    native_id: int
    is_daemon: bool
    stack: Stack


@dataclass(frozen=True, slots=True)
class TaskStack:
    """A task of the event loop, where it waits with the outer frame first, and what for."""

    name: str
    awaited: str
    stack: Stack


@dataclass(frozen=True, slots=True)
class Dump:
    """All threads and tasks. `facts` are those of the system, native threads among them."""

    threads: tuple[ThreadStack, ...]
    tasks: tuple[TaskStack, ...]
    facts: dict[int, ThreadFacts]


def take_dump() -> Dump:
    """Return what all threads of the process, and all tasks of the running loop, do now."""
    frames = sys._current_frames()
    threads = tuple(
        ThreadStack(
            thread.name,
            thread.native_id or 0,
            thread.daemon,
            tuple(list_frames(frames.get(thread.ident or 0))),
        )
        for thread in threading.enumerate()
    )
    tasks = tuple(
        TaskStack(task.get_name(), name_awaited(task), tuple(list_awaits(task)))
        for task in asyncio.all_tasks()
    )
    return Dump(threads, tasks, read_threads())


def write_dump(dump: Dump) -> str:
    """Return a dump as text, the inner frames first as a dump of goroutines has them."""
    return "\n".join(_write_lines(dump))


def _write_lines(dump: Dump) -> Iterator[str]:
    known = {thread.native_id for thread in dump.threads}
    others = [facts for native_id, facts in dump.facts.items() if native_id not in known]
    yield (
        f"{len(dump.threads)} threads of Python, {len(others)} others,"
        f" {len(dump.tasks)} asyncio tasks"
    )
    yield ""
    for thread in dump.threads:
        kind = "daemon, " if thread.is_daemon else ""
        told = _describe_facts(dump.facts.get(thread.native_id))
        yield f'thread "{thread.name}", native id {thread.native_id}, {kind}{told}:'
        yield from _write_stack(thread.stack)
    for facts in others:
        yield f'thread "{facts.name}", native id {facts.native_id}, {_describe_facts(facts)}:'
        yield from _write_stack(())
    for task in dump.tasks:
        yield f'task "{task.name}", waits for {task.awaited}:'
        yield from _write_stack(task.stack)


def _describe_facts(facts: ThreadFacts | None) -> str:
    if facts is None:
        return "has ended"
    return f"{facts.state}, {facts.cpu_ns / NS_PER_S:.2f} s of processor"


def _write_stack(stack: Stack) -> Iterator[str]:
    for frame in reversed(stack):
        yield f"    {frame.name} ({frame.file}:{frame.line})"
    if not stack:
        yield "    no frame of Python"
    yield ""


def make_dump_profile(dump: Dump) -> Profile:
    """Return a dump as a profile: how many threads, and how many tasks, have the same stack."""
    seen: Counter[tuple[str, Stack]] = Counter()
    for thread in dump.threads:
        seen[thread.name, thread.stack] += 1
    for task in dump.tasks:
        seen[TASKS, task.stack] += 1
    rows = [Row(name, stack, (count,)) for (name, stack), count in seen.items()]
    return Profile("Threads and tasks", NOTE, (Measure("stacks", "count"),), rows, 0)
