"""The protocol: how many connections there are, whatever becomes of them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.waiting import wait_until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
TRANSFER = (
    b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: k\r\nContent-Length: 42\r\n\r\n"
    b'{"from":"acct-0","to":"acct-1","amount":1}'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    data: Path = tmp_path_factory.mktemp("protocol")
    options = {"durability": "memory", "connections_max": 3}
    with local_serving(), LocalServer(data / "l", PROTOCOLS["native"], **options) as server:
        yield server


def test_connections_are_counted_while_they_are_open(server: LocalServer) -> None:
    lifecycle = server.lifecycle
    wait_until(lambda: lifecycle.connection_limit.count == 0, "the connections of others to end")
    first, second = server.connect(), server.connect()
    for connection in (first, second):
        connection.send(HEALTH)
        assert connection.read_answer() is not None
    assert lifecycle.connection_limit.count == 2
    first.close()
    wait_until(lambda: lifecycle.connection_limit.count == 1, "the end of a connection to be seen")
    second.close()
    wait_until(lambda: lifecycle.connection_limit.count == 0, "the end of a connection to be seen")


def test_connection_that_is_one_too_many_is_not_left_in_the_count(server: LocalServer) -> None:
    lifecycle = server.lifecycle
    wait_until(lambda: lifecycle.connection_limit.count == 0, "the connections of others to end")
    kept = [server.connect() for _ in range(3)]
    wait_until(lambda: lifecycle.connection_limit.count == 3, "all connections to be there")
    with server.connect() as refused:
        answer = refused.read_to_end()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\ndate: " in answer
    assert lifecycle.meters.read_answers()["other", 503, "connections-full"] == 1
    wait_until(lambda: lifecycle.connection_limit.count == 3, "the refused connection to end")
    for connection in kept:
        connection.close()


@pytest.mark.parametrize("request_bytes", [HEALTH, TRANSFER], ids=["ordinary", "native"])
def test_an_idle_connection_is_closed_after_its_time(tmp_path: Path, request_bytes: bytes) -> None:
    """Not before, whichever way its last request went; and Sanic looks each half of the time."""
    options: dict[str, Any] = {"durability": "memory", "demo_accounts": 2, "keep_alive_s": 2}
    with (
        local_serving(),
        LocalServer(tmp_path / "l", PROTOCOLS["native"], **options) as server,
        server.connect() as connection,
    ):
        began_s = time.monotonic()
        for _ in range(3):
            connection.send(request_bytes)
            answer = connection.read_answer()
            assert answer is not None and answer.status < 300
            last_s = time.monotonic()
            wait_until(lambda: time.monotonic() > last_s + 1, "a second to pass")  # noqa: B023
        assert time.monotonic() - began_s > 2
        assert connection.read_to_end() == b""
        assert 2 <= time.monotonic() - last_s < 10
