"""Servers as processes whose standard descriptors, limits and processes are the test's own.

This module owns these starts. It never asserts anything about the ledger.
"""

import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tests.support.servers import ROOT, SERVE, make_environment
from tests.support.waiting import DEADLINE_S

File = int | IO[Any] | None


@contextmanager
def serve_raw(
    data: Path,
    *flags: str,
    stdout: File = subprocess.DEVNULL,
    stderr: File = subprocess.DEVNULL,
    prefix: Sequence[str] = (),
    prepare: Callable[[], None] | None = None,
    command: Sequence[str] = SERVE,
    **variables: str,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server with these descriptors, in a session of its own, and end what is left."""
    process = subprocess.Popen(
        [*prefix, *command, f"--data={data}", *flags],
        cwd=ROOT,
        env=make_environment(**variables),
        stdout=stdout,
        stderr=stderr,
        preexec_fn=prepare,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)


def limit_descriptors(count: int) -> Callable[[], None]:
    """Return what lets a process have no more than so many descriptors."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return limit


def read_until(descriptor: int, word: bytes) -> bytes:
    """Return what comes from a descriptor, up to the end of the line with this word."""
    told, end = b"", time.monotonic() + DEADLINE_S
    while not (word in told and told.endswith(b"\n")):
        ready, _, _ = select.select([descriptor], [], [], max(end - time.monotonic(), 0))
        data = os.read(descriptor, 1 << 16) if ready else b""
        assert data, f"{word!r} never came, but {told!r}"
        told += data
    return told


def find_url(told: bytes) -> str:
    """Return the first address in what a server has printed."""
    return next(word for word in told.decode().split() if "://" in word)
