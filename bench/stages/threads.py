"""The engine in memory, given batches by several threads at once, none of which holds the GIL.

This module owns the threads. That they do not hurt each other is the engine's doing: it locks
stripes of accounts and keys, and never the whole.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from ledgercore import Engine

from ..workloads import Rows, Workload
from .batches import BATCH_ROWS, BatchRunner, apply_in_calls
from .kernel import open_engine
from .stage import Stage

THREADS_MIN = 2
"""Also where there is one core only: a stage of threads has more than one."""


class ThreadsRunner(BatchRunner):
    """One call a batch, from each thread."""

    def __init__(
        self, engine: Engine, workload: Workload, threads: list[ThreadPoolExecutor]
    ) -> None:
        super().__init__(engine, workload)
        self._threads = threads

    def run(self, prepared: Rows) -> None:
        """Let every thread apply its share of the rows, in calls of its own."""
        shares = np.array_split(prepared, len(self._threads))
        parts = [
            thread.submit(apply_in_calls, self._engine, share)
            for thread, share in zip(self._threads, shares, strict=True)
        ]
        self._outcomes = [outcomes for part in parts for outcomes in part.result()]


def pick_thread_cores() -> list[int]:
    """Return the core of each thread: one thread for every core that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    return [cores[number % len(cores)] for number in range(max(THREADS_MIN, len(cores)))]


def stay_on(core: int) -> None:
    """Keep the calling thread on a core: in so short a time nobody would move it to an idle one."""
    os.sched_setaffinity(0, {core})


@contextmanager
def open_threads(workload: Workload, scratch: Path) -> Iterator[ThreadsRunner]:
    """Yield the stage, which needs no disk."""
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine())
        # One pool a thread, so that no thread takes what is meant for another.
        threads = [
            stack.enter_context(ThreadPoolExecutor(1, initializer=stay_on, initargs=(core,)))
            for core in pick_thread_cores()
        ]
        yield ThreadsRunner(engine, workload, threads)


STAGE = Stage(
    name="threads",
    title="in batches, a thread for each core",
    promise="in memory",
    transfers=24 * BATCH_ROWS,
    open=open_threads,
    spread=True,
)
