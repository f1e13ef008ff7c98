"""What several tests need: waiting for a condition, and servers as processes of their own.

This module owns every server that a test starts. It never asserts anything about the ledger.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from tests.support.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).resolve().parents[2]

# Small files of the journal, so that a start is quick and a test sees more than one of them.
COMMAND = (sys.executable, "-m", "ledgercore.service")
"""As a module: where the core tests run on another Python, no distribution is installed."""
SERVE = (*COMMAND, "serve", "--port=0", "--segment-bytes=4194304")


def try_get(url: str) -> httpx.Response | None:
    """Return what a server answers; None where nobody does."""
    try:
        return httpx.get(url)
    except httpx.TransportError:
        return None


def make_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a server, in which nothing is set that the test has not set."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("LEDGERCORE_")}
    return kept | settings


class Server:
    """A server in a process of its own, on a free port, ended with the `with` block."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        file_bytes_max: int | None = None,
    ) -> None:
        self._log = data.parent / f"{data.name}.{time.monotonic_ns()}"
        self._log.mkdir(parents=True)
        with (self._log / "stdout").open("wb") as out, (self._log / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [*SERVE, f"--data={data}", *flags],
                cwd=ROOT,
                env=make_environment(**(environment or {})),
                stdout=out,
                stderr=err,
            )
        if file_bytes_max is not None:
            self.limit_files(file_bytes_max)

    @property
    def stdout(self) -> str:
        return (self._log / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._log / "stderr").read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log so far, each of them a JSON object."""
        lines = self.stderr.splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def told(self) -> list[str]:
        """The sentences of the log so far."""
        return [line["message"] for line in self.log]

    @property
    def complaints(self) -> list[str]:
        """The sentences of the log that somebody has to act on."""
        return [line["message"] for line in self.log if line["level"] != "info"]

    @property
    def url(self) -> str:
        """The address of the server; waits until it serves."""
        # A server that has recovered tells that first, in a line of its own.
        wait_until(
            lambda: (
                ("://" in self.stdout and self.stdout.endswith("\n"))
                or self.process.poll() is not None
            ),
            "the server to be ready",
        )
        assert self.process.poll() is None, self.stderr
        return next(word for word in self.stdout.split() if "://" in word)

    def limit_files(self, file_bytes_max: int) -> None:
        """Let every further write beyond this size of a file fail, as on a disk that is full."""
        resource.prlimit(
            self.process.pid, resource.RLIMIT_FSIZE, (file_bytes_max, resource.RLIM_INFINITY)
        )

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code; waits for the process to end."""
        return self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Stop the server as an operator does, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the server without a chance to do anything."""
        self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()


def run_command(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=make_environment(**settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def post_transfer(
    client: httpx.Client, key: str, source: str, target: str, amount: int | str, **members: Any
) -> httpx.Response:
    """Ask for a transfer."""
    body = {"from": source, "to": target, "amount": amount, **members}
    return client.post("/transfer", json=body, headers={"Idempotency-Key": key})


def open_accounts(client: httpx.Client, ids: Sequence[str], **settings: Any) -> None:
    """Open accounts in USD/2."""
    for account_id in ids:
        response = client.post("/accounts", json={"id": account_id, "asset": "USD/2", **settings})
        assert response.status_code == 201, response.text


def fund(client: httpx.Client, name: str, amount: int = 1000) -> None:
    """Give 1000 to the account a of a test, from its bank."""
    response = post_transfer(client, f"{name}-fund", f"{name}:bank", f"{name}:a", amount)
    assert response.status_code == 201, response.text


def balance(client: httpx.Client, account_id: str) -> Any:
    """Return the balance of an account."""
    return client.get(f"/accounts/{quote(account_id, safe='')}").json()["balance"]


def check_problem(response: httpx.Response, http_status: int, name: str) -> Any:
    """Check that a response is this problem, and return its body."""
    assert response.status_code == http_status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:ledgercore:problem:{name}"
    assert body["status"] == http_status
    assert ("retry-after" in response.headers) == (http_status in (429, 503))
    return body
