"""SQLite as a ledger: a file, one writer, and one transaction for each transfer."""

import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack, closing

from ..workloads import Call
from .peer import FUNDS, Peer, PeerFailed, Settings

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


class SqlitePeer(Peer):
    """A database file. One client, since SQLite lets one transaction write at a time."""

    title = "SQLite, one transaction each"
    durability = "on the disk: one sync for each transfer (WAL, synchronous=FULL)"
    is_embedded = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, sqlite3.sqlite_version)
        self.asks = [self.move]
        with ExitStack() as stack:
            # The client is a thread of its own; this one only opens, checks and closes.
            self._connection = stack.enter_context(
                closing(
                    sqlite3.connect(
                        settings.scratch / "peer.sqlite",
                        isolation_level=None,
                        check_same_thread=False,
                    )
                )
            )
            self._connection.executescript(SCHEMA)
            self._connection.execute("BEGIN")
            self._connection.executemany(OPEN, [(name, FUNDS) for name in settings.names])
            self._connection.execute("COMMIT")
            self._stack = stack.pop_all()

    def move(self, call: Call) -> bool:
        """Make one call in a transaction of its own."""
        source, target, amount, key = call
        execute = self._connection.execute
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
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        return is_applied

    def read_balances(self) -> Mapping[str, int]:
        """Return what the table of accounts says."""
        return dict(self._connection.execute("SELECT id, balance FROM accounts"))
