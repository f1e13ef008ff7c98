"""SQLite as a ledger: a file, one writer, and one transaction for each transfer."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from ..workloads import Call
from .peer import FUNDS, Peer, PeerFailed, Settings, run_clients

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    balance INTEGER NOT NULL,
    floor INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE transfers (
    key TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    amount INTEGER NOT NULL,
    is_applied INTEGER NOT NULL
) WITHOUT ROWID;
"""
OPEN = "INSERT INTO accounts VALUES (?, ?, 0)"
SEEN = "SELECT is_applied FROM transfers WHERE key = ?"
DEBIT = "UPDATE accounts SET balance = balance - ?1 WHERE id = ?2 AND balance - ?1 >= floor"
CREDIT = "UPDATE accounts SET balance = balance + ?1 WHERE id = ?2"
KEEP = "INSERT INTO transfers VALUES (?, ?, ?, ?, ?)"


@contextmanager
def open_sqlite(settings: Settings) -> Iterator[Peer]:
    """Open a database file. One client, since SQLite lets one transaction write at a time."""
    path = settings.scratch / "peer.sqlite"
    # The client is a thread of its own; this one only opens, checks and closes.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing(connection):
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        connection.executemany(OPEN, [(name, FUNDS) for name in settings.names])
        connection.execute("COMMIT")
        ask = partial(transfer, connection)
        yield Peer(
            "SQLite, one transaction each",
            "on the disk: one sync for each transfer (WAL, synchronous=FULL)",
            sqlite3.sqlite_version,
            1,
            ask,
            partial(run_clients, [ask], settings.core, is_embedded=True),
            lambda: dict(connection.execute("SELECT id, balance FROM accounts")),
        )


def transfer(connection: sqlite3.Connection, call: Call) -> bool:
    """Make one call in a transaction of its own."""
    source, target, amount, key = call
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    try:
        seen = execute(SEEN, (key,)).fetchone()
        if seen is not None:
            execute("ROLLBACK")
            return bool(seen[0])
        is_applied = execute(DEBIT, (amount, source)).rowcount == 1
        if is_applied and execute(CREDIT, (amount, target)).rowcount != 1:
            raise PeerFailed(f"there is no account {target}")
        execute(KEEP, (key, source, target, amount, is_applied))
        execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            execute("ROLLBACK")
        raise
    return is_applied
