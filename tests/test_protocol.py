"""The protocol: how many connections there are, whatever becomes of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local import PROTOCOLS, LocalServer, local_serving
from tests.waiting import wait_until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    data: Path = tmp_path_factory.mktemp("protocol")
    options = {"durability": "memory", "connections_max": 3}
    with local_serving(), LocalServer(data / "l", PROTOCOLS["native"], **options) as server:
        yield server


def test_connections_are_counted_while_they_are_open(server: LocalServer) -> None:
    lifecycle = server.lifecycle
    wait_until(lambda: lifecycle.connection_count == 0, "the connections of others to end")
    first, second = server.connect(), server.connect()
    for connection in (first, second):
        connection.send(HEALTH)
        assert connection.read_answer() is not None
    assert lifecycle.connection_count == 2
    first.close()
    wait_until(lambda: lifecycle.connection_count == 1, "the end of a connection to be seen")
    second.close()
    wait_until(lambda: lifecycle.connection_count == 0, "the end of a connection to be seen")


def test_connection_that_is_one_too_many_is_not_left_in_the_count(server: LocalServer) -> None:
    lifecycle = server.lifecycle
    wait_until(lambda: lifecycle.connection_count == 0, "the connections of others to end")
    kept = [server.connect() for _ in range(3)]
    wait_until(lambda: lifecycle.connection_count == 3, "all connections to be there")
    with server.connect() as refused:
        assert refused.read_to_end().startswith(b"HTTP/1.1 503 ")
    assert lifecycle.meters.read_answers()["other", 503, "connections-full"] == 1
    wait_until(lambda: lifecycle.connection_count == 3, "the refused connection to end")
    for connection in kept:
        connection.close()
