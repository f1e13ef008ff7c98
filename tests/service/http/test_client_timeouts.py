"""Clients that send a byte now and then, or do not read, are cut off; the others are not."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgercore.service.http import client_timeouts
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.waiting import DEADLINE_S, wait_until

REQUEST_S = 0.5
BYTE_INTERVAL_S = 0.05
HEAD = (
    b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: %s\r\nX-Odd: 1\r\nContent-Length: %d\r\n"
)
CHUNKED = (
    b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
BODY = b'{"from":"acct-0","to":"acct-1","amount":1}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_timeouts, "REQUEST_S", REQUEST_S)
        patch.setattr(client_timeouts, "LOOK_INTERVAL_S", 0.05)
        patch.setattr(client_timeouts, "READ_S", REQUEST_S)
        data = tmp_path_factory.mktemp("patience")
        with (
            local_serving(),
            LocalServer(
                data, PROTOCOLS["native"], demo_accounts=10, durability="memory", connections_max=8
            ) as server,
        ):
            # Each byte starts Sanic's clocks anew, and none of them may be what is tested here.
            server.app.config.REQUEST_TIMEOUT = server.app.config.RESPONSE_TIMEOUT = 60
            yield server


def dribble(connection: RawConnection, data: bytes) -> float:
    """Send a byte at a time until the server answers or all is sent; how long that took."""
    began_s = time.monotonic()
    connection.socket.settimeout(BYTE_INTERVAL_S)
    for at in range(len(data)):
        connection.send(data[at : at + 1])
        try:
            connection.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        break
    connection.socket.settimeout(DEADLINE_S)
    return time.monotonic() - began_s


@pytest.mark.parametrize(
    ("whole", "dribbled"),
    [
        (b"", HEAD % (b"/transfer", b"k-head", 42)),
        (CHUNKED % b"/transfer" + b"2a", b";a=" + b"b" * 200),
        (CHUNKED % b"/transfers" + b"1\r\n[\r\n1", b";a=" + b"b" * 200),
        (CHUNKED % b"/transfer" + b"2a\r\n" + BODY + b"\r\n0\r\n", b"X-Trailer: " + b"b" * 200),
        (b"", b"POST /transfer HTTP/1.1\r\nHost: localhost\r\n" * 3),
        (HEAD % (b"/transfer", b"k-body", 4000) + b"\r\n", b" " * 4000),
        (HEAD % (b"/transfers", b"k-bulk", 4000) + b"\r\n", b"[" + b" " * 3999),
    ],
    ids=["head", "chunk-line", "bulk-chunk-line", "trailers", "plain-head", "body", "bulk"],
)
def test_what_dribbles_in_is_408(server: LocalServer, whole: bytes, dribbled: bytes) -> None:
    with server.connect() as connection:
        connection.send(whole)
        took_s = dribble(connection, dribbled)
        answer = connection.read_answer()
        if b"k-bulk" in whole:  # A key for a bulk is refused before its body is there.
            assert answer is not None and answer.status == 400
        else:
            assert answer is not None and answer.problem == "request-timeout"
            # What is not whole is given to Sanic after a second of its own.
            assert took_s < 10 * (REQUEST_S + 1)
        assert connection.read_to_end() == b""


def test_a_body_that_dribbles_after_its_refusal_is_dropped(server: LocalServer) -> None:
    with server.connect() as connection:
        connection.send(
            b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n"
        )
        answer = connection.read_answer()
        assert answer is not None and answer.status == 404
        dribble(connection, b" " * 4000)
        assert connection.read_to_end().count(b"HTTP/1.1") <= 1


def test_what_comes_fast_enough_is_taken(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_timeouts, "BYTES_PER_S_MIN", 1)
    request = HEAD % (b"/transfer", b"k-slow", len(BODY)) + b"\r\n" + BODY
    with server.connect() as connection:
        assert dribble(connection, request) > 2 * REQUEST_S
        answer = connection.read_answer()
        assert answer is not None and answer.status == 201
        # The connection is as good as any other.
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = connection.read_answer()
        assert answer is not None and answer.status == 200


def test_a_client_that_does_not_read_is_cut_off(server: LocalServer) -> None:
    request = b"GET /accounts?limit=10 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.connect(receive_bytes=4096) as connection:
        connection.socket.settimeout(BYTE_INTERVAL_S)
        sent = 0

        def is_cut_off() -> bool:
            nonlocal sent
            try:
                sent += connection.socket.send(request * 100)
            except TimeoutError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        wait_until(is_cut_off, "the server to cut the connection")
    assert sent > len(request)


def test_too_many_connections_are_refused(server: LocalServer, tmp_path: Path) -> None:
    limit = server.lifecycle.settings.connections_max
    wait_until(lambda: not server.connections, "earlier connections to end")
    held = [server.connect() for _ in range(limit)]
    try:
        wait_until(lambda: len(server.connections) == limit, "all connections to be there")
        with server.connect() as refused:
            answer = refused.read_answer()
            assert answer is not None and answer.status == 503
            assert answer.problem == "connections-full"
            assert answer.headers["connection"] == "close"
            assert "retry-after" in answer.headers
            assert refused.read_to_end() == b""
        # Those that were there are served, and one that ends makes room.
        held[0].send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = held[0].read_answer()
        assert answer is not None and answer.status == 200
        held.pop().close()
        wait_until(lambda: len(server.connections) == limit - 1, "a connection to end")
        assert server.get("/healthz") == {"status": "ok"}
    finally:
        for connection in held:
            connection.close()
