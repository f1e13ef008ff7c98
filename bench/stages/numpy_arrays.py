"""The accounts in numpy arrays, still one call a transfer: what arrays alone do not bring.

It is the pure-Python stage but for where the balances lie. Each look at a single item of an array
makes a Python object of it, which a dict has already.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from ledgercore import Status

from ..workloads import WORLD, Workload
from .python_dict import INT64_MAX, INT64_MIN, DictLedger
from .stage import CallRunner, Stage


class ArrayLedger(DictLedger):
    """A ledger whose accounts are slots of arrays: of one asset each, none of them frozen.

    A floor of INT64_MIN and a ceiling of INT64_MAX stand for no limit.
    """

    def __init__(self, accounts_max: int) -> None:
        super().__init__()
        self.slots: dict[str, int] = {}
        self.balances = np.zeros(accounts_max, np.int64)
        self._floors = np.zeros(accounts_max, np.int64)
        self._ceilings = np.full(accounts_max, INT64_MAX)
        self._assets = np.zeros(accounts_max, np.uint16)
        self._frozen = np.zeros(accounts_max, np.bool_)

    def open_account(self, name: str, floor: int | None) -> None:
        """Open an account in the next free slot."""
        slot = len(self.slots)
        self.slots[name] = slot
        self._floors[slot] = INT64_MIN if floor is None else floor

    def _post(self, source: str, target: str, amount: int) -> Status:
        giver, receiver = self.slots.get(source), self.slots.get(target)
        if giver is None:
            return Status.SOURCE_NOT_FOUND
        if receiver is None:
            return Status.TARGET_NOT_FOUND
        if giver == receiver:
            return Status.SAME_ACCOUNT
        if self._assets[giver] != self._assets[receiver]:
            return Status.ASSET_MISMATCH
        if self._frozen[giver]:
            return Status.SOURCE_FROZEN
        if self._frozen[receiver]:
            return Status.TARGET_FROZEN
        # Integers of Python, since those of numpy would wrap around.
        less, more = int(self.balances[giver]) - amount, int(self.balances[receiver]) + amount
        floor, ceiling = self._floors[giver], self._ceilings[receiver]
        if floor != INT64_MIN and less < floor:
            return Status.INSUFFICIENT_FUNDS
        if ceiling != INT64_MAX and more > ceiling:
            return Status.CEILING_EXCEEDED
        if less < INT64_MIN or more > INT64_MAX:
            return Status.BALANCE_OVERFLOW
        self.balances[giver], self.balances[receiver] = less, more
        return Status.APPLIED


class ArrayRunner(CallRunner):
    """One call a transfer."""

    def __init__(self, workload: Workload) -> None:
        self._ledger = ArrayLedger(workload.accounts + 1)
        super().__init__(workload)
        self.transfer = self._ledger.transfer
        for name in workload.names():
            self._ledger.open_account(name, workload.floor)
        if workload.funds:
            self._ledger.open_account(WORLD, None)
        self.run(self.prepare(workload.funding()))

    def balances(self) -> dict[str, int]:
        return dict(zip(self._ledger.slots, self._ledger.balances.tolist(), strict=False))


def _open(workload: Workload, scratch: Path) -> AbstractContextManager[ArrayRunner]:
    return nullcontext(ArrayRunner(workload))


ARRAYS = Stage("numpy", "numpy arrays, one lock", "in memory", 50_000, _open)
