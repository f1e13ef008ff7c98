"""Heap profiles: the figures of the moment, and what is allocated within a window of time.

This module owns both. The window is memray's, in this process: it sees what was allocated meanwhile
and is still held at its end, of Python and of native code that uses malloc, but small objects of
Python only by the arenas that they lie in. It never reads what is in the memory.
"""

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ledgercore import Statistics

from ..wire.problems import PROFILE_RUNNING, PROFILER_MISSING, Problem
from .proc import read_memory
from .profile import Measure, Profile, Row
from .stacks import FRAMES_MAX, Stack, make_frame

NOTE = "memray: allocated within the window, and still held at its end; Python frames."
MEASURES = (Measure("inuse_objects", "count"), Measure("inuse_space", "bytes"))
THREADS = "any"
"""memray knows no name of a thread that was there before it."""
KEY_BYTES = ACCOUNT_BYTES = 64
"""What the engine states of a key and of an account, besides the name of the latter."""

_MIB = 1 << 20
_SHOWN = {
    "VmRSS": "resident now",
    "VmHWM": "resident at the most",
    "VmSwap": "swapped out",
    "RssAnon": "resident, of no file",
    "RssFile": "resident, of files: the code, mostly",
    "Pss": "resident, what is shared divided by those who share it",
    "Private_Dirty": "written by this process alone",
    "AnonHugePages": "in huge pages",
    "VmSize": "reserved, and mostly never touched",
}
"""What is told of what the system counts, and what it is."""


def load_memray() -> Any:
    """Return memray. Raises the problem that says what is to be installed."""
    try:
        import memray
    except ImportError:
        detail = (
            "A window of the heap needs memray: pip install memray, then start the server anew."
        )
        raise Problem(PROFILER_MISSING, detail) from None
    return memray


async def watch_heap(path: Path, seconds: int) -> None:
    """Write to a new file what is allocated from now on, for a time or until it is cancelled.

    Raises Problem where memray is not installed, or at work already.
    """
    memray = load_memray()
    with ExitStack() as stack:
        try:
            tracker = memray.Tracker(
                destination=memray.FileDestination(path, overwrite=True, compress_on_exit=False),
                file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS,
            )
            stack.enter_context(tracker)
        except RuntimeError as error:
            # There is one for the whole process, which somebody has started under memray.
            raise Problem(PROFILE_RUNNING, f"memray is at work already: {error}.") from None
        await asyncio.sleep(seconds)


def read_heap(path: Path, seconds: int) -> Profile:
    """Return the profile that memray wrote. Blocks."""
    reader = load_memray().FileReader(path)
    try:
        rows = [
            Row(THREADS, _read_stack(record), (record.n_allocations, record.size))
            for record in reader.get_leaked_allocation_records(merge_threads=True)
        ]
    finally:
        reader.close()
    return Profile("Memory allocated and held", NOTE, MEASURES, rows, 1, float(seconds))


def _read_stack(record: Any) -> Stack:
    # memray has the inner frame first.
    places = record.stack_trace(max_stacks=FRAMES_MAX)
    return tuple(make_frame(name, file, line) for name, file, line in reversed(places))


def write_figures(statistics: Statistics) -> str:
    """Return the figures of the moment as text. Blocks for some milliseconds."""
    return "\n".join(_list_figures(statistics)) + "\n"


def _list_figures(statistics: Statistics) -> Iterator[str]:
    yield "memory of the process, as the system counts it"
    memory = read_memory()
    for name, meaning in _SHOWN.items():
        if name in memory:
            yield f"    {name:<16}{memory[name] / _MIB:>14,.1f} MiB {meaning}"
    yield ""
    yield "Python"
    yield f"    {'blocks':<16}{sys.getallocatedblocks():>14,} of its own allocator, in use"
    for number, count in enumerate(gc.get_count()):
        yield f"    {f'generation {number}':<16}{count:>14,} since its last collection"
    yield ""
    yield "the ledger"
    yield _write_count("accounts", statistics.accounts, ACCOUNT_BYTES, " and their names")
    yield _write_count("keys", statistics.keys, KEY_BYTES, f", of {statistics.keys_max:,} at most")
    yield f"    {'queue_depth':<16}{statistics.queue_depth:>14,}"
    yield f"    {'lsn_applied':<16}{statistics.lsn_applied:>14,}"
    behind = statistics.lsn_applied - statistics.lsn_durable
    yield f"    {'lsn_durable':<16}{statistics.lsn_durable:>14,}, {behind:,} records behind"
    yield ""
    yield "?seconds=N tells what is allocated, and where, within so many seconds."


def _write_count(name: str, count: int, each_bytes: int, rest: str) -> str:
    size = count * each_bytes / _MIB
    return f"    {name:<16}{count:>14,} in about {size:,.1f} MiB{rest}"
