"""PostgreSQL as a ledger: one call of one function a transfer, which is one transaction."""

import os
import pwd
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from ..processes import DEADLINE_S, Process, run_successfully
from ..workloads import Call
from .peer import FUNDS, Ask, Peer, PeerFailed, PeerMissing, Settings, make_directory, run_clients

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


@contextmanager
def open_postgres(settings: Settings) -> Iterator[Peer]:
    """Start a cluster of its own on a Unix socket, with a connection for each client."""
    binaries, user = find_binaries(), pick_user()
    with ExitStack() as stack:
        sockets = stack.enter_context(make_directory(user=user))
        data = stack.enter_context(make_directory(pick_place(settings.scratch, user), user))
        _make_cluster(binaries, data, user)
        command = make_command(binaries, data, sockets, settings.clients)
        log = settings.scratch / "postgres.log"
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

        connection = server.wait_for(connect, psycopg.OperationalError)
        # The schema is one string of many statements, which only a query without arguments is.
        connection.execute(SCHEMA)
        connection.execute(OPEN, (settings.names, FUNDS))
        connection.execute("VACUUM ANALYZE accounts")
        # Nobody's defaults may turn off what the table says.
        for setting in ("fsync", "synchronous_commit"):
            if show(connection, setting) != "on":
                raise PeerFailed(f"PostgreSQL runs with {setting} off")
        asks = [make_ask(connect()) for _ in range(settings.clients)]
        yield Peer(
            "PostgreSQL, one function call each",
            "on the disk: one sync for the commits of a moment (synchronous_commit=on)",
            show(connection, "server_version").split()[0],
            settings.clients,
            asks[0],
            partial(run_clients, asks, settings.load_core, is_embedded=False),
            lambda: dict(connection.execute("SELECT id, balance FROM accounts").fetchall()),
        )


def show(connection: Any, setting: str) -> str:
    """Return a setting of the server."""
    return str(connection.execute(f"SHOW {setting}").fetchone()[0])


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


def pick_place(scratch: Path, user: str | None) -> Path:
    """Return where the data of a user are to lie: in the scratch space, if they can reach it."""
    if user is None:
        return scratch
    # The scratch space is private, but there is nothing in it to be kept from anybody.
    scratch.chmod(0o711)
    is_reached = all(parent.stat().st_mode & 0o001 for parent in scratch.parents)
    return scratch if is_reached else DISK_DIRECTORY


def _make_cluster(directory: Path, data: Path, user: str | None) -> None:
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
