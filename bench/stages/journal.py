"""The engine with its journal: each batch is on the disk before the next one is sent.

This is the stage of the batches but for the directory, so what lies between the two is the price
of the promise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..workloads import Workload
from .batches import BATCH_ROWS, BatchRunner
from .kernel import open_engine
from .stage import Stage


@contextmanager
def open_journal(workload: Workload, scratch: Path) -> Iterator[BatchRunner]:
    """Yield the stage, whose journal lies in `scratch`."""
    with open_engine(scratch / "journal") as engine:
        yield BatchRunner(engine, workload)


STAGE = Stage(
    name="journal",
    title=f"with the journal, {BATCH_ROWS:,} a call",
    promise="durable",
    transfers=24 * BATCH_ROWS,
    open=open_journal,
)
