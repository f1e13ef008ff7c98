"""A server without load: none of its threads runs."""

import time
from pathlib import Path

import httpx
import pytest

from tests.support.exporting import clear_environment
from tests.support.otlp_receiver import Receiver
from tests.support.servers import Server, post_transfer
from tests.support.waiting import wait_until

REST_S = 2.0
"""How long nothing may run. Longer than any clock of the engine (it seals after 50 ms)."""
EXPORT_REST_S = 6.0
"""Longer than an exporter of traces usually waits before it looks again (5 s)."""


def test_idle_server_does_not_run(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=2", "--segments=2") as server:
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "k-1", "acct-0", "acct-1", 1).status_code == 201
        wait_for_rest(server)


def test_nor_does_one_that_has_exported_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_environment(monkeypatch)
    flags = ("--demo-accounts=2", "--traces-per-million=1000000")
    with (
        Receiver() as receiver,
        Server(tmp_path / "ledger", *flags, f"--otlp={receiver.url}") as server,
    ):
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "k-1", "acct-0", "acct-1", 1).status_code == 201
        receiver.wait_for(1)
        wait_for_rest(server, EXPORT_REST_S)


def wait_for_rest(server: Server, rest_s: float = REST_S) -> None:
    """Wait until none of the threads of a server has run for so long."""

    def is_at_rest() -> bool:
        before = count_runs(server.process.pid)
        end = time.monotonic() + rest_s
        wait_until(lambda: time.monotonic() >= end, "the time to pass")
        return count_runs(server.process.pid) == before

    wait_until(is_at_rest, "all threads to stay asleep")


def count_runs(pid: int) -> dict[str, str]:
    """Return how often each thread of a process was given a processor so far."""
    tasks = Path(f"/proc/{pid}/task")
    # The third number of schedstat; the documentation of the kernel calls it timeslices.
    return {task.name: (task / "schedstat").read_text().split()[2] for task in tasks.iterdir()}
