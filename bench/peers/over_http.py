"""Services that keep the contract of POST /transfer: ledgercore's own, and the sketch's in Go.

This module owns their clients, which are those of `bench.load`, given calls instead of chance. A
server is reached by its URL only.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import uvloop

from ledgercore import __version__
from ledgercore.client.loopback import make_options

from ..load import Connection, Load, Plan
from ..machine import run_on
from ..servers import SERVICE, Server
from ..workloads import Call
from .peer import DEADLINE_S, FUNDS, Peer, PeerFailed, PeerMissing, Round, Settings
from .processes import await_server, pick_port, run_server

INSTALL_GO = "name its binary with --go; --help says what it has to serve"
PAGE = 1000
APPLIED, REFUSED = 201, 422
BUILD_INFORMATION = re.compile(rb"\xff Go buildinf:.{18}(?P<length>.)(?P<rest>.{0,127})", re.DOTALL)
"""Where the Go linker leaves the version of Go (1.18 and newer), see its package debug/buildinfo:
a magic word of 14 bytes, 18 more, then the length of the version and the version itself."""


class CallLoad(Load):
    """A run over calls that somebody made, until they or the time are at an end."""

    def __init__(self, plan: Plan, requests: Iterator[bytes]) -> None:
        super().__init__(plan)
        self._requests = requests
        self._end_s = time.perf_counter() + (plan.seconds or DEADLINE_S)
        self._next = b""
        self.make_request = lambda: self._next

    def may_ask(self) -> bool:
        """Tell whether one more request is to be sent, and get it ready."""
        if time.perf_counter() >= self._end_s:
            return False
        self._next = next(self._requests, b"")
        return self._next != b""


class HttpPeer(Peer):
    """A server that is there, and as many connections to it as there are clients."""

    def __init__(self, url: str, settings: Settings, stack: ExitStack) -> None:
        self.url = url
        self.clients = settings.clients
        self._load_core = settings.load_core
        self._client = stack.enter_context(
            httpx.Client(base_url=url, timeout=DEADLINE_S, **make_options(url))
        )

    def ask(self, call: Call) -> bool:
        """Make one call over a connection of its own."""
        source, target, amount, key = call
        response = self._client.post(
            "/transfer",
            json={"from": source, "to": target, "amount": amount},
            headers={"Idempotency-Key": key},
        )
        if response.status_code not in (APPLIED, REFUSED):
            raise PeerFailed(f"{self.title}: answered {response.status_code}: {response.text}")
        return response.status_code == APPLIED

    def run(self, calls: Sequence[Call], seconds: float) -> Round:
        """Run all clients, in one event loop."""
        with run_on(self._load_core):
            return uvloop.run(self._run(calls, seconds))

    async def _run(self, calls: Sequence[Call], seconds: float) -> Round:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or 80
        loop = asyncio.get_running_loop()
        started, cpu_started_s = time.perf_counter(), time.process_time()
        plan = Plan(self.url, self.clients, seconds=seconds)
        load = CallLoad(plan, (make_request(parts.netloc, call) for call in calls))
        loop.set_exception_handler(load.fail)
        transports = []
        try:
            for _ in range(self.clients):
                transport, _ = await loop.create_connection(partial(Connection, load), host, port)
                transports.append(transport)
            async with asyncio.timeout(seconds + DEADLINE_S):
                await load.wait()
        finally:
            for transport in transports:
                transport.abort()
        took_s = time.perf_counter() - started
        cpu_s = time.process_time() - cpu_started_s
        answered = len(load.latencies_s)
        if load.lost or load.statuses != {str(APPLIED).encode(): answered}:
            counts = dict(load.statuses)
            raise PeerFailed(f"{self.title}: not all applied: {counts}, {load.lost} lost")
        return Round(calls[:answered], took_s, load.latencies_s, cpu_s / took_s)


class ServicePeer(HttpPeer):
    """`ledgercore serve`, with the funded accounts of its demo."""

    title = "ledgercore, POST /transfer"
    durability = "on the disk: one sync for all that came meanwhile"

    def __init__(self, settings: Settings) -> None:
        self.version = __version__
        with ExitStack() as stack:
            demo = (f"--demo-accounts={settings.accounts}", f"--demo-funds={FUNDS}")
            data = f"--data={settings.scratch / 'service'}"
            log = settings.scratch / "service.log"
            server = stack.enter_context(Server(settings.core, *SERVICE, *demo, data, log=log))
            super().__init__(server.url, settings, stack)
            self._stack = stack.pop_all()

    def read_balances(self) -> Mapping[str, int]:
        """Return the balances of the demo's accounts, after an audit of all."""
        audit = self._client.get("/audit").json()
        if not audit["ok"]:
            raise PeerFailed(f"the audit fails: {audit}")
        balances: dict[str, int] = {}
        cursor: dict[str, str] | None = {}
        while cursor is not None:
            page = self._client.get("/accounts", params={"limit": str(PAGE), **cursor}).json()
            balances |= {account["id"]: account["balance"] for account in page["accounts"]}
            cursor = {"cursor": page["next"]} if page["next"] is not None else None
        del balances["world"]
        return balances


class GoPeer(HttpPeer):
    """The service of the sketch. It tells no balances, so they are found by asking for money."""

    title = "the sketch in Go, POST /transfer"
    durability = "in its log before the answer, by its own word; no recovery is checked"

    def __init__(self, settings: Settings) -> None:
        binary = settings.go_binary
        if binary is None:
            raise PeerMissing(INSTALL_GO)
        self.version = read_go_version(binary)
        with ExitStack() as stack:
            address = f"127.0.0.1:{pick_port()}"
            log = settings.scratch / "go.log"
            flags = {
                "-addr": address,
                "-wal": str(settings.scratch / "go.wal"),
                "-accounts": str(settings.accounts),
                "-procs": "1",
            }
            words = [word for flag in flags.items() for word in flag]
            command = [str(binary.resolve()), *words]
            process = stack.enter_context(run_server(settings.core, command, log))
            super().__init__(f"http://{address}", settings, stack)
            # Whatever it answers to this, it is there.
            await_server(process, log, partial(self._client.get, "/"), httpx.ConnectError)
            self._stack = stack.pop_all()

    def read_balances(self) -> None:
        """Return nothing: the contract of the sketch has no balances."""


def make_request(host: str, call: Call) -> bytes:
    """Return the bytes of the request for one call."""
    source, target, amount, key = call
    body = f'{{"from":"{source}","to":"{target}","amount":{amount}}}'
    return (
        f"POST /transfer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def read_go_version(binary: Path) -> str:
    """Return the version of Go that built a program; "unknown" if it does not tell."""
    found = BUILD_INFORMATION.search(binary.read_bytes())
    if found is None:
        return "unknown"
    return found["rest"][: found["length"][0]].decode(errors="replace")
