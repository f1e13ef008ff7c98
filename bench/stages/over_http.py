"""What the stages over HTTP share: a server on one core, and clients on another, if there is one.

This module owns how transfers become requests, and how answers become statuses. It never serves.
"""

import json
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ledgercore import Status

from ..load import CPU_SHARE_MAX
from ..machine import ROOT, pick_cores, run_on
from ..servers import DEADLINE_S, Server, make_environment
from ..workloads import Rows, Workload
from .kernel import open_engine
from .stage import Runner

REUSED = "idempotency-key-reused"
"""The one problem of a sound request that no outcome is behind."""


class SenderProcess:
    """The clients, as a process of their own that is ended with the `with` block."""

    def __init__(self, url: str, log: Path) -> None:
        self._log = log
        _, core = pick_cores()
        with run_on(core), log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.stages.sender", url],
                cwd=ROOT,
                env=make_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def order(self, line: str) -> dict[str, float]:
        """Have one thing done, and return what is told of it. It ends: each has a deadline."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            told = self._process.stdout.readline()
        except BrokenPipeError:
            told = ""
        if not told:
            raise RuntimeError(f"the clients failed: {self._log.read_text()}")
        result: dict[str, float] = json.loads(told)
        return result

    def stop(self) -> None:
        """End the process: without input it has nothing left to do."""
        try:
            self._process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


class HttpRunner(Runner):
    """One request a transfer. `headers` are sent with each, whole lines."""

    headers = ""

    def __init__(
        self, workload: Workload, server: Server, sender: SenderProcess, scratch: Path
    ) -> None:
        self.url = server.url
        self.workload = workload
        self._server = server
        self._sender = sender
        self._requests = scratch / "requests"
        self._answers = scratch / "answers"
        self._load_share = 0.0

    def prepare(self, rows: Rows) -> Path:
        """Give the requests to the clients, and let them connect."""
        self._requests.write_bytes(msgspec.msgpack.encode(self.write_requests(rows)))
        self._sender.order(f"load {self._requests}")
        return self._requests

    def write_requests(self, rows: Rows) -> list[bytes]:
        """Return the requests that ask for transfers."""
        host = urlsplit(self.url).netloc
        requests = []
        for source, target, amount, key in self.workload.spell(rows):
            body = f'{{"from":"{source}","to":"{target}","amount":{amount}}}'
            head = (
                f"POST /transfer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"{self.headers}Idempotency-Key: {key}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            requests.append((head + body).encode())
        return requests

    def run(self, prepared: Path) -> None:
        """Let the clients send the requests that were prepared last."""
        result = self._sender.order("send")
        self._load_share = result["cpu_s"] / result["seconds"]

    @property
    def statuses(self) -> list[Status]:
        """What the clients were answered."""
        self._sender.order(f"keep {self._answers}")
        answers = msgspec.msgpack.decode(self._answers.read_bytes(), type=list[tuple[int, bytes]])
        return [status for answer in answers for status in self.read_statuses(*answer)]

    def read_statuses(self, http_status: int, body: bytes) -> list[Status]:
        """Return what one answer tells."""
        return [read_status(http_status, body)]

    @abstractmethod
    def balances(self) -> dict[str, int]:
        """Return every account's balance, as the server tells it."""

    @property
    def cpu_s(self) -> float:
        """The seconds of processor that the server has had; the clients do not count."""
        return self._server.cpu_s

    @property
    def note(self) -> str:
        """Whose limit it was, if it may have been that of the clients."""
        limit = ", and may be the limit" if self._load_share > CPU_SHARE_MAX else ""
        return f"the clients took {self._load_share:.0%} of their core in the last round{limit}"


def read_status(http_status: int, body: bytes) -> Status:
    """Return the status of the ledger that an answer tells."""
    if http_status == 201:
        return Status.APPLIED
    answer: dict[str, str] = json.loads(body)
    if answer.get("type", "").endswith(REUSED):
        return Status.KEY_REUSED
    return Status[answer["reason"].upper().replace("-", "_")]


def make_ledger(workload: Workload, directory: Path) -> None:
    """Make the ledger that a server is to serve, with its accounts and their money."""
    with open_engine(directory, keys_reserved=0) as engine:
        workload.open_accounts(engine)


@contextmanager
def run_clients(server: Server, scratch: Path) -> Iterator[SenderProcess]:
    """Yield the clients of a server that is up; ends both."""
    with server:
        sender = SenderProcess(server.url, scratch / "sender.log")
        try:
            yield sender
        finally:
            sender.stop()
