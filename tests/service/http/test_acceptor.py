"""The way in: how many connections there may be under a limit, and how long they may begin."""

import asyncio
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from ledgercore.service.admission.connection_limit import LEAVING_MAX, PROBES_MAX, ConnectionLimit
from ledgercore.service.http.acceptor import HANDSHAKE_S, Acceptor
from ledgercore.service.process.descriptors import RESERVED
from tests.service.http.test_certificates import make_certificate
from tests.support.servers import Server
from tests.support.standing import find_url, limit_descriptors, read_until, serve_raw
from tests.support.waiting import DEADLINE_S, wait_until

LIMIT = 512
ROOM = LIMIT - RESERVED - PROBES_MAX - LEAVING_MAX
IDLE = LIMIT + 88


@contextmanager
def hold(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections, and say nothing on them."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(address)) for _ in range(count)]


def address_of(url: str) -> tuple[str, int]:
    parsed = httpx.URL(url)
    return parsed.host, parsed.port or 0


def processor_s(pid: int) -> float:
    """Return how many seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(connection: socket.socket) -> bool:
    return not select.select([connection], [], [], 0)[0]


def test_idle_connections_do_not_stop_the_ledger(tmp_path: Path) -> None:
    """More of them than descriptors: the journal goes on from file to file, the rest is refused."""
    data = tmp_path / "ledger"
    reading, writing = os.pipe()
    flags = ("--demo-accounts=2", "--demo-funds=1000000000", "--snapshot-every=1")
    limit = limit_descriptors(LIMIT)
    with serve_raw(data, *flags, stdout=writing, prepare=limit) as process:
        url = find_url(read_until(reading, b"serving"))
        with httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
            assert client.get("/metrics").json()["connections_max"] == ROOM
            with hold(address_of(url), IDLE) as idle:
                wait_until(
                    lambda: client.get("/metrics").json()["connections"] == ROOM,
                    "those that are too many to go",
                )
                assert sum(map(is_alive, idle)) == ROOM - 1
                number = 0
                while len(list((data / "journal").glob("*.segment"))) < 3:
                    bodies = [
                        {"idempotency_key": f"{number}-{row}", "from": "acct-0", "to": "acct-1"}
                        | {"amount": 1}
                        for row in range(20_000)
                    ]
                    assert client.post("/transfers", json=bodies).status_code == 200
                    number += 1
                assert client.get("/audit").json()["ok"]
                assert client.get("/audit").json()["journal_checked"]
                # Nobody spins on what cannot be accepted.
                before, began_s = processor_s(process.pid), time.monotonic()
                wait_until(lambda: time.monotonic() > began_s + 1, "a second to pass")
                assert processor_s(process.pid) - before < 0.5
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    os.close(reading)
    os.close(writing)


def test_probes_are_answered_beside_them(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--connections-max=20") as server:
        with hold(address_of(server.url), 300):
            for path in ("/healthz", "/readyz"):
                assert httpx.get(f"{server.url}{path}").status_code == 200
            refused = httpx.get(f"{server.url}/accounts")
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:ledgercore:problem:connections-full"
        wait_until(lambda: httpx.get(f"{server.url}/accounts").is_success, "there to be room")
        assert server.stop() == 0


def test_too_few_descriptors_are_one_line(tmp_path: Path) -> None:
    with serve_raw(
        tmp_path / "ledger",
        stderr=(log := (tmp_path / "log").open("wb")),
        prepare=limit_descriptors(150),
    ) as process:
        log.close()
        assert process.wait(DEADLINE_S) == 1
    told = (tmp_path / "log").read_text()
    assert "150 descriptors are too few to serve with" in told and "Traceback" not in told


@pytest.mark.slow
def test_handshakes_are_counted_and_have_an_end(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "one")
    flags = (f"--tls-cert={cert}", f"--tls-key={key}", "--connections-max=10", "--demo-accounts=1")
    context = ssl.create_default_context(cafile=str(cert))
    with Server(tmp_path / "ledger", *flags) as server:
        address = address_of(server.url)
        with httpx.Client(base_url=server.url, verify=context) as client:
            assert client.get("/accounts").status_code == 200
            with hold(address, 10 + PROBES_MAX + 20) as silent:
                began_s = time.monotonic()
                wait_until(
                    lambda: client.get("/metrics").json()["connections"] == 10 + PROBES_MAX,
                    "the oldest of those that are too many to go",
                )
                # A probe has its handshake, and the one that is known goes on.
                assert httpx.get(f"{server.url}/readyz", verify=context).status_code == 200
                wait_until(
                    lambda: client.get("/metrics").json()["connections"] == 1,
                    "those that never come to speak to go",
                )
                assert HANDSHAKE_S - 1 < time.monotonic() - began_s < HANDSHAKE_S + 10
                assert not any(map(is_alive, silent))
            assert httpx.get(f"{server.url}/accounts", verify=context).status_code == 200
        assert server.stop() == 0 and server.complaints == []


class Refused:
    """A connection that has to go as soon as it is there."""

    handshake: "asyncio.Task[None]"

    def turn_away(self) -> None:
        self.handshake.cancel()


def test_who_has_to_go_before_the_first_step_gives_its_seat_back() -> None:
    async def accept() -> None:
        ours, theirs = socket.socketpair()
        connection_limit = ConnectionLimit(1)
        protocol = Refused()
        acceptor = Acceptor([], connection_limit, lambda: protocol, lambda: None)
        acceptor._begin(ours)
        assert connection_limit.count == 1
        protocol.turn_away()
        await acceptor.close()
        assert connection_limit.count == 0 and ours.fileno() == -1
        theirs.close()

    asyncio.run(accept())
