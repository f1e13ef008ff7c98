"""Over HTTP, batched: the service itself, where requests that arrive together share one sync."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.client import LedgerClient

from ..machine import pick_cores
from ..servers import SERVICE, Server
from ..workloads import Workload
from .kernel import SERVER_KEYS_RESERVED
from .over_http import HttpRunner, make_ledger, run_clients
from .stage import Stage


class ServiceRunner(HttpRunner):
    """One request a transfer, to the service."""

    def balances(self) -> dict[str, int]:
        """Ask for all accounts."""
        with LedgerClient(self.url) as client:
            return {account.id: account.balance for account in client.accounts()}


@contextmanager
def open_http_batched(workload: Workload, scratch: Path) -> Iterator[ServiceRunner]:
    """Yield the stage, whose server keeps its ledger in `scratch`."""
    data = scratch / "data"
    make_ledger(workload, data)
    core, _ = pick_cores()
    flags = (f"--data={data}", f"--keys-reserved={SERVER_KEYS_RESERVED}")
    server = Server(core, *SERVICE, *flags, log=scratch / "server.log")
    with run_clients(server, scratch) as sender:
        yield ServiceRunner(workload, server, sender, scratch)


STAGE = Stage(
    name="http-batched",
    title="HTTP, the service",
    promise="durable",
    transfers=6_000,
    open=open_http_batched,
    spread=True,
)
