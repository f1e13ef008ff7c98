"""The engine in this process: one call a transfer, in batches, from several threads, and durable.

This module owns how a stage uses an engine; the rules are the engine's. The stage with the journal
is that of the batches but for the directory, so what lies between the two is the price of the
promise. Threads do not hurt each other, since the engine locks stripes and holds no GIL.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

import ledgercore
from ledgercore import Engine, InvalidArgument, Status

from ..workloads import Call, Rows, Workload
from .stage import CallRunner, Runner, Stage

BATCH_ROWS = 8_192
KEYS_RESERVED = 2_500_000
"""How many keys get their memory at the start, so that no round has to wait for it."""
THREADS_MIN = 2
"""Also where there is one core only: a stage of threads has more than one."""

Outcomes = npt.NDArray[np.void]


def open_engine(path: Path | None = None, keys_reserved: int | None = None) -> Engine:
    """Open an engine, without a journal if it gets no directory."""
    return ledgercore.open(
        path,
        durability="memory" if path is None else "sync",
        keys_reserved=KEYS_RESERVED if keys_reserved is None else keys_reserved,
        snapshot_every=0,
    )


def read_balances(engine: Engine) -> dict[str, int]:
    """Return every account's balance by id."""
    accounts = engine.accounts(0, len(engine.balances))
    return {account.id: account.balance for account in accounts}


# -- one call a transfer --------------------------------------------------------------------------
class KernelRunner(CallRunner):
    """One call a transfer."""

    def __init__(self, engine: Engine, workload: Workload) -> None:
        super().__init__(workload)
        self._engine = engine
        workload.open_accounts(engine)

    def run(self, prepared: list[Call]) -> None:
        transfer, statuses = self._engine.transfer, []
        for source, target, amount, key in prepared:
            try:
                outcome = transfer(source, target, amount, key=key)
            except InvalidArgument:
                # Nothing but its amount can be wrong with a transfer of a workload.
                statuses.append(Status.AMOUNT_INVALID)
            else:
                statuses.append(outcome.status)
        self._statuses = statuses

    def balances(self) -> dict[str, int]:
        return read_balances(self._engine)


# -- in batches -----------------------------------------------------------------------------------
def apply_in_calls(engine: Engine, rows: Rows) -> list[Outcomes]:
    """Apply rows in calls of BATCH_ROWS, each of which waits for its own end."""
    starts = range(0, len(rows), BATCH_ROWS)
    return [engine.transfer_batch(rows[start : start + BATCH_ROWS]) for start in starts]


class BatchRunner(Runner):
    """One call a batch, from this thread, or from each of those that are given a share."""

    def __init__(
        self, engine: Engine, workload: Workload, threads: Sequence[ThreadPoolExecutor] = ()
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._outcomes: list[Outcomes] = []
        workload.open_accounts(engine)

    def prepare(self, rows: Rows) -> Rows:
        """Return the rows: they are what the engine takes."""
        return rows

    def run(self, prepared: Rows) -> None:
        if not self._threads:
            self._outcomes = apply_in_calls(self._engine, prepared)
            return
        shares = np.array_split(prepared, len(self._threads))
        parts = [
            thread.submit(apply_in_calls, self._engine, share)
            for thread, share in zip(self._threads, shares, strict=True)
        ]
        self._outcomes = [outcomes for part in parts for outcomes in part.result()]

    @property
    def statuses(self) -> list[Status]:
        return [Status(number) for part in self._outcomes for number in part["status"].tolist()]

    def balances(self) -> dict[str, int]:
        return read_balances(self._engine)


@contextmanager
def open_in_process(
    make: Callable[[Engine, Workload], Runner],
    workload: Workload,
    scratch: Path,
    *,
    is_durable: bool = False,
) -> Iterator[Runner]:
    """Yield a stage of one thread, which needs no disk unless it is to be durable."""
    with open_engine(scratch / "journal" if is_durable else None) as engine:
        yield make(engine, workload)


@contextmanager
def open_threads(workload: Workload, scratch: Path) -> Iterator[BatchRunner]:
    """Yield the stage of a thread for every core that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    places = [cores[number % len(cores)] for number in range(max(THREADS_MIN, len(cores)))]
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine())
        # One pool a thread, so that no thread takes what is meant for another. Each stays on its
        # core: in so short a time nobody would move it to an idle one.
        threads = [
            stack.enter_context(
                ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {core}))
            )
            for core in places
        ]
        yield BatchRunner(engine, workload, threads)


BATCHED = 24 * BATCH_ROWS
KERNEL = Stage(
    "kernel",
    "Cython engine, one a call",
    "in memory",
    60_000,
    partial(open_in_process, KernelRunner),
)
BATCHES = Stage(
    "batches",
    f"Cython engine, {BATCH_ROWS:,} a call",
    "in memory",
    BATCHED,
    partial(open_in_process, BatchRunner),
)
THREADS = Stage(
    "threads", "in batches, a thread for each core", "in memory", BATCHED, open_threads, spread=True
)
JOURNAL = Stage(
    "journal",
    f"with the journal, {BATCH_ROWS:,} a call",
    "durable",
    BATCHED,
    partial(open_in_process, BatchRunner, is_durable=True),
)
