"""Services that keep the contract of POST /transfer: ledgercore's own, and the sketch's in Go.

Their clients are those of `bench.load`, given calls instead of chance. A server is reached by its
URL only.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import uvloop

from ledgercore import __version__
from ledgercore.client.loopback import make_options

from ..load.http1 import make_transfer
from ..load.loops import run_closed_loop
from ..machine import run_on
from ..processes import DEADLINE_S, SERVICE, GoServer, Server
from ..workloads import WORLD, Call
from .peer import FUNDS, Peer, PeerFailed, PeerMissing, Round, Settings

INSTALL_GO = "name its binary with --go; --help says what it has to serve"
PAGE = 1000
APPLIED, REFUSED = 201, 422
BUILD_INFORMATION = re.compile(rb"\xff Go buildinf:.{18}(?P<length>.)(?P<rest>.{0,127})", re.DOTALL)
"""Where the Go linker leaves the version of Go (1.18 and newer), see its package debug/buildinfo:
a magic word of 14 bytes, 18 more, then the length of the version and the version itself."""


class HttpPeer(Peer):
    """A server that is there, and as many connections to it as there are clients."""

    def __init__(
        self, server: Server | GoServer, settings: Settings, version: str, stack: ExitStack
    ) -> None:
        super().__init__(settings, version)
        self.url = server.url
        self.asks = [self.post] * settings.clients
        self._client = stack.enter_context(
            httpx.Client(base_url=self.url, timeout=DEADLINE_S, **make_options(self.url))
        )
        self._stack = stack.pop_all()

    def post(self, call: Call) -> bool:
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
        host = urlsplit(self.url).netloc
        requests = (make_transfer(host, call) for call in calls)
        loop = run_closed_loop(
            self.url, self.clients, requests, seconds=seconds, deadline_s=seconds + DEADLINE_S
        )
        with run_on(self.core):
            course = uvloop.run(loop)
        answered = len(course.latencies_s)
        if course.lost or course.statuses != {APPLIED: answered}:
            counts = dict(course.statuses)
            raise PeerFailed(f"{self.title}: not all applied: {counts}, {course.lost} lost")
        return Round(calls[:answered], course.seconds, course.latencies_s, course.cpu_share)


class ServicePeer(HttpPeer):
    """`ledgercore serve`, with the funded accounts of its demo."""

    title = "ledgercore, POST /transfer"
    durability = "on the disk: one sync for all that came meanwhile"

    def __init__(self, settings: Settings) -> None:
        demo = (f"--demo-accounts={settings.accounts}", f"--demo-funds={FUNDS}")
        data = f"--data={settings.scratch / 'service'}"
        log = settings.scratch / "service.log"
        with ExitStack() as stack:
            server = stack.enter_context(Server(settings.core, *SERVICE, *demo, data, log=log))
            super().__init__(server, settings, __version__, stack)

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
        del balances[WORLD]
        return balances


class GoPeer(HttpPeer):
    """The service of the sketch. It tells no balances, so they are found by asking for money."""

    title = "the sketch in Go, POST /transfer"
    durability = "in its log before the answer, by its own word; no recovery is checked"

    def __init__(self, settings: Settings) -> None:
        binary = settings.go_binary
        if binary is None:
            raise PeerMissing(INSTALL_GO)
        with ExitStack() as stack:
            server = GoServer(
                settings.core,
                binary,
                settings.scratch / "go.log",
                accounts=settings.accounts,
                wal=settings.scratch / "go.wal",
            )
            super().__init__(stack.enter_context(server), settings, read_go_version(binary), stack)

    def read_balances(self) -> None:
        """Return nothing: the contract of the sketch has no balances."""


def read_go_version(binary: Path) -> str:
    """Return the version of Go that built a program; "unknown" if it does not tell."""
    found = BUILD_INFORMATION.search(binary.read_bytes())
    if found is None:
        return "unknown"
    return found["rest"][: found["length"][0]].decode(errors="replace")
