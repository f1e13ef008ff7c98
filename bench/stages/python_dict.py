"""The pure-Python stage: accounts and keys in dicts, under one lock.

It keeps the rules of the engine, in their order, and is what all other stages are compared with.
Its keys are kept for ever, and it owns no file: everything is gone with the process.
"""

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ledgercore import Status

from ..workloads import ASSET, WORLD, Workload
from .stage import CallRunner, Stage

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

Stored = tuple[str, str, int, Status, int]
"""What is kept under a key: source, target, amount, outcome, and number in the log."""


@dataclass(slots=True)
class Account:
    """An account. `floor` or `ceiling` None means no limit."""

    asset: str
    floor: int | None = 0
    ceiling: int | None = None
    frozen: bool = False
    balance: int = 0


class DictLedger:
    """A ledger as one would write it first."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._keys: dict[str, Stored] = {}
        self._lock = threading.Lock()
        self._lsn = 0

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
        giver, receiver = self.accounts.get(source), self.accounts.get(target)
        if giver is None:
            return Status.SOURCE_NOT_FOUND
        if receiver is None:
            return Status.TARGET_NOT_FOUND
        if giver is receiver:
            return Status.SAME_ACCOUNT
        if giver.asset != receiver.asset:
            return Status.ASSET_MISMATCH
        if giver.frozen:
            return Status.SOURCE_FROZEN
        if receiver.frozen:
            return Status.TARGET_FROZEN
        less, more = giver.balance - amount, receiver.balance + amount
        if giver.floor is not None and less < giver.floor:
            return Status.INSUFFICIENT_FUNDS
        if receiver.ceiling is not None and more > receiver.ceiling:
            return Status.CEILING_EXCEEDED
        if less < INT64_MIN or more > INT64_MAX:
            return Status.BALANCE_OVERFLOW
        giver.balance, receiver.balance = less, more
        return Status.APPLIED


class DictRunner(CallRunner):
    """One call a transfer."""

    def __init__(self, workload: Workload) -> None:
        ledger = DictLedger()
        super().__init__(workload)
        self.transfer = ledger.transfer
        self._accounts = ledger.accounts
        self._accounts |= {name: Account(ASSET, workload.floor) for name in workload.names()}
        if workload.funds:
            self._accounts[WORLD] = Account(ASSET, None)
        self.run(self.prepare(workload.funding()))

    def balances(self) -> dict[str, int]:
        return {name: account.balance for name, account in self._accounts.items()}


def _open(workload: Workload, scratch: Path) -> AbstractContextManager[DictRunner]:
    return nullcontext(DictRunner(workload))


DICT = Stage("dict", "Python dicts, one lock", "in memory", 60_000, _open)
