"""PostgreSQL as a ledger: one call of one function a transfer, which is one transaction."""

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from ..processes import DEADLINE_S, Process, run_successfully
from ..workloads import Call
from .peer import FUNDS, Ask, Peer, PeerFailed, PeerMissing, Settings, give, make_socket_directory

INSTALL = "install PostgreSQL (Debian: apt-get install postgresql)"
DEBIAN_DIRECTORY = Path("/usr/lib/postgresql")
DISK_DIRECTORY = Path("/var/tmp")
"""A place on a disk, where every user may write."""
SPARE_CONNECTIONS = 10
SUPERUSER = "bench"

# Both rows are locked in the order of their ids, so that two transfers never wait for each other.
# The key comes first: of two calls with one key, the second waits for the end of the first.
SCHEMA = """
CREATE TABLE accounts (id text PRIMARY KEY, balance bigint NOT NULL, floor bigint NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE transfers (
    key text PRIMARY KEY,
    source text NOT NULL,
    target text NOT NULL,
    amount bigint NOT NULL,
    is_applied boolean NOT NULL
);
CREATE FUNCTION transfer(key_ text, source_ text, target_ text, amount_ bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    found_ integer;
BEGIN
    INSERT INTO transfers VALUES (key_, source_, target_, amount_, true) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN (SELECT is_applied FROM transfers WHERE key = key_);
    END IF;
    PERFORM 1 FROM accounts WHERE id IN (source_, target_) ORDER BY id FOR UPDATE;
    GET DIAGNOSTICS found_ = ROW_COUNT;
    IF found_ <> 2 THEN
        RAISE 'there is no such account';
    END IF;
    UPDATE accounts SET balance = balance - amount_
        WHERE id = source_ AND balance - amount_ >= floor;
    IF NOT FOUND THEN
        UPDATE transfers SET is_applied = false WHERE key = key_;
        RETURN false;
    END IF;
    UPDATE accounts SET balance = balance + amount_ WHERE id = target_;
    RETURN true;
END
$$;
"""
OPEN = "INSERT INTO accounts SELECT unnest(%s::text[]), %s, 0"
TRANSFER = "SELECT transfer(%s, %s, %s, %s)"


class PostgresPeer(Peer):
    """A cluster of its own on a Unix socket, with a connection for each client."""

    title = "PostgreSQL, one function call each"
    durability = "on the disk: one sync for the commits of a moment (synchronous_commit=on)"

    def __init__(self, settings: Settings) -> None:
        directory = find_binaries()
        user = pick_user()
        with ExitStack() as stack:
            sockets = stack.enter_context(make_socket_directory(user))
            data = stack.enter_context(make_data_directory(settings.scratch, user))
            log = settings.scratch / "postgres.log"
            make_cluster(directory, data, user)
            command = make_command(directory, data, sockets, settings.clients)
            # To PostgreSQL, SIGINT means: end all sessions and shut down in good order.
            server = stack.enter_context(
                Process(settings.core, command, log, user=user, stop_signal=signal.SIGINT)
            )

            def connect() -> Any:
                """Return a connection that is there; each statement is a transaction."""
                connection = psycopg.connect(
                    host=str(sockets),
                    user=SUPERUSER,
                    dbname="postgres",
                    autocommit=True,
                    options=f"-c statement_timeout={DEADLINE_S:.0f}s",
                )
                return stack.enter_context(closing(connection))

            self._connection = server.wait_for(connect, psycopg.OperationalError)
            super().__init__(settings, self._show("server_version").split()[0])
            # The schema is one string of many statements, which only a query without arguments is.
            self._connection.execute(SCHEMA)
            self._connection.execute(OPEN, (settings.names, FUNDS))
            self._connection.execute("VACUUM ANALYZE accounts")
            self._check_durable()
            self.asks = [make_ask(connect()) for _ in range(settings.clients)]
            self._stack = stack.pop_all()

    def _show(self, setting: str) -> str:
        return str(self._connection.execute(f"SHOW {setting}").fetchone()[0])

    def _check_durable(self) -> None:
        """See to it that nobody's defaults have turned off what the table says."""
        for setting in ("fsync", "synchronous_commit"):
            if self._show(setting) != "on":
                raise PeerFailed(f"PostgreSQL runs with {setting} off")

    def read_balances(self) -> Mapping[str, int]:
        """Return what the table of accounts says."""
        return dict(self._connection.execute("SELECT id, balance FROM accounts").fetchall())


def make_ask(connection: Any) -> Ask:
    """Return what makes calls over a connection, in a statement that is prepared once."""
    cursor = connection.cursor()

    def ask(call: Call) -> bool:
        source, target, amount, key = call
        cursor.execute(TRANSFER, (key, source, target, amount), prepare=True)
        return bool(cursor.fetchone()[0])

    return ask


def find_binaries() -> Path:
    """Return the directory of initdb and postgres, the newest where Debian keeps several."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    versions = [path for path in DEBIAN_DIRECTORY.glob("*/bin") if path.parent.name.isdigit()]
    found += sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    for directory in found:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise PeerMissing(INSTALL)


def pick_user() -> str | None:
    """Return who is to run the server: None for ourselves; another for root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    users = {record.pw_name for record in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


@contextmanager
def make_data_directory(scratch: Path, user: str | None) -> Iterator[Path]:
    """Yield a directory for data of a user: in the scratch space, if they can reach it."""
    place = scratch
    if user is not None:
        # The scratch space is private, but there is nothing in it to be kept from anybody.
        scratch.chmod(0o711)
        if not all(parent.stat().st_mode & 0o001 for parent in scratch.parents):
            place = DISK_DIRECTORY
    with tempfile.TemporaryDirectory(prefix="peer-", dir=place) as name:
        give(Path(name), user)
        yield Path(name)


def make_cluster(directory: Path, data: Path, user: str | None) -> None:
    """Write an empty cluster into an empty directory."""
    flags = ("--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8", "--locale=C")
    command = [str(directory / "initdb"), "--no-sync", *flags, f"--pgdata={data}"]
    run_successfully("initdb", command, user=user)


def make_command(directory: Path, data: Path, sockets: Path, clients: int) -> list[str]:
    """Return the command that serves a cluster to our clients only."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "max_connections": clients + SPARE_CONNECTIONS,
        "fsync": "on",
        "synchronous_commit": "on",
        # Room enough that no checkpoint falls into a run.
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "30min",
    }
    flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [str(directory / "postgres"), "-D", str(data), *flags]
