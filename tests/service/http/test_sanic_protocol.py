"""How connections end: an early refusal is heard, and who has sent all gets the answers due."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.http import sanic_protocol
from tests.support.http_making import LAST, chunk, chunked, post, sized
from tests.support.keyed import END, spell, spell_bulk
from tests.support.local import (
    PROTOCOLS,
    LocalServer,
    RawConnection,
    local_serving,
    serve_both_ways,
)
from tests.support.waiting import wait_until

WAYS = ("native", "ordinary")
LONG_BYTES = 8 << 20
"""More than the sockets of both sides hold, so that who sends it notices a reset."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    with serve_both_ways(tmp_path_factory.mktemp("ordinary"), demo_accounts=2) as both:
        yield both


def send_all(connection: RawConnection, data: bytes) -> None:
    """Send all of it, and fail where the server does not let us."""
    connection.socket.sendall(data)


# -- refusals that come early ----------------------------------------------------------------------

_LONG = b"Content-Length: %d" % LONG_BYTES
REFUSED = {
    "too-long": (sized(_LONG, body=b""), 413),
    "bulk-too-long": (
        b"POST /transfers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % (64 * 1024 * 1024 + 1),
        413,
    ),
    "type": (
        b"POST /transfers HTTP/1.1\r\nHost: localhost\r\n" + _LONG + b"\r\n\r\n",
        415,
    ),
    "host": (sized(_LONG, body=b"", host=b"Host: ledger.example\r\n"), 421),
    "origin": (sized(_LONG, b"Origin: null", body=b""), 403),
    "query": (sized(_LONG, body=b"", start=b"POST /transfers?x=1 HTTP/1.1"), 400),
    "encoding": (sized(_LONG, b"Content-Encoding: gzip", body=b""), 415),
    "no-length": (sized(body=b""), 411),
    "malformed": (post(b"X : a"), 400),
    "head-too-long": (b"POST /transfer HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 2000, 431),
    "address-too-long": (b"POST /" + b"x" * 9000, 414),
    "chunk": (chunked(b"x"), 400),
    "chunk-too-long": (chunked(b"%x\r\n" % LONG_BYTES), 413),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REFUSED)
def test_an_early_refusal_is_heard(servers: dict[str, LocalServer], way: str, name: str) -> None:
    """Whoever sends on all the same can do so, and finds the answer afterwards."""
    head, status = REFUSED[name]
    with servers[way].connect() as connection:
        send_all(connection, head.replace(b"NAME", b"early"))
        for _ in range(LONG_BYTES >> 16):
            send_all(connection, b"x" * 65536)
        (answer,) = connection.read_answers(1)
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert connection.read_answer() is None
    wait_until(lambda: not servers[way].connections, "the connection to be forgotten")


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_waits_no_longer_than_it_says(
    servers: dict[str, LocalServer], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sanic_protocol, "LINGER_S", 0.5)
    with servers[way].connect() as connection:
        send_all(connection, b"\0")
        assert connection.read_answers(1)[0].status == 400
        started_s = time.monotonic()
        # It is told at once that nothing more comes, and the connection ends when the time is up.
        assert connection.read_answer() is None
        assert time.monotonic() - started_s < 0.4
        wait_until(lambda: not servers[way].connections, "the time to be up")
        assert time.monotonic() - started_s > 0.3


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_reads_no_more_than_it_says(
    servers: dict[str, LocalServer], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sanic_protocol, "LINGER_BYTES_MAX", 1 << 20)
    with servers[way].connect() as connection:
        send_all(connection, b"\0")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_all(connection, b"x" * (64 << 20))
    wait_until(lambda: not servers[way].connections, "the connection to be forgotten")


def test_a_server_that_stops_waits_for_nobody_who_was_refused(tmp_path: Path) -> None:
    with local_serving(), LocalServer(tmp_path / "l", PROTOCOLS["native"]) as server:
        connection = server.connect()
        send_all(connection, b"\0")
        assert connection.read_answers(1)[0].status == 400
        started_s = time.monotonic()
    assert time.monotonic() - started_s < sanic_protocol.LINGER_S / 2
    connection.close()


# -- clients that have sent all --------------------------------------------------------------------


def end(connection: RawConnection, data: bytes) -> list[tuple[int, str]]:
    """Send the last bytes, end our direction, and return what is answered until theirs ends."""
    send_all(connection, data)
    connection.socket.shutdown(socket.SHUT_WR)
    found = []
    while (answer := connection.read_answer()) is not None:
        found.append((answer.status, answer.problem))
    return found


APPLIED = (201, "")
HALF = (400, "malformed")
LAST_WORDS: dict[str, tuple[bytes, list[tuple[int, str]]]] = {
    "nothing": (b"", []),
    "plain": (post(), [APPLIED]),
    "odd": (post(b"X-Odd: a"), [APPLIED]),
    "chunked": (chunked(chunk() + LAST), [APPLIED]),
    "read": (b"GET /accounts/acct-0 HTTP/1.1\r\nHost: localhost\r\n\r\n", [(200, "")]),
    "bulk": (spell_bulk("bulk-1", "bulk-2"), [(200, "")]),
    "audit": (spell("GET", "/audit"), [(200, "")]),
    "refused": (post(kind=b""), [(415, "unsupported-media-type")]),
    "many-plain": (post() * 9, [APPLIED] * 9),
    "more-than-due": (post() * 300, [APPLIED] * 300),
    "mixed": ((post() + post(b"X-Odd: a")) * 5, [APPLIED] * 10),
    "plain-and-end": (post() + END, [APPLIED, (200, "")]),
    "plain-and-empty-line": (post() + b"\r\n", [APPLIED]),
    "half-a-head": (post()[:40], [HALF]),
    "half-a-body": (post()[:-1], [HALF]),
    "half-a-chunk": (chunked(chunk()[:-5]), [HALF]),
    "no-last-chunk": (chunked(chunk()), [HALF]),
    "half-a-bulk": (spell_bulk("bulk-1", "bulk-2")[:-1], [HALF]),
    "a-bulk-of-half-chunks": (
        chunked(chunk(b"[]"), start=b"POST /transfers HTTP/1.1").replace(
            b"Idempotency-Key: NAME\r\n", b""
        ),
        [HALF],
    ),
    "plain-and-half": (post() + post()[:40], [APPLIED, HALF]),
    "many-and-half": ((post() * 3 + post(b"X-Odd: a")) * 2 + post()[:-3], [*[APPLIED] * 8, HALF]),
    "malformed": (post(b"X : a"), [HALF]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LAST_WORDS)
def test_a_half_closed_client_gets_its_answers(
    servers: dict[str, LocalServer], way: str, name: str
) -> None:
    data, expected = LAST_WORDS[name]
    server, key = servers[way], f"half-{way}-{name}".encode()
    lsn = server.lsn
    with server.connect() as connection:
        assert end(connection, data.replace(b"NAME", key)) == expected
    with server.connect() as connection:  # And once more, from a client that was idle before.
        send_all(connection, post().replace(b"NAME", key + b"-first"))
        assert connection.read_answers(1)[0].status == 201
        assert end(connection, data.replace(b"NAME", key + b"-2")) == expected
    wait_until(lambda: not server.connections, "the connections to be forgotten")
    if "half" in name or name == "no-last-chunk":
        assert server.lsn == lsn + 1 + 2 * (APPLIED in expected)


@pytest.mark.parametrize("way", WAYS)
def test_the_end_may_come_at_any_byte(servers: dict[str, LocalServer], way: str) -> None:
    """After a piece of its own, which is another turn of the server's loop."""
    server, lsn = servers[way], servers[way].lsn
    data = post().replace(b"NAME", f"piece-{way}".encode())
    for at in range(0, len(data), 7):
        with server.connect() as connection:
            send_all(connection, data[:at])
            wait_until(lambda: len(server.connections) == 1, "the connection to be there")
            assert end(connection, b"") == ([HALF] if at > 0 else [])
    assert server.lsn == lsn
    with server.connect() as connection:
        send_all(connection, data)
        assert end(connection, b"") == [APPLIED]


@pytest.mark.parametrize("way", WAYS)
def test_half_a_client_is_not_waited_for_where_the_answer_has_no_end(
    servers: dict[str, LocalServer], way: str
) -> None:
    """It looks as if it had hung up, and that is what it is taken for."""
    server = servers[way]
    with server.connect() as connection:
        send_all(connection, spell("GET", "/metrics/stream"))
        told = b""
        while b"data: " not in told:
            told += connection.socket.recv(65536)
        connection.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: not server.connections, "the stream to end")


def test_half_a_client_that_reads_slowly_gets_all(servers: dict[str, LocalServer]) -> None:
    """What is held back while it does not read is answered, too."""
    data, count = post().replace(b"NAME", b"slow-half"), 3000
    for way in WAYS:
        with servers[way].connect(receive_bytes=4096) as connection:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            send_all(connection, data * count)
            connection.socket.shutdown(socket.SHUT_WR)
            answers: list[Any] = []
            while (answer := connection.read_answer()) is not None:
                answers.append(answer)
            assert len(answers) == count and {answer.status for answer in answers} == {201}
