"""The independent auditor: the whole ledger in dicts and ints, written from the rules alone.

It shares no code with the engine but the names of the statuses and errors. Tests give the engine
and this model the same history and compare every answer; `rederive` lets it judge a journal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledgercore.errors import AccountExists, AccountNotFound, InvalidArgument, LimitConflict
from ledgercore.status import Status

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
KEEP: Any = object()
"""Stands for 'this setting was not given' in `Model.change`, where None means 'no limit'."""


@dataclass(slots=True)
class Holding:
    """An account: its settings and what it holds."""

    asset: str
    floor: int | None = 0
    ceiling: int | None = None
    frozen: bool = False
    balance: int = 0

    def allows(self, balance: int) -> bool:
        """Whether `balance` lies within the limits."""
        above = self.floor is None or balance >= self.floor
        return above and (self.ceiling is None or balance <= self.ceiling)


class Answer(NamedTuple):
    """What became of a transfer: `id` is 0 where nothing was stored."""

    status: Status
    id: int
    replayed: bool


class Logged(NamedTuple):
    """One outcome as the log holds it."""

    status: Status
    source: str
    target: str
    amount: int
    memo: str | None
    asset: str | None
    time: int

    @property
    def payload(self) -> tuple[str, str, int, str | None]:
        """What a second request with the same key has to repeat."""
        return self.source, self.target, self.amount, self.memo


@dataclass(slots=True)
class Model:
    """A ledger. `ttl` is in the unit of the times that it is given."""

    ttl: int = 2**63
    lsn: int = 0
    accounts: dict[str, Holding] = field(default_factory=dict)
    transfers: dict[int, Logged] = field(default_factory=dict)
    keys: dict[tuple[str, Any], int] = field(default_factory=dict)

    def open(self, id: str, settings: Holding) -> bool:
        """Open an account; False if it was there with the same settings."""
        if not settings.allows(0):
            raise InvalidArgument("floor", "an account opens at balance 0")
        known = self.accounts.get(id)
        if known is not None:
            was = (known.asset, known.floor, known.ceiling, known.frozen)
            if was != (settings.asset, settings.floor, settings.ceiling, settings.frozen):
                raise AccountExists(id)
            return False
        self.accounts[id] = settings
        self.lsn += 1
        return True

    def change(self, id: str, floor: Any = KEEP, ceiling: Any = KEEP, frozen: Any = KEEP) -> bool:
        """Change settings; False if they stood like that already."""
        if id not in self.accounts:
            raise AccountNotFound(id)
        was = self.accounts[id]
        now = Holding(
            was.asset,
            was.floor if floor is KEEP else floor,
            was.ceiling if ceiling is KEEP else ceiling,
            was.frozen if frozen is KEEP else frozen,
            was.balance,
        )
        if now == was:
            return False
        if not now.allows(now.balance):
            raise LimitConflict(id)
        self.accounts[id] = now
        self.lsn += 1
        return True

    def transfer(
        self, client: str, key: Any, source: str, target: str, amount: int, memo: Any, time: int
    ) -> Answer:
        """Judge one transfer, and move the money if no rule forbids it."""
        if not any(key):
            return Answer(Status.KEY_MISSING, 0, False)
        if amount <= 0:
            return Answer(Status.AMOUNT_INVALID, 0, False)
        first = self.keys.get((client, key))
        if first is not None and time - self.transfers[first].time < self.ttl:
            same = self.transfers[first].payload == (source, target, amount, memo)
            status = self.transfers[first].status if same else Status.KEY_REUSED
            return Answer(status, first if same else 0, same)
        status = self.judge(source, target, amount)
        self.lsn += 1
        both = source in self.accounts and target in self.accounts
        asset = self.accounts[source].asset if both else None
        self.transfers[self.lsn] = Logged(status, source, target, amount, memo, asset, time)
        self.keys[client, key] = self.lsn
        if status is Status.APPLIED:
            self.accounts[source].balance -= amount
            self.accounts[target].balance += amount
        return Answer(status, self.lsn, False)

    def judge(self, source: str, target: str, amount: int) -> Status:
        """The rules, in their order of precedence."""
        giver, taker = self.accounts.get(source), self.accounts.get(target)
        if giver is None:
            return Status.SOURCE_NOT_FOUND
        if taker is None:
            return Status.TARGET_NOT_FOUND
        less, more = giver.balance - amount, taker.balance + amount
        rules = {
            Status.SAME_ACCOUNT: source == target,
            Status.ASSET_MISMATCH: giver.asset != taker.asset,
            Status.SOURCE_FROZEN: giver.frozen,
            Status.TARGET_FROZEN: taker.frozen,
            Status.INSUFFICIENT_FUNDS: giver.floor is not None and less < giver.floor,
            Status.CEILING_EXCEEDED: taker.ceiling is not None and more > taker.ceiling,
            Status.BALANCE_OVERFLOW: less < INT64_MIN or more > INT64_MAX,
        }
        return next((status for status, broken in rules.items() if broken), Status.APPLIED)

    def sums(self) -> dict[str, int]:
        """The sum of all balances per asset, 0 each in a sound ledger."""
        sums = dict.fromkeys((account.asset for account in self.accounts.values()), 0)
        for account in self.accounts.values():
            sums[account.asset] += account.balance
        return sums


def rederive(entries: Iterable[Any], ttl: int = 2**63) -> Model:
    """Replay a journal in LSN order and derive each outcome anew; AssertionError where it differs.

    `entries` are `ledgercore.JournalEntry`. Keys stand there as fingerprints, client included.
    """
    model = Model(ttl)
    for entry in entries:
        limits = {"floor": entry.floor, "ceiling": entry.ceiling, "frozen": entry.frozen}
        if entry.kind == "account-opened":
            assert model.open(entry.account, Holding(entry.asset, **limits)), entry
        elif entry.kind == "account-changed":
            assert model.change(entry.account, **limits), entry
        else:
            payload = (entry.source, entry.target, entry.amount, entry.memo)
            answer = model.transfer("", bytes(entry.key), *payload, entry.time_ns)
            assert answer == (entry.status, entry.lsn, False), (entry, answer)
        assert model.lsn == entry.lsn, f"LSN {entry.lsn} stands where {model.lsn} was expected"
    return model
