"""The stages over HTTP: a server on one core, clients on another if there is one.

A plain Sanic handler (naive_service.py) makes one sync a request, and loses all that the engine
gains by batches. In the service what arrives together shares a sync: as Sanic reads it, as the
service reads a plain request natively, and with many transfers in a request. This module owns how
transfers become requests, and how answers become statuses. It never serves.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import httpx
import msgspec
import uvloop

from ledgercore import Status
from ledgercore.client import LedgerClient
from ledgercore.client.loopback import make_options

from ..load.http1 import make_bulk, make_transfer, read_status, split_answer
from ..load.loops import CPU_SHARE_MAX, ClosedLoop, Course
from ..machine import pick_cores, run_on
from ..processes import DEADLINE_S, SERVICE, Server
from ..workloads import Rows, Workload
from .engine import open_engine
from .stage import Runner, Stage

CONNECTIONS = 64
ITEMS = 8_192
REUSED = "idempotency-key-reused"
"""The one problem of a sound request that no outcome is behind."""


class ServiceRunner(Runner):
    """One request a transfer, to the service, on Sanic's way through it.

    A header that the service does not know keeps a request on the way that every other request
    than a plain one takes.
    """

    headers: ClassVar[str] = "X-Way: ordinary\r\n"
    keys_reserved: ClassVar[int] = 200_000

    def __init__(self, workload: Workload, server: Server, runner: asyncio.Runner) -> None:
        self.url = server.url
        self.workload = workload
        self.server = server
        self._runner = runner
        self._loop: ClosedLoop | None = None
        self._course = Course()

    @classmethod
    def describe_server(cls, data: Path) -> tuple[str, ...]:
        """Return the module and the flags that serve the ledger in a directory."""
        return (*SERVICE, f"--data={data}", f"--keys-reserved={cls.keys_reserved}")

    def prepare(self, rows: Rows) -> list[bytes]:
        """Return the requests, and connect anew for them."""
        self._runner.run(self._connect())
        return self.write_requests(rows)

    async def _connect(self) -> None:
        await self.hang_up()
        self._loop = await ClosedLoop(self.url, CONNECTIONS).open()

    async def hang_up(self) -> None:
        """Close the connections of the last run."""
        if self._loop is not None:
            self._loop.close()
            await asyncio.sleep(0)  # One turn of the event loop, in which they are closed.

    def write_requests(self, rows: Rows) -> list[bytes]:
        """Return the requests that ask for transfers."""
        host = urlsplit(self.url).netloc
        return [make_transfer(host, call, self.headers) for call in self.workload.spell(rows)]

    def run(self, prepared: list[bytes]) -> None:
        """Let the clients send all requests, from a core of their own if there is one."""
        assert self._loop is not None
        with run_on(pick_cores()[1]):
            self._course = self._runner.run(
                self._loop.run(iter(prepared), deadline_s=DEADLINE_S, is_keeping=True)
            )
        if self._course.lost:
            raise ConnectionError("the server hung up")

    @property
    def statuses(self) -> list[Status]:
        return [
            status
            for answer in self._course.answers
            for status in self.read_statuses(read_status(answer), split_answer(answer)[1])
        ]

    def read_statuses(self, http_status: int, body: bytes) -> list[Status]:
        return [find_status(http_status, body)]

    def balances(self) -> dict[str, int]:
        with LedgerClient(self.url) as client:
            return {account.id: account.balance for account in client.accounts()}

    @property
    def cpu_s(self) -> float:
        """The seconds of processor that the server has had; the clients do not count."""
        return self.server.cpu_s

    @property
    def note(self) -> str:
        """Return a note where the clients may have been the limit."""
        share = self._course.cpu_share
        limit = ", and may be the limit" if share > CPU_SHARE_MAX else ""
        return f"the clients took {share:.0%} of their core in the last round{limit}"


class NativeRunner(ServiceRunner):
    """One plain request a transfer: it becomes a row of a batch without a Python object."""

    headers = ""
    keys_reserved = 500_000


class NaiveRunner(ServiceRunner):
    """One request a transfer, to the naive service."""

    headers = ""

    @classmethod
    def describe_server(cls, data: Path) -> tuple[str, ...]:
        return ("bench.stages.naive_service", str(data))

    def balances(self) -> dict[str, int]:
        answer = httpx.get(f"{self.url}/balances", **make_options(self.url))
        balances: dict[str, int] = answer.json()
        return balances


class BulkRunner(ServiceRunner):
    """Many transfers a request, to the service, which keeps their order."""

    keys_reserved = 2_500_000

    def write_requests(self, rows: Rows) -> list[bytes]:
        host, calls = urlsplit(self.url).netloc, self.workload.spell(rows)
        return [make_bulk(host, calls[at : at + ITEMS]) for at in range(0, len(calls), ITEMS)]

    def read_statuses(self, http_status: int, body: bytes) -> list[Status]:
        assert http_status == 200, body
        return [
            Status.APPLIED if item["status"] == "applied" else read_reason(item["reason"])
            for item in msgspec.json.decode(body)
        ]


def find_status(http_status: int, body: bytes) -> Status:
    """Return the status of the ledger that an answer tells."""
    if http_status == 201:
        return Status.APPLIED
    answer: dict[str, str] = json.loads(body)
    is_reused = answer.get("type", "").endswith(REUSED)
    return read_reason(REUSED if is_reused else answer["reason"])


def read_reason(reason: str) -> Status:
    """Return the status of the ledger that a refusal gives for its reason."""
    return Status.KEY_REUSED if reason == REUSED else Status[reason.upper().replace("-", "_")]


@contextmanager
def open_http(
    kind: type[ServiceRunner], workload: Workload, scratch: Path
) -> Iterator[ServiceRunner]:
    """Yield a stage whose server keeps its ledger in `scratch`, with its accounts and money."""
    data = scratch / "data"
    with open_engine(data, keys_reserved=0) as engine:
        workload.open_accounts(engine)
    command = kind.describe_server(data)
    with (
        Server(pick_cores()[0], *command, log=scratch / "server.log") as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        stage = kind(workload, server, runner)
        try:
            yield stage
        finally:
            runner.run(stage.hang_up())


def _stage(name: str, title: str, transfers: int, kind: type[ServiceRunner]) -> Stage:
    return Stage(name, title, "durable", transfers, partial(open_http, kind), spread=True)


HTTP_PLAIN = _stage("http-plain", "HTTP, a plain Sanic handler", 1_000, NaiveRunner)
HTTP_BATCHED = _stage("http-batched", "HTTP, batched, by Sanic", 6_000, ServiceRunner)
HTTP_NATIVE = _stage("http-native", "HTTP, read natively", 20_000, NativeRunner)
HTTP_BULK = _stage("http-bulk", f"HTTP, {ITEMS:,} a request", 16 * ITEMS, BulkRunner)
