"""The accounts in numpy arrays, still one call a transfer: what arrays alone do not bring.

It is the pure-Python stage but for where the balances lie. Each look at a single item of an array
makes a Python object of it, which a dict has already.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ledgercore import Status

from ..workloads import WORLD, Workload
from .python_dict import INT64_MAX, INT64_MIN, Stored
from .stage import CallRunner, Stage


class ArrayLedger:
    """A ledger whose accounts are slots of arrays: of one asset each, none of them frozen.

    A floor of INT64_MIN and a ceiling of INT64_MAX stand for no limit.
    """

    def __init__(self, accounts_max: int) -> None:
        self.slots: dict[str, int] = {}
        self.balances = np.zeros(accounts_max, np.int64)
        self._floors = np.zeros(accounts_max, np.int64)
        self._ceilings = np.full(accounts_max, INT64_MAX)
        self._assets = np.zeros(accounts_max, np.uint16)
        self._frozen = np.zeros(accounts_max, np.bool_)
        self._keys: dict[str, Stored] = {}
        self._lock = threading.Lock()
        self._lsn = 0

    def open_account(self, name: str, floor: int | None) -> None:
        """Open an account in the next free slot."""
        slot = len(self.slots)
        self.slots[name] = slot
        self._floors[slot] = INT64_MIN if floor is None else floor

    def transfer(self, source: str, target: str, amount: int, key: str) -> Status:
        """Move `amount` minor units, at most once per key."""
        if amount <= 0:
            return Status.AMOUNT_INVALID
        with self._lock:
            stored = self._keys.get(key)
            if stored is not None:
                is_same = stored[:3] == (source, target, amount)
                return stored[3] if is_same else Status.KEY_REUSED
            status = self._post(source, target, amount)
            self._lsn += 1
            self._keys[key] = (source, target, amount, status, self._lsn)
            return status

    def _post(self, source: str, target: str, amount: int) -> Status:
        """Judge a transfer by the rules, in order of precedence, and move the money."""
        giver, taker = self.slots.get(source), self.slots.get(target)
        if giver is None:
            return Status.SOURCE_NOT_FOUND
        if taker is None:
            return Status.TARGET_NOT_FOUND
        if giver == taker:
            return Status.SAME_ACCOUNT
        if self._assets[giver] != self._assets[taker]:
            return Status.ASSET_MISMATCH
        if self._frozen[giver]:
            return Status.SOURCE_FROZEN
        if self._frozen[taker]:
            return Status.TARGET_FROZEN
        # Integers of Python, since those of numpy would wrap around.
        less, more = int(self.balances[giver]) - amount, int(self.balances[taker]) + amount
        floor, ceiling = self._floors[giver], self._ceilings[taker]
        if floor != INT64_MIN and less < floor:
            return Status.INSUFFICIENT_FUNDS
        if ceiling != INT64_MAX and more > ceiling:
            return Status.CEILING_EXCEEDED
        if less < INT64_MIN or more > INT64_MAX:
            return Status.BALANCE_OVERFLOW
        self.balances[giver], self.balances[taker] = less, more
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
        """Return every account's balance."""
        balances = self._ledger.balances.tolist()
        return {name: balances[slot] for name, slot in self._ledger.slots.items()}


@contextmanager
def open_arrays(workload: Workload, scratch: Path) -> Iterator[ArrayRunner]:
    """Yield the stage, which needs no disk."""
    yield ArrayRunner(workload)


ARRAYS = Stage("numpy", "numpy arrays, one lock", "in memory", 50_000, open_arrays)
