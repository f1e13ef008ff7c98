"""The engine of ledgercore without a server: one transfer a call, and batches of them."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np

import ledgercore
from ledgercore import TRANSFER, Engine, Status, __version__

from ..machine import run_on
from ..workloads import ASSET, WORLD, Call, Rows
from .peer import FUNDS, Peer, PeerFailed, Round, Settings

BATCH_ROWS = 8_192
SPARE_KEYS = 1_000_000
"""Keys for what is asked besides the transfers of the rounds, and then some."""


class EnginePeer(Peer):
    """A ledger in this process, and as many threads that call `transfer` as there are clients."""

    title = "ledgercore, transfer()"
    durability = "on the disk: one sync for the calls of all threads that wait"
    directory = "engine"
    is_embedded = True

    def __init__(self, settings: Settings, keys_reserved: int = 0) -> None:
        super().__init__(settings, __version__)
        self.asks = [self.call] * settings.clients
        with ExitStack() as stack, run_on(settings.core):
            path = settings.scratch / self.directory
            self._engine = stack.enter_context(
                ledgercore.open(
                    path,
                    keys_max=settings.transfers + settings.accounts + SPARE_KEYS,
                    keys_reserved=keys_reserved,
                    snapshot_every=0,
                )
            )
            open_funded(self._engine, settings.names)
            self._stack = stack.pop_all()

    def call(self, call: Call) -> bool:
        """Make one call."""
        source, target, amount, key = call
        return tell(self._engine.transfer(source, target, amount, key=key).status)

    def read_balances(self) -> Mapping[str, int]:
        """Return the balances of all accounts but `world`, after an audit of all."""
        audit = self._engine.audit()
        if not audit.ok:
            raise PeerFailed(f"the audit fails: {audit}")
        accounts = self._engine.accounts(0, len(self._engine.balances))
        return {account.id: account.balance for account in accounts if account.id != WORLD}


class BatchPeer(EnginePeer):
    """A ledger in this process, and one thread that hands over many transfers at a time."""

    title = f"ledgercore, transfer_batch() of {BATCH_ROWS:,}"
    durability = "on the disk: one sync for each batch"
    directory = "batches"

    def __init__(self, settings: Settings) -> None:
        # A table that grows stands still for moments, and rounds of this peer are short.
        super().__init__(settings, keys_reserved=settings.transfers + settings.accounts)
        self.asks = [self.call]

    def call(self, call: Call) -> bool:
        """Make one call, as a batch of one."""
        outcomes = self._engine.transfer_batch(make_rows(self._engine, [call]))
        return tell(Status(int(outcomes["status"][0])))

    def run(self, calls: Sequence[Call], seconds: float) -> Round:
        """Hand over batch after batch; the rows are made before the clock starts."""
        rows = make_rows(self._engine, calls)
        done = 0
        with run_on(self.core):
            started = time.perf_counter()
            while done < len(rows) and time.perf_counter() < started + seconds:
                batch = rows[done : done + BATCH_ROWS]
                if np.any(self._engine.transfer_batch(batch)["status"] != Status.APPLIED):
                    raise PeerFailed("a transfer was refused, though the money was there")
                done += len(batch)
            took_s = time.perf_counter() - started
        return Round(calls[:done], took_s, [], None)


def tell(status: Status) -> bool:
    """Tell whether a transfer was applied. Raises PeerFailed if it is neither that nor refused."""
    if status not in (Status.APPLIED, Status.INSUFFICIENT_FUNDS):
        raise PeerFailed(f"answered {status.name}")
    return status is Status.APPLIED


def open_funded(engine: Engine, names: Sequence[str]) -> None:
    """Open the accounts, and give FUNDS to each of them from an account without a floor."""
    engine.open_account(WORLD, asset=ASSET, floor=None)
    engine.open_accounts(names, asset=ASSET)
    calls = [(WORLD, name, FUNDS, f"fund-{name}") for name in names]
    outcomes = engine.transfer_batch(make_rows(engine, calls))
    if np.any(outcomes["status"] != Status.APPLIED):
        raise PeerFailed("the accounts cannot be funded")


def make_rows(engine: Engine, calls: Sequence[Call]) -> Rows:
    """Return calls as rows of TRANSFER, shape (len(calls),)."""
    sources, targets, amounts, keys = zip(*calls, strict=True)
    rows = np.zeros(len(calls), TRANSFER)
    rows["key"] = engine.fingerprints(keys)
    rows["from"], rows["to"] = engine.slots(sources), engine.slots(targets)
    rows["amount"] = amounts
    return rows
