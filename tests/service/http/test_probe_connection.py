"""Probes where there are too many connections: they are answered, and nothing else is."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgercore.service.admission.connection_limit import PROBES_MAX
from ledgercore.service.http import probe_connection
from ledgercore.service.runtime import blocking_calls
from tests.support.keyed import make_key
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.waiting import wait_until

LIMIT = 4
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
READY = b"HEAD /readyz HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kube-probe/1.30\r\n\r\n"
TRANSFER = (
    b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: k\r\nContent-Length: 42\r\n\r\n"
    b'{"from":"acct-0","to":"acct-1","amount":1}'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    data = tmp_path_factory.mktemp("probing")
    options = {"durability": "memory", "connections_max": LIMIT, "demo_accounts": 2}
    with local_serving(), LocalServer(data / "l", PROTOCOLS["native"], **options) as server:
        yield server


@pytest.fixture(autouse=True)
def _full(server: LocalServer) -> Iterator[None]:
    """Open as many connections as there may be, and close them."""
    connection_limit = server.lifecycle.connection_limit
    wait_until(lambda: connection_limit.count == 0, "earlier connections to end")
    with contextlib.ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(server.connect())
        wait_until(lambda: connection_limit.count == LIMIT, "all connections to be there")
        yield


def ask(connection: RawConnection, *pieces: bytes) -> str:
    """Return the status of the answer, or the problem that it is."""
    connection.send(*pieces)
    answer = connection.read_answer()
    assert answer is not None
    return answer.problem or str(answer.status)


def test_probes_are_answered(server: LocalServer) -> None:
    with server.connect() as probe:
        assert ask(probe, HEALTH) == "200"
        # As often as anybody asks.
        assert ask(probe, HEALTH[:10], HEALTH[10:30], HEALTH[30:]) == "200"
    with server.connect() as probe:
        probe.send(READY)
        assert probe.read_to_end().startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "data",
    [
        TRANSFER,
        b"GET /accounts HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz/more HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        HEALTH + TRANSFER,
        HEALTH[:-2] + b"X: " + b"y" * 5000,
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n",
    ],
    ids=["transfer", "read", "longer", "post", "behind-a-probe", "long", "tls"],
)
def test_nothing_else_is(server: LocalServer, data: bytes) -> None:
    lsn = server.lifecycle.engine.statistics().lsn_applied
    with server.connect() as connection:
        assert ask(connection, data) == "connections-full"
        assert connection.read_to_end() == b""
    with server.connect() as connection:
        assert ask(connection, HEALTH) == "200"
        assert ask(connection, data) == "connections-full"
    assert server.lifecycle.engine.statistics().lsn_applied == lsn


def test_who_says_nothing_is_told_so_after_a_moment(server: LocalServer) -> None:
    with server.connect() as connection:
        answer = connection.read_answer()
        assert answer is not None and answer.problem == "connections-full"
        assert connection.read_to_end() == b""
    # Who was answered, and says nothing more, is told nothing more.
    with server.connect() as connection:
        assert ask(connection, HEALTH) == "200"
        assert connection.read_to_end() == b""


def test_probes_are_answered_at_every_other_limit(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In flight, of blocking calls, and of the rate: what is busy is alive."""
    lifecycle = server.lifecycle
    lifecycle.connection_limit.limit += 1  # One more that may ask for anything.
    try:
        with server.connect() as connection:
            monkeypatch.setattr(blocking_calls, "CALLS_MAX", 0)
            lifecycle.admission.in_flight.limit = 0
            lifecycle.admission.limiter.configure(global_rate=0.001, global_burst=1)
            assert ask(connection, TRANSFER) == "overloaded"
            refused = [
                ask(connection, b"GET /transfers/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                for _ in range(2)
            ]
            assert refused == ["queue-full", "quota-exceeded"]
            assert [ask(connection, HEALTH) for _ in range(10)] == ["200"] * 10
            assert ask(connection, READY.replace(b"HEAD", b"GET")) == "200"
    finally:
        lifecycle.connection_limit.limit -= 1
        lifecycle.admission.in_flight.limit = (1 << 63) - 1
        lifecycle.admission.limiter.configure(global_rate=0, global_burst=0)


def test_a_flood_of_silent_ones_does_not_shut_out_a_probe(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_connection, "SILENCE_S", 60.0)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(3 * PROBES_MAX)]
        with server.connect() as probe:
            assert ask(probe, HEALTH) == "200"
        # The oldest had to go, and were told why.
        answer = silent[0].read_answer()
        assert answer is not None and answer.problem == "connections-full"
        refused = server.lifecycle.meters.read_answers()["other", 503, "connections-full"]
        assert refused >= 2 * PROBES_MAX


def test_probes_under_the_path_of_a_proxy_are_answered(tmp_path: Path) -> None:
    data = tmp_path / "l"
    make_key(data, "one")
    options = {"durability": "memory", "connections_max": 1, "base_path": "/money"}
    with (
        local_serving(),
        LocalServer(data, PROTOCOLS["native"], **options) as server,
        server.connect(),
    ):
        wait_until(
            lambda: server.lifecycle.connection_limit.count == 1, "the connection to be there"
        )
        for path in (b"/money/healthz", b"/money/readyz?", b"/healthz"):
            with server.connect() as probe:
                assert ask(probe, HEALTH.replace(b"/healthz", path)) == "200"
        for path in (b"/money", b"/moneys/healthz", b"/money/money/healthz"):
            with server.connect() as connection:
                assert ask(connection, HEALTH.replace(b"/healthz", path)) == "connections-full"
