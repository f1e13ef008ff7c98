"""Connections that end badly, read slowly, or are there when the server stops; and that none leaks.

These are servers as processes, with sockets, as a client has them.
"""

import os
import random
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.local import Answer, RawConnection
from tests.support.servers import Server, balance, post_transfer
from tests.support.waiting import wait_until

FUNDS = 100_000_000
BODY = b'{"from":"acct-0","to":"acct-1","amount":1}'


def post(key: str, *lines: bytes, body: bytes = BODY) -> bytes:
    head = [b"POST /transfer HTTP/1.1", b"Host: localhost", b"Content-Type: application/json"]
    head += [b"Idempotency-Key: " + key.encode(), *lines]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


def address_of(server: Server) -> tuple[str, int]:
    parsed = httpx.URL(server.url)
    assert parsed.port is not None
    return parsed.host, parsed.port


def memory_of(server: Server) -> int:
    """Return how many bytes of memory the server has."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel tells no size")


def descriptors_of(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "ledger", "--demo-accounts=2", "--durability=memory") as server:
        yield server
        assert server.stop() == 0
        assert server.complaints == []


# -- those that read slowly ------------------------------------------------------------------------


def send_until_blocked(connection: socket.socket, request: bytes) -> int:
    """Send a request again and again until the server takes no more; return the bytes sent."""
    # So much at a time that nothing else can be the reason that nothing is taken for a while.
    data, sent = request * 64, 0
    connection.setblocking(False)
    while select.select([], [connection], [], 1.0)[1]:
        # A write may end within a request, and the next one goes on from there.
        sent += connection.send(data[sent % len(request) :])
        assert sent < 256 << 20, "the server reads on and on from a client that reads nothing"
    connection.setblocking(True)
    return sent


@pytest.mark.parametrize("line", [b"Accept: */*", b"X-Slow: a"], ids=["native", "ordinary"])
def test_a_client_that_reads_slowly(server: Server, line: bytes) -> None:
    """What it does not read must not pile up in the server, and all of it arrives in the end."""
    request = post("slow", line)
    with RawConnection(address_of(server), receive_bytes=4096) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.send(request)
        assert len(connection.read_answers(1)) == 1
        before = memory_of(server)
        sent = send_until_blocked(connection.socket, request)
        assert memory_of(server) - before < 16 << 20
        # Others are served all the same.
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        rest = request[sent % len(request) :] if sent % len(request) else b""
        sender = threading.Thread(target=connection.send, args=(rest,))
        sender.start()
        count = (sent + len(rest)) // len(request)
        answers = connection.read_answers(count)
        sender.join()
        assert {answer.status for answer in answers} == {201}
        assert len({answer.body for answer in answers}) == 1
        connection.send(request)
        assert len(connection.read_answers(1)) == 1
    with httpx.Client(base_url=server.url) as client:
        assert balance(client, "acct-1") == FUNDS + 1


# -- those that hang up ----------------------------------------------------------------------------


def test_clients_that_hang_up_within_a_request(server: Server) -> None:
    request = post("cut")
    for at in range(1, len(request)):
        with RawConnection(address_of(server)) as connection:
            connection.send(request[:at])
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/idempotency-keys/cut").json()["state"] == "unseen"
        assert balance(client, "acct-1") == FUNDS


@pytest.mark.parametrize("is_reset", [False, True])
def test_clients_that_hang_up_before_the_answer(server: Server, is_reset: bool) -> None:
    """A transfer stands or does not, and never by half."""
    keys = [f"gone-{number}" for number in range(300)]
    for key in keys:
        with RawConnection(address_of(server)) as connection:
            if is_reset:
                linger = b"\x01\0\0\0\0\0\0\0"
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.send(post(key) + post(f"{key}-second"))
    with httpx.Client(base_url=server.url) as client:
        # This one comes after all of those that were read.
        assert post_transfer(client, "last", "acct-0", "acct-1", 1).is_success
        states = {
            key: client.get(f"/idempotency-keys/{key}").json()["state"]
            for first in keys
            for key in (first, f"{first}-second")
        }
        applied = sum(state == "applied" for state in states.values())
        assert set(states.values()) <= {"applied", "unseen"}
        assert applied > 0
        assert balance(client, "acct-1") == FUNDS + applied + 1
        assert balance(client, "acct-0") == FUNDS - applied - 1
        audit = client.get("/audit").json()
        assert audit["ok"] is True


# -- those that are there when the server stops ----------------------------------------------------


def test_a_stop_answers_what_was_taken(tmp_path: Path) -> None:
    """Natively read requests are answered in their order, and their connections closed.

    Each connection's requests are read at once: where more of them came while it is closed, the
    kernel would throw away with them what is on its way back.
    """
    data, count = tmp_path / "ledger", 64
    with Server(data, "--demo-accounts=2") as server:
        connections = [RawConnection(address_of(server)) for _ in range(64)]
        for number, connection in enumerate(connections):
            connection.send(b"".join(post(f"{number}-{n}") for n in range(count)))
        answered: list[list[Answer]] = [[] for _ in connections]
        answered[0] += connections[0].read_answers(1)
        server.signal(signal.SIGTERM)
        for connection, answers in zip(connections, answered, strict=True):
            while (answer := connection.read_answer()) is not None:
                answers.append(answer)
            connection.close()
        assert server.wait() == 0 and server.complaints == []
    applied = [[answer for answer in answers if answer.status == 201] for answers in answered]
    for answers, taken in zip(answered, applied, strict=True):
        # What comes after the applied ones is at most one refusal, with which it ends.
        assert answers[: len(taken)] == taken and len(answers) <= len(taken) + 1
        assert {answer.problem for answer in answers} <= {"", "shutting-down"}
    with Server(data) as server, httpx.Client(base_url=server.url) as client:
        for number, taken in enumerate(applied):
            if not taken:
                continue
            last = client.get(f"/idempotency-keys/{number}-{len(taken) - 1}").json()
            assert last["state"] == "applied"
        moved = balance(client, "acct-1") - FUNDS
        assert sum(map(len, applied)) <= moved <= count * len(connections)


# -- that none leaks -------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_connections_leave_nothing_behind(server: Server) -> None:
    """Opened, and dropped at random points of what they send and read."""
    address, choose = address_of(server), random.Random(4)
    kinds = [
        post("kept"),
        post("kept", b"X-Slow: a"),
        b"GET /accounts/acct-1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post("kept") * 8,
        b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",
    ]

    def drop(count: int) -> None:
        for _ in range(count):
            data = choose.choice(kinds)
            with RawConnection(address) as connection:
                connection.send(data[: choose.randint(0, len(data))])
                if choose.random() < 0.1:
                    connection.socket.setblocking(False)
                    select.select([connection.socket], [], [], 0.001)

    # The first ones make the server's buffers as large as they get.
    drop(2_000)
    idle = 1 + wait_until(lambda: least_descriptors(server), "connections to end")
    memory = memory_of(server)
    drop(10_000)
    wait_until(lambda: descriptors_of(server) <= idle, "the connections to be forgotten")
    assert memory_of(server) - memory < 4 << 20
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def least_descriptors(server: Server) -> int:
    """Return the number of open files once it is small; a waiting one may still have to end."""
    count = descriptors_of(server)
    return count if count < 64 else 0
