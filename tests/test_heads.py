"""The strict grammar of heads and chunks, on every way into a server."""

from collections.abc import Iterator

import pytest
from sanic.compat import Header
from sanic.exceptions import BadRequest

from service.heads import EXTENSION_BYTES_MAX, StrictRequest, check_head
from tests import http_cases, http_chunk_cases  # noqa: F401  # They fill CASES.
from tests.http_making import BODY, CASES, LAST, Case, chunk, chunked
from tests.local import PROTOCOLS, LocalServer, local_serving

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
GOOD = b"GET / HTTP/1.1\r\nHost: x"

# Sanic's own protocol reads chunks by itself, and takes what ours refuse.
EVERY_CASE = [
    pytest.param(way, case, id=f"{way}-{case.name}")
    for way in PROTOCOLS
    for case in CASES
    if way != "sanic" or not case.is_about_chunks
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
    [b"\n", b"\0", b"G\n", b"G\rE", b"\r\rG", b"GET / HTTP/1.1\r\nHost: x\r\n\n", b"\x16\x03\x01"],
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


@pytest.mark.parametrize("size", [b"x", b"1x", b"1\n", b"\r\n", b"0\r\nX", b"1;\n", b"1" * 17])
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


# -- the check itself ------------------------------------------------------------------------------


def headers_of(head: bytes) -> Header:
    """Return the headers as Sanic reads them."""
    lines = head.decode(errors="surrogateescape").split("\r\n")[1:]
    return Header(
        [(name.lower(), value.lstrip()) for name, value in (x.split(":", 1) for x in lines)]
    )


def test_every_byte_has_its_place() -> None:
    def refused(head: bytes) -> bool:
        try:
            check_head(head, "GET", "1.1", headers_of(head))
        except BadRequest:
            return True
        return False

    assert not refused(GOOD)
    token = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for number in range(256):
        byte = bytes([number])
        visible = 0x21 <= number <= 0x7E
        if byte not in b":":
            assert refused(GOOD + b"\r\na" + byte + b"b: c") == (byte not in token)
        assert refused(byte + GOOD) == (byte not in token)
        assert refused(GOOD + b"\r\na: b" + byte + b"c") == (not visible and byte not in b" \t")
        assert refused(b"GET /" + byte + b" HTTP/1.1\r\nHost: x") == (not visible or byte == b"#")


def test_a_request_is_made_of_no_other_head(servers: dict[str, LocalServer]) -> None:
    def make(url: bytes, head: bytes) -> StrictRequest:
        app = servers["native"].app
        return StrictRequest(url, Header([("host", "x")]), "1.1", "GET", None, app, head)

    assert make(b"/", GOOD).path == "/"
    with pytest.raises(BadRequest):
        make(b"/", GOOD + b"\n")
    # Without a head, it is Sanic's way to answer what was none.
    assert make(b"no target", b"").raw_url == b"*"
