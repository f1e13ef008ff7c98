"""The reader of heads and chunks, and the head of every answer, on every way into a server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from ledgercore.service.http.sanic_http import EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX
from tests.support import (  # noqa: F401  # They fill CASES.
    http_cases,
    http_chunk_cases,
    http_page_cases,
)
from tests.support.http_making import BODY, CASES, LAST, Case, chunk, chunked, post, sized
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.waiting import DEADLINE_S

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

# Sanic's own protocol reads by itself, and takes and refuses other things than ours.
EVERY_CASE = [
    pytest.param(way, case, id=f"{way}-{case.name}")
    for way in PROTOCOLS
    for case in CASES
    if way != "sanic" or not case.needs_our_reader
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    """Serve in each of the ways."""
    data, options = tmp_path_factory.mktemp("heads"), {"demo_accounts": 2, "durability": "memory"}
    with (
        local_serving(),
        LocalServer(data / "native", PROTOCOLS["native"], **options) as native,
        LocalServer(data / "ordinary", PROTOCOLS["ordinary"], **options) as ordinary,
        LocalServer(data / "sanic", PROTOCOLS["sanic"], **options) as sanic,
    ):
        yield {"native": native, "ordinary": ordinary, "sanic": sanic}


def check(server: LocalServer, case: Case, key: str, *, is_split: bool = False) -> None:
    """Send a case, and check all that is expected of it."""
    lsn, data = server.lsn, case.render(key)
    with server.connect() as connection:
        connection.send(*([data[at : at + 1] for at in range(len(data))] if is_split else [data]))
        (answer,) = connection.read_answers(1)
        assert answer.status in case.statuses, answer
        if answer.status == 400:
            assert answer.problem in ("malformed", "idempotency-key-missing")
        if case.closes is True:
            assert connection.read_answer() is None
        elif case.closes is False:
            connection.send(PROBE)
            (probe,) = connection.read_answers(1)
            assert probe.status == 200
    assert server.lsn == lsn + (answer.status == 201)
    assert server.get(f"/idempotency-keys/smuggled-{key}")["state"] == "unseen"


def test_names_are_keys_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 250


@pytest.mark.parametrize(("way", "case"), EVERY_CASE)
def test_case(servers: dict[str, LocalServer], way: str, case: Case) -> None:
    check(servers[way], case, case.name)


@pytest.mark.parametrize(("way", "case"), EVERY_CASE)
def test_case_byte_by_byte(servers: dict[str, LocalServer], way: str, case: Case) -> None:
    if way == "sanic":
        # It waits for the end of a head that has none, until its time is up.
        case = Case(case.name, case.data, (*case.statuses, 408), case.closes)
    check(servers[way], case, f"{case.name}-split", is_split=True)


# -- what waits for nothing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"\n",
        b"\0",
        b"G\n",
        b"G\rE",
        b"\r\rG",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\n",
        b"\x16\x03\x01",
    ],
)
@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_a_head_is_refused_at_its_first_fault(
    servers: dict[str, LocalServer], way: str, start: bytes
) -> None:
    for pieces in ([start], [start[:-1], start[-1:]]):
        with servers[way].connect() as connection:
            connection.send(*pieces)
            (answer,) = connection.read_answers(1)
            assert answer.status == 400 and connection.read_answer() is None


@pytest.mark.parametrize("size", [b"x", b"1x", b"1\n", b"\r\n", b"0\r\n X", b"1;\n", b"1" * 17])
@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_a_chunk_is_refused_at_its_first_fault(
    servers: dict[str, LocalServer], way: str, size: bytes
) -> None:
    with servers[way].connect() as connection:
        connection.send(chunked(size))
        (answer,) = connection.read_answers(1)
        assert answer.status == 400 and connection.read_answer() is None


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_extensions_are_bounded_over_a_body(servers: dict[str, LocalServer], way: str) -> None:
    first, rest = BODY[:1], BODY[1:]
    for more, status in ((0, 201), (1, 400)):
        extension = b";" + b"a" * (EXTENSION_BYTES_MAX // 2 - 1)
        body = (
            chunk(first, size=b"1" + extension)
            + chunk(rest, size=b"%x" % len(rest) + extension + b"a" * more)
            + LAST
        )
        assert servers[way].ask(chunked(body).replace(b"NAME", b"bounded")).status == status


def test_bodies_of_gets_are_read_strictly(servers: dict[str, LocalServer]) -> None:
    """Nobody wants them, and yet what follows them must not run."""
    for way in ("native", "ordinary"):
        body = chunk(end=b"xx") + LAST
        request = chunked(body, start=b"GET /transfers/0 HTTP/1.1").replace(b"NAME", b"unread")
        with servers[way].connect() as connection:
            connection.send(request + PROBE)
            (answer,) = connection.read_answers(1)
            assert answer.status == 400 and connection.read_answer() is None


# -- what stands in every answer -------------------------------------------------------------------


def read_date(answer: bytes) -> datetime:
    """Return the date of an answer, which has one and no other."""
    head = answer.partition(b"\r\n\r\n")[0]
    (line,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"date:"))
    return parsedate_to_datetime(line.split(b": ", 1)[1].decode())


@pytest.mark.parametrize("way", ["native", "ordinary"])
@pytest.mark.parametrize(
    "data",
    [
        post(b"Connection: close"),
        post(b"Connection: close", b"Expect: 100-continue"),
        post(b"Connection: close", kind=b""),
        post(b"Connection: close", host=b"Host: ledger.example\r\n"),
        post(start=b"POST /transfer HTTP/1.0"),
        sized(body=b""),
        b"\0",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"HEAD /audit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"OPTIONS /transfer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PUT /transfer HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 9000),
    ],
)
def test_every_answer_has_its_date(servers: dict[str, LocalServer], way: str, data: bytes) -> None:
    with servers[way].connect() as connection:
        connection.send(data.replace(b"NAME", b"dated"))
        answer = connection.read_to_end().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert abs((read_date(answer) - datetime.now(UTC)).total_seconds()) < 5


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_a_plain_answer_has_its_date(servers: dict[str, LocalServer], way: str) -> None:
    """On a connection that stays, where the native way answers: applied, replayed and refused."""
    plain = post().replace(b"NAME", b"plain-date")
    for data, status in ((plain, 201), (plain, 201), (plain.replace(b":1}", b":2}"), 422)):
        answer = servers[way].ask(data)
        assert answer.status == status
        told = parsedate_to_datetime(answer.date)
        assert abs((told - datetime.now(UTC)).total_seconds()) < 5


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_streams_have_a_date_and_http10_no_chunks(
    servers: dict[str, LocalServer], way: str
) -> None:
    for version in (b"1.0", b"1.1"):
        with servers[way].connect() as connection:
            connection.send(b"GET /metrics/stream HTTP/%s\r\nHost: localhost\r\n\r\n" % version)
            told = b""
            while told.count(b"data: ") < 2:
                told += connection.socket.recv(65536)
        read_date(told)
        head, _, body = told.partition(b"\r\n\r\n")
        assert (b"transfer-encoding" in head.lower()) == (version == b"1.1")
        assert body.startswith(b"event: ") == (version == b"1.0")
        assert b"connection: close" in head


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_http10_knows_no_chunks_of_a_head_either(servers: dict[str, LocalServer], way: str) -> None:
    """Whose answer is streamed to GET, and has no length."""
    with servers[way].connect() as connection:
        connection.send(
            b"HEAD /debug/pprof/profile HTTP/1.0\r\nHost: localhost\r\n"
            b"Connection: keep-alive\r\n\r\n"
        )
        answer = connection.read_to_end()
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in answer.lower() and b"connection: close" in answer


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_what_is_asked_for_before_a_body(servers: dict[str, LocalServer], way: str) -> None:
    lines = (b"Expect: 100-continue", b"Connection: close")
    for start, is_asked in (
        (b"POST /transfer HTTP/1.1", True),
        (b"POST /transfer HTTP/1.0", False),
    ):
        data = post(*lines, start=start).replace(b"NAME", b"asked")
        head, _, body = data.partition(b"\r\n\r\n")
        with servers[way].connect() as connection:
            connection.send(head + b"\r\n\r\n")
            if is_asked:
                assert connection.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.send(body)
            assert connection.read_to_end().startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("way", ["native", "ordinary"])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (sized(b"Content-Length: 9999999", body=b""), 413),
        (sized(b"Content-Length: 99", body=b"", host=b"Host: ledger.example\r\n"), 421),
        (sized(b"Content-Length: 99", b"Origin: null", body=b""), 403),
        (sized(b"Content-Length: 99", b"Content-Encoding: gzip", body=b""), 415),
        (sized(b"Transfer-Encoding: chunked", b"Origin: null", body=b""), 403),
        (sized(b"Content-Length: 99", body=b"", start=b"POST /nowhere HTTP/1.1"), 404),
    ],
)
def test_a_body_that_is_refused_is_not_asked_for(
    servers: dict[str, LocalServer], way: str, data: bytes, status: int
) -> None:
    """And since it may come all the same, the connection ends."""
    head = data.replace(b"NAME", b"unasked").replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1)
    for body in (b"", b"x" * 99 + PROBE):
        with servers[way].connect() as connection:
            connection.send(head + body)
            answer = connection.read_to_end()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert answer.count(b"HTTP/1.1 ") == 1 and b"connection: close" in answer


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_trailers_are_bounded(servers: dict[str, LocalServer], way: str) -> None:
    for size, status in ((TRAILER_BYTES_MAX - len(b"X: \r\n\r\n"), 201), (TRAILER_BYTES_MAX, 400)):
        body = chunk() + b"0\r\nX: " + b"a" * size + b"\r\n\r\n"
        key = b"trailers-%d" % status
        assert servers[way].ask(chunked(body).replace(b"NAME", key)).status == status


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_an_empty_line_is_nothing_to_wait_for(servers: dict[str, LocalServer], way: str) -> None:
    """Whoever has sent one is as idle as before, and is not told that the rest did not come."""
    plain = post().replace(b"NAME", b"after-empty-lines")
    with servers[way].connect() as connection:
        for _ in range(3):
            connection.send(plain + b"\r\n")
            assert connection.read_answers(1)[0].status == 201
        connection.send(b"\r\n")
        # The time for a request is a second here; the one for the next is 75.
        connection.socket.settimeout(2.5)
        with pytest.raises(TimeoutError):
            connection.socket.recv(1)
        connection.socket.settimeout(DEADLINE_S)
        connection.send(plain)
        assert connection.read_answers(1)[0].status == 201
