"""The engine of ledgercore without a server: one transfer a call, and batches of them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

import ledgercore
from ledgercore import TRANSFER, Engine, Status, __version__

from ..machine import run_on
from ..workloads import ASSET, WORLD, Call, Rows
from .peer import FUNDS, Peer, PeerFailed, Round, Settings, run_clients

BATCH_ROWS = 8_192
SPARE_KEYS = 1_000_000
"""Keys for what is asked besides the transfers of the rounds, and then some."""


@contextmanager
def open_ledger(settings: Settings, name: str, keys_reserved: int = 0) -> Iterator[Engine]:
    """Open a ledger in this process, whose accounts are funded by one without a floor."""
    with run_on(settings.core):
        engine = ledgercore.open(
            settings.scratch / name,
            keys_max=settings.transfers + settings.accounts + SPARE_KEYS,
            keys_reserved=keys_reserved,
            snapshot_every=0,
        )
    with engine:
        engine.open_account(WORLD, asset=ASSET, floor=None)
        engine.open_accounts(settings.names, asset=ASSET)
        calls = [(WORLD, name, FUNDS, f"fund-{name}") for name in settings.names]
        outcomes = engine.transfer_batch(make_rows(engine, calls))
        if np.any(outcomes["status"] != Status.APPLIED):
            raise PeerFailed("the accounts cannot be funded")
        yield engine


@contextmanager
def open_engine(settings: Settings) -> Iterator[Peer]:
    """Open a ledger, and as many threads that call `transfer` as there are clients."""
    with open_ledger(settings, "engine") as engine:

        def ask(call: Call) -> bool:
            source, target, amount, key = call
            return is_applied(engine.transfer(source, target, amount, key=key).status)

        yield Peer(
            "ledgercore, transfer()",
            "on the disk: one sync for the calls of all threads that wait",
            __version__,
            settings.clients,
            ask,
            partial(run_clients, [ask] * settings.clients, settings.core, is_embedded=True),
            partial(read_balances, engine),
        )


@contextmanager
def open_batches(settings: Settings) -> Iterator[Peer]:
    """Open a ledger, and one thread that hands over many transfers at a time."""
    # A table that grows stands still for moments, and rounds of this peer are short.
    keys = settings.transfers + settings.accounts
    with open_ledger(settings, "batches", keys) as engine:

        def ask(call: Call) -> bool:
            outcomes = engine.transfer_batch(make_rows(engine, [call]))
            return is_applied(Status(int(outcomes["status"][0])))

        yield Peer(
            f"ledgercore, transfer_batch() of {BATCH_ROWS:,}",
            "on the disk: one sync for each batch",
            __version__,
            1,
            ask,
            partial(run_batches, engine, settings.core),
            partial(read_balances, engine),
        )


def run_batches(engine: Engine, core: int, calls: Sequence[Call], seconds: float) -> Round:
    """Hand over batch after batch; the rows are made before the clock starts."""
    rows = make_rows(engine, calls)
    done = 0
    with run_on(core):
        started = time.perf_counter()
        while done < len(rows) and time.perf_counter() < started + seconds:
            batch = rows[done : done + BATCH_ROWS]
            if np.any(engine.transfer_batch(batch)["status"] != Status.APPLIED):
                raise PeerFailed("a transfer was refused, though the money was there")
            done += len(batch)
        took_s = time.perf_counter() - started
    return Round(calls[:done], took_s, [], None)


def read_balances(engine: Engine) -> dict[str, int]:
    """Return the balances of all accounts but `world`, after an audit of all."""
    audit = engine.audit()
    if not audit.ok:
        raise PeerFailed(f"the audit fails: {audit}")
    accounts = engine.accounts(0, len(engine.balances))
    return {account.id: account.balance for account in accounts if account.id != WORLD}


def is_applied(status: Status) -> bool:
    """Return whether a transfer was applied. Raises PeerFailed if it was not refused either."""
    if status not in (Status.APPLIED, Status.INSUFFICIENT_FUNDS):
        raise PeerFailed(f"answered {status.name}")
    return status is Status.APPLIED


def make_rows(engine: Engine, calls: Sequence[Call]) -> Rows:
    """Return calls as rows of TRANSFER, shape (len(calls),)."""
    sources, targets, amounts, keys = zip(*calls, strict=True)
    rows = np.zeros(len(calls), TRANSFER)
    rows["key"] = engine.fingerprints(keys)
    rows["from"], rows["to"] = engine.slots(sources), engine.slots(targets)
    rows["amount"] = amounts
    return rows
