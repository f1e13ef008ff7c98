"""The engine in memory, one call a transfer: the same work as the stages in Python, compiled.

This module owns how a stage uses an engine by single calls. The rules are the engine's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ledgercore
from ledgercore import Engine, InvalidArgument, Status

from ..workloads import Call, Rows, Workload
from .stage import Runner, Stage

KEYS_RESERVED = 2_500_000
"""How many keys get their memory at the start, so that no round has to wait for it."""
SERVER_KEYS_RESERVED = 200_000
"""The same for an engine behind HTTP, where a round is smaller."""


def open_engine(path: Path | None = None, keys_reserved: int | None = None) -> Engine:
    """Open an engine, without a journal if it gets no directory."""
    keys_reserved = KEYS_RESERVED if keys_reserved is None else keys_reserved
    return ledgercore.open(
        path,
        durability="memory" if path is None else "sync",
        keys_reserved=keys_reserved,
        snapshot_every=0,
    )


def read_balances(engine: Engine) -> dict[str, int]:
    """Return every account's balance by id."""
    accounts = engine.accounts(0, len(engine.balances))
    return {account.id: account.balance for account in accounts}


class KernelRunner(Runner):
    """One call a transfer."""

    def __init__(self, engine: Engine, workload: Workload) -> None:
        self._engine = engine
        self._workload = workload
        self._statuses: list[Status] = []
        workload.open_accounts(engine)

    def prepare(self, rows: Rows) -> list[Call]:
        """Return the arguments of each call."""
        return self._workload.spell(rows)

    def run(self, prepared: list[Call]) -> None:
        """Make the calls."""
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

    @property
    def statuses(self) -> list[Status]:
        """What each call returned."""
        return self._statuses

    def balances(self) -> dict[str, int]:
        """Return every account's balance."""
        return read_balances(self._engine)


@contextmanager
def open_kernel(workload: Workload, scratch: Path) -> Iterator[KernelRunner]:
    """Yield the stage, which needs no disk."""
    with open_engine() as engine:
        yield KernelRunner(engine, workload)


STAGE = Stage(
    name="kernel",
    title="Cython engine, one a call",
    promise="in memory",
    transfers=60_000,
    open=open_kernel,
)
