"""What Linux tells of this process under /proc: its threads and its memory.

This module owns the reading of these files. It never writes one, and keeps nothing.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..units import NS_PER_S

_SELF = Path("/proc/self")
_TICK_NS = NS_PER_S // os.sysconf("SC_CLK_TCK")
_KIB = 1024
STATES = {"R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped"}

_match_amount = re.compile(r"(\w+):\s+(\d+) kB").fullmatch
_ADDRESS = re.compile(rb"(\w+://)(?:[^\s\x00/?#]*@)?([^\s\x00/?#@]*)[^\s\x00]*")


@dataclass(frozen=True, slots=True)
class ThreadFacts:
    """A thread as the system knows it. Processor time comes in ticks, mostly of 10 ms."""

    native_id: int
    name: str
    state: str
    cpu_ns: int


def read_thread(native_id: int) -> ThreadFacts | None:
    """Return what is known of a thread; None where it has ended."""
    try:
        text = (_SELF / "task" / str(native_id) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything; the other fields follow it.
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    cpu_ns = (int(fields[11]) + int(fields[12])) * _TICK_NS
    return ThreadFacts(native_id, head.partition("(")[2], STATES.get(fields[0], fields[0]), cpu_ns)


def read_threads() -> dict[int, ThreadFacts]:
    """Return all threads of this process by their native ids."""
    ids = sorted(int(task.name) for task in (_SELF / "task").iterdir())
    found = map(read_thread, ids)
    return {thread.native_id: thread for thread in found if thread is not None}


def read_memory() -> dict[str, int]:
    """Return what the system counts of the memory of this process, in bytes.

    Names that begin with `Vm` are of the status file, with peaks; the others sum up smaps, where
    the system has that. Takes milliseconds for a large process.
    """
    memory: dict[str, int] = {}
    for name in ("status", "smaps_rollup"):
        with suppress(FileNotFoundError, PermissionError):
            memory.update(_read_amounts((_SELF / name).read_text()))
    return memory


def _read_amounts(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        if found := _match_amount(line.strip()):
            yield found[1], int(found[2]) * _KIB


def read_command_line() -> bytes:
    """Return the arguments of this process, each ended by a NUL; URLs up to their port only.

    What follows may be a credential, and so may what comes before an @.
    """
    return _ADDRESS.sub(rb"\1\2", (_SELF / "cmdline").read_bytes())
