"""Over HTTP one at a time: a plain Sanic handler in front of the engine, one sync a request.

The server is `naive_service.py`. All that the engine gains by batches is lost again here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ledgercore.client.loopback import make_options

from ..machine import pick_cores
from ..servers import Server
from ..workloads import Workload
from .over_http import HttpRunner, make_ledger, run_clients
from .stage import Stage


class PlainHttpRunner(HttpRunner):
    """One request a transfer, to the naive service."""

    def balances(self) -> dict[str, int]:
        """Ask for all balances at once."""
        balances: dict[str, int] = httpx.get(
            f"{self.url}/balances", **make_options(self.url)
        ).json()
        return balances


@contextmanager
def open_http_plain(workload: Workload, scratch: Path) -> Iterator[PlainHttpRunner]:
    """Yield the stage, whose server keeps its ledger in `scratch`."""
    data = scratch / "data"
    make_ledger(workload, data)
    core, _ = pick_cores()
    server = Server(core, "bench.stages.naive_service", str(data), log=scratch / "server.log")
    with run_clients(server, scratch) as sender:
        yield PlainHttpRunner(workload, server, sender, scratch)


STAGE = Stage(
    name="http-plain",
    title="HTTP, a plain Sanic handler",
    promise="durable",
    transfers=1_000,
    open=open_http_plain,
    spread=True,
)
