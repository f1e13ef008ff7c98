"""The engine in memory, given rows of numpy by the batch: what is paid once a call is shared.

This module owns how a stage uses an engine by batches. The journal's stage is the same on a disk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ledgercore import Engine, Status

from ..workloads import Rows, Workload
from .kernel import open_engine, read_balances
from .stage import Runner, Stage

BATCH_ROWS = 8_192

Outcomes = npt.NDArray[np.void]


def apply_in_calls(engine: Engine, rows: Rows) -> list[Outcomes]:
    """Apply rows in calls of BATCH_ROWS, each of which waits for its own end."""
    starts = range(0, len(rows), BATCH_ROWS)
    return [engine.transfer_batch(rows[start : start + BATCH_ROWS]) for start in starts]


class BatchRunner(Runner):
    """One call a batch."""

    def __init__(self, engine: Engine, workload: Workload) -> None:
        self._engine = engine
        self._outcomes: list[Outcomes] = []
        workload.open_accounts(engine)

    def prepare(self, rows: Rows) -> Rows:
        """Return the rows: they are what the engine takes."""
        return rows

    def run(self, prepared: Rows) -> None:
        """Make the calls."""
        self._outcomes = apply_in_calls(self._engine, prepared)

    @property
    def statuses(self) -> list[Status]:
        """What the calls returned."""
        return [Status(number) for part in self._outcomes for number in part["status"].tolist()]

    def balances(self) -> dict[str, int]:
        """Return every account's balance."""
        return read_balances(self._engine)


@contextmanager
def open_batches(workload: Workload, scratch: Path) -> Iterator[BatchRunner]:
    """Yield the stage, which needs no disk."""
    with open_engine() as engine:
        yield BatchRunner(engine, workload)


STAGE = Stage(
    name="batches",
    title=f"Cython engine, {BATCH_ROWS:,} a call",
    promise="in memory",
    transfers=24 * BATCH_ROWS,
    open=open_batches,
)
