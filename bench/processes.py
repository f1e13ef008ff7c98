"""Child processes: servers and generators of load, started on one core, awaited, and ended.

This module owns how each of them is started, when it is ready, and that it is gone at the end, by
its own id. It measures nothing, and never talks to a server.
"""

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self, TypeVar

from .machine import ROOT, CpuTimes, read_cpu_times, run_on

DEADLINE_S = 60.0
"""No single wait for a process is longer, unless its caller says so."""
POLL_INTERVAL_S = 0.02
LAST_LINES = 5

SERVICE = ("ledgercore", "serve", "--port=0")
PLAIN = ("bench.plain",)
KEYS = ("ledgercore", "admin", "keys")

Ready = TypeVar("Ready")


class ProcessFailed(RuntimeError):
    """A process did not start, or did not end as it should; the message is for people."""


class Process:
    """A process that was started, and is stopped with the `with` block.

    Its errors go into `log`, and what it prints into a file beside that.
    """

    def __init__(
        self,
        core: int,
        command: Sequence[str],
        log: Path,
        *,
        name: str = "",
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._name = name or Path(command[0]).name
        self._log = log
        self._printed = log.with_name(f"{log.name}.printed")
        self._stop_signal = stop_signal
        with run_on(core), log.open("wb") as errors, self._printed.open("wb") as printed:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=errors,
                    env=make_environment(),
                    **describe_user(user),
                )
            except OSError as error:
                told = f"{command[0]} cannot be run: {error.strerror}"
                raise ProcessFailed(told) from error
        self.pid = self._process.pid

    @property
    def cpu_times(self) -> CpuTimes:
        return read_cpu_times(self.pid)

    @property
    def cpu_s(self) -> float:
        """The seconds of processor that it has had so far."""
        return self.cpu_times.total_s

    @property
    def printed(self) -> str:
        return self._printed.read_text(errors="replace")

    def explain(self, what: str) -> ProcessFailed:
        """Return an error that has the last lines of what the process has said."""
        said = self.printed + self._log.read_text(errors="replace")
        return ProcessFailed("\n".join([f"{self._name} {what}", *said.splitlines()[-LAST_LINES:]]))

    def wait_for(
        self,
        look: Callable[[], Ready | None],
        not_yet: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> Ready:
        """Return what `look` returns once that is true, and it raises nothing that is `not_yet`.

        A process that has ended, or takes too long, is stopped, and ProcessFailed raised.
        """
        end_s, reason = time.monotonic() + DEADLINE_S, ""
        try:
            while True:
                # It is asked first: a process that ends may have done all before.
                has_ended = self._process.poll() is not None
                try:
                    if found := look():
                        return found
                except not_yet as error:
                    reason = f": {error}"
                if has_ended or time.monotonic() > end_s:
                    raise self.explain(f"did not start{reason}")
                time.sleep(POLL_INTERVAL_S)  # It tells of itself only to who looks.
        except BaseException:
            self.stop()
            raise

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait for the end. Raises ProcessFailed if that is no success, or takes too long."""
        try:
            code = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise self.explain("did not come to its end") from None
        if code != 0:
            raise self.explain(f"ended with {code}")

    def stop(self) -> None:
        """Stop it as its operator would; kill it if it does not listen."""
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class Server(Process):
    """A server of our own, which prints its URL once it is ready, and so is when it is made."""

    def __init__(self, core: int, module: str, *flags: str, log: Path) -> None:
        super().__init__(core, python(module, *flags), log, name=module)
        self.url = self.wait_for(self._find_url)

    def _find_url(self) -> str | None:
        # One that has recovered says so before it says where it serves.
        whole_lines = self.printed.rpartition("\n")[0]
        urls = [word for word in whole_lines.split() if word.startswith("http://")]
        return urls[0] if urls else None


class GoServer(Process):
    """The sketch in Go, with its log if `wal` names one, and so much in each account if told."""

    def __init__(
        self,
        core: int,
        binary: Path,
        log: Path,
        *,
        accounts: int,
        wal: Path | None = None,
        funds: int | None = None,
    ) -> None:
        port = _pick_port()
        address = f"127.0.0.1:{port}"
        flags = {"-addr": address, "-accounts": accounts, "-procs": 1, "-wal": wal, "-funds": funds}
        told = {name: str(value) for name, value in flags.items() if value is not None}
        words = [word for flag in told.items() for word in flag]
        super().__init__(core, [str(binary.resolve()), *words], log)
        self.url = f"http://{address}"
        self.wait_for(lambda: _is_there(port), OSError)


def _is_there(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
    return True


def wait_until(is_over: Callable[[], bool], explain: Callable[[], Exception]) -> None:
    """Return once `is_over` says so; raise what `explain` returns where it does not in time."""
    end_s = time.monotonic() + DEADLINE_S
    while not is_over():
        if time.monotonic() > end_s:
            raise explain()
        time.sleep(POLL_INTERVAL_S)  # As above.


def run(
    command: Sequence[str],
    *,
    core: int | None = None,
    deadline_s: float = DEADLINE_S,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, successful or not, and return what it has printed.

    Raises FileNotFoundError if there is none, and ProcessFailed if it takes too long.
    """
    with nullcontext() if core is None else run_on(core):
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=deadline_s,
                env=make_environment() | dict(environment or {}),
                **describe_user(user) | ({} if directory is None else {"cwd": directory}),
            )
        except subprocess.TimeoutExpired:
            name = Path(command[0]).name
            raise ProcessFailed(f"{name} did not come to its end in {deadline_s:.0f} s") from None


def run_successfully(what: str, command: Sequence[str], **options: Any) -> str:
    """Run a command to its end as `run` does, and return its output.

    Raises ProcessFailed, which names what has failed and why, unless it ends with success.
    """
    ended = run(command, **options)
    if ended.returncode != 0:
        raise ProcessFailed(f"{what} failed: {(ended.stderr or ended.stdout).strip()}")
    return ended.stdout


def create_key(ledger: Path, name: str, *flags: str) -> dict[str, str]:
    """Make an API key for a ledger that is not served yet; return what is told of it by name."""
    command = python(*KEYS, "create", name, f"--data={ledger}", *flags)
    told = run_successfully("making an API key", command)
    return dict(line.split() for line in told.splitlines())


def python(module: str, *flags: str) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", module, *flags]


def make_environment() -> dict[str, str]:
    """Return the environment without the settings of a server that somebody may have left there."""
    return {name: text for name, text in os.environ.items() if not name.startswith("LEDGERCORE_")}


def describe_user(user: str | None) -> dict[str, Any]:
    """Return how subprocess starts a process: as a user with that user's groups only, if named."""
    if user is None:
        return {"cwd": ROOT}
    record = pwd.getpwnam(user)
    # The checkout may be out of the reach of others.
    return {"user": record.pw_uid, "group": record.pw_gid, "extra_groups": [], "cwd": "/"}


def _pick_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Exit on SIGTERM through an exception, so that what the block started is ended too."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
