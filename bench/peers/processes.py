"""Servers of others as processes: started on one core, awaited, and ended by their id.

This module owns every process and every directory outside of the scratch space that a peer needs.
It never talks to a server.
"""

import os
import pwd
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..machine import run_on
from ..servers import make_environment
from ..waiting import wait_until
from .peer import DEADLINE_S, PeerFailed

LAST_LINES = 5
DISK_DIRECTORY = Path("/var/tmp")
"""A place on a disk, where every user may write."""

Ready = TypeVar("Ready")


@contextmanager
def run_server(
    core: int,
    command: Sequence[str],
    log: Path,
    *,
    user: str | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server on a core, as another user if one is named, until the end of the block.

    Raises PeerFailed if there is no such program, or it is none for this machine.
    """
    with run_on(core), log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=make_environment(),
                cwd="/",
                **describe_user(user),
            )
        except OSError as error:
            raise PeerFailed(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        yield process
    finally:
        stop(process, stop_signal)


def stop(process: "subprocess.Popen[bytes]", stop_signal: signal.Signals) -> None:
    """Stop a process as its operator would; kill it if it does not listen."""
    process.send_signal(stop_signal)
    try:
        process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_server(
    process: "subprocess.Popen[bytes]",
    log: Path,
    connect: Callable[[], Ready],
    not_yet: type[Exception] | tuple[type[Exception], ...],
) -> Ready:
    """Return what `connect` returns once it no longer raises what means "not yet".

    Raises PeerFailed, with the last lines of the log, if the process ends or takes too long.
    """
    found: list[Ready] = []
    last: list[Exception] = []

    def explain() -> PeerFailed:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        return PeerFailed(f"{process.args!r} did not start: {last[-1]}\n{said}")

    def is_there() -> bool:
        try:
            found.append(connect())
        except not_yet as error:
            last[:] = [error]
            if process.poll() is not None:
                raise explain() from error
        return bool(found)

    wait_until(is_there, explain)
    return found[0]


def pick_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def make_socket_directory(user: str | None = None) -> Iterator[Path]:
    """Yield a directory for Unix sockets, whose path has to be short: no checkout's is for sure."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        give(Path(name), user)
        yield Path(name)


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


def give(path: Path, user: str | None) -> None:
    """Let another user own a path, if one is named."""
    if user is not None:
        record = pwd.getpwnam(user)
        os.chown(path, record.pw_uid, record.pw_gid)


def describe_user(user: str | None) -> dict[str, Any]:
    """Return what subprocess needs to start a process as a user, with that user's groups only."""
    if user is None:
        return {}
    record = pwd.getpwnam(user)
    return {"user": record.pw_uid, "group": record.pw_gid, "extra_groups": []}
