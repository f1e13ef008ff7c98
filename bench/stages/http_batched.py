"""Over HTTP, batched: Sanic's way through the service, where what arrives together shares a sync.

The service reads a plain request natively (http_native.py). A header that it does not know keeps
these on the way that every other request takes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from ledgercore.client import LedgerClient

from ..machine import pick_cores
from ..servers import SERVICE, Server
from ..workloads import Workload
from .kernel import SERVER_KEYS_RESERVED
from .over_http import HttpRunner, make_ledger, run_clients
from .stage import Stage


class ServiceRunner(HttpRunner):
    """One request a transfer, to the service."""

    headers = "X-Way: ordinary\r\n"
    keys_reserved = SERVER_KEYS_RESERVED

    def balances(self) -> dict[str, int]:
        """Ask for all accounts."""
        with LedgerClient(self.url) as client:
            return {account.id: account.balance for account in client.accounts()}


Service = TypeVar("Service", bound=ServiceRunner)


@contextmanager
def open_service(kind: type[Service], workload: Workload, scratch: Path) -> Iterator[Service]:
    """Yield a stage of the service, whose server keeps its ledger in `scratch`."""
    data = scratch / "data"
    make_ledger(workload, data)
    core, _ = pick_cores()
    flags = (f"--data={data}", f"--keys-reserved={kind.keys_reserved}")
    server = Server(core, *SERVICE, *flags, log=scratch / "server.log")
    with run_clients(server, scratch) as sender:
        yield kind(workload, server, sender, scratch)


STAGE = Stage(
    name="http-batched",
    title="HTTP, batched, by Sanic",
    promise="durable",
    transfers=6_000,
    open=partial(open_service, ServiceRunner),
    spread=True,
)
