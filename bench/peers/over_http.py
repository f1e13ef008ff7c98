"""Services that keep the contract of POST /transfer: ledgercore's own, and the sketch's in Go.

Their clients are those of `bench.load`, given calls instead of chance. A server is reached by its
URL only.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import uvloop

from ledgercore import __version__
from ledgercore.client import LedgerClient
from ledgercore.client.loopback import make_options

from ..load.http1 import make_transfer
from ..load.loops import run_closed_loop
from ..machine import run_on
from ..processes import DEADLINE_S, SERVICE, GoServer, Server
from ..workloads import WORLD, Call
from .peer import FUNDS, Peer, PeerFailed, PeerMissing, Round, Settings

INSTALL_GO = "name its binary with --go; --help says what it has to serve"
APPLIED, REFUSED = 201, 422
BUILD_INFORMATION = re.compile(rb"\xff Go buildinf:.{18}(?P<length>.)(?P<rest>.{0,127})", re.DOTALL)
"""Where the Go linker leaves the version of Go (1.18 and newer), see its package debug/buildinfo:
a magic word of 14 bytes, 18 more, then the length of the version and the version itself."""


@contextmanager
def open_service(settings: Settings) -> Iterator[Peer]:
    """Start `ledgercore serve`, with the funded accounts of its demo."""
    demo = (f"--demo-accounts={settings.accounts}", f"--demo-funds={FUNDS}")
    data, log = f"--data={settings.scratch / 'service'}", settings.scratch / "service.log"
    with (
        Server(settings.core, *SERVICE, *demo, data, log=log) as server,
        _open_client(server.url) as client,
    ):
        title = "ledgercore, POST /transfer"
        yield Peer(
            title,
            "on the disk: one sync for all that came meanwhile",
            __version__,
            settings.clients,
            partial(post, client, title),
            partial(run_connections, server.url, title, settings),
            partial(read_balances, server.url),
        )


@contextmanager
def open_go(settings: Settings) -> Iterator[Peer]:
    """Start the sketch. It tells no balances, so they are found by asking for money."""
    binary, scratch = settings.go_binary, settings.scratch
    if binary is None:
        raise PeerMissing(INSTALL_GO)
    with (
        GoServer(
            settings.core,
            binary,
            scratch / "go.log",
            accounts=settings.accounts,
            wal=scratch / "go.wal",
        ) as server,
        _open_client(server.url) as client,
    ):
        title = "the sketch in Go, POST /transfer"
        yield Peer(
            title,
            "in its log before the answer, by its own word; no recovery is checked",
            read_go_version(binary),
            settings.clients,
            partial(post, client, title),
            partial(run_connections, server.url, title, settings),
            lambda: None,
        )


def _open_client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=DEADLINE_S, **make_options(url))


def post(client: httpx.Client, title: str, call: Call) -> bool:
    """Make one call."""
    source, target, amount, key = call
    response = client.post(
        "/transfer",
        json={"from": source, "to": target, "amount": amount},
        headers={"Idempotency-Key": key},
    )
    if response.status_code not in (APPLIED, REFUSED):
        raise PeerFailed(f"{title}: answered {response.status_code}: {response.text}")
    return response.status_code == APPLIED


def run_connections(
    url: str, title: str, settings: Settings, calls: Sequence[Call], seconds: float
) -> Round:
    """Run all clients, in one event loop, each over a connection of its own."""
    host = urlsplit(url).netloc
    requests = (make_transfer(host, call) for call in calls)
    deadline_s = seconds + DEADLINE_S
    with run_on(settings.load_core):
        course = uvloop.run(
            run_closed_loop(url, settings.clients, requests, seconds=seconds, deadline_s=deadline_s)
        )
    answered = len(course.latencies_s)
    if course.lost or course.statuses != {APPLIED: answered}:
        counts = dict(course.statuses)
        raise PeerFailed(f"{title}: not all applied: {counts}, {course.lost} lost")
    return Round(calls[:answered], course.seconds, course.latencies_s, course.cpu_share)


def read_balances(url: str) -> dict[str, int]:
    """Return the balances of the demo's accounts, after an audit of all."""
    with LedgerClient(url) as client:
        audit = client.audit()
        if not audit.ok:
            raise PeerFailed(f"the audit fails: {audit}")
        return {account.id: account.balance for account in client.accounts() if account.id != WORLD}


def read_go_version(binary: Path) -> str:
    """Return the version of Go that built a program; "unknown" if it does not tell."""
    found = BUILD_INFORMATION.search(binary.read_bytes())
    if found is None:
        return "unknown"
    return found["rest"][: found["length"][0]].decode(errors="replace")
