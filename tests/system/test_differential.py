"""The native reader of requests against Sanic's, llhttp and h11, which must all read the same.

Requests are made of good and bad parts and then damaged. Whatever is sent, both ways of a server
answer with the same bytes and gain the same ledger; and what the native way has taken, the two
other parsers take as well, and find the same requests in it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import h11
import httptools
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sanic.server.protocols.http_protocol import HttpProtocol

from tests.support.feeding import mask_ids, open_fed
from tests.support.local import LocalServer, serve_both_ways

END = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# Whatever waits for the rest of a body finds these bytes, and what follows is no request.
ENDS = END * 1000
PATIENCE_S = 5.0
count_key = count(1)

BODY = b'{"from":"acct-0","to":"acct-1","amount":1}'
LINES = [
    b"POST /transfer HTTP/1.1",
    b"POST /transfer HTTP/1.0",
    b"POST /transfer?a=b HTTP/1.1",
    b"POST http://x/transfer HTTP/1.1",
    b"POST /%74ransfer HTTP/1.1",
    b"POST /transfers HTTP/1.1",
    b"GET /transfer HTTP/1.1",
    b"post /transfer HTTP/1.1",
    b"POST  /transfer HTTP/1.1",
]
HOSTS = [
    b"Host: localhost",
    b"host:localhost:80",
    b"HOST:  127.0.0.1",
    b"Host: a:b",
    b"Host: ::",
    b"Host: ledger.example",
    b"",
]
KEYS = [b"KEY", b'"KEY"', b"  KEY", b"KEY  ", b"KEY\t", b'"KEY', b"K EY", b"K,EY", b"K\x7fEY", b""]
TYPES = [
    b"Content-Type: application/json",
    b"content-type: Application/JSON; charset=UTF-8",
    b"Content-Type: text/plain",
    b"",
]
PLAIN = [
    b"Connection: Keep-Alive",
    b"User-Agent: a (b; c) d/1.0",
    b"Accept: */*",
    b"Accept-Encoding: gzip, deflate",
    b"Authorization: Bearer abc",
    b"X-API-Key: abc",
    b"X-Request-Timeout-Ms: 99999999",
]
HEADERS = [
    *PLAIN,
    b"Content-Type: application/json",
    b"Connection: close",
    b"Connection: keep-alive, TE",
    b"Origin: http://localhost",
    b"Origin: http://ledger.example",
    b"Sec-Fetch-Site: cross-site",
    b"Content-Encoding: gzip",
    b"X-Text: \xfc",
    b"Accept:",
    b"Referer: http://x/#y",
    b"Expect: 100-continue",
    b"X-Other: a",
    b"Origin : a",
    b"Pragma: a\r\n b",
    b"Authorization: Basic abc",
    b"authorization:  bearer abc",
    b"X-API-Key:",
    b"x-api-key: a b",
    b"X-Request-Timeout-Ms: 0",
    b"X-Request-Timeout-Ms:\t60000 ",
    b"Transfer-Encoding: chunked",
    b"Idempotency-Key: other",
    b"Host: y",
    b"Content-Length: 5",
    b"Cache-Control: \xc3\xbc",
    b"Accept-Language: a\nb",
]
BODIES = [
    BODY,
    b' {"amount" : 1, "to":"acct-1","from":"acct-0"}\r\n',
    b'{"from":"acct-0","to":"acct-1","amount":1,"memo":"f\xc3\xbcr dich"}',
    b'{"from":"acct-0","to":"acct-1","amount":1,"memo":""}',
    b'{"from":"acct-0","to":"acct-1","amount":1,"memo":"a\\u00fc"}',
    b'{"from":"acct-0","to":"acct-1","amount":1,"memo":"\xc2\x85"}',
    b'{"from":"acct-0","to":"acct-1","amount":1,"idempotency_key":"KEY"}',
    b'{"from":"acct-0","to":"acct-1","amount":1,"idempotency_key":"other"}',
    b'{"from":"acct-0","to":"acct-1","amount":1,"amount":1}',
    b'{"from":"acct-0","to":"acct-1","amount":01}',
    b'{"from":"acct-0","to":"acct-1","amount":1.0}',
    b'{"from":"acct-0","to":"acct-1","amount":"1"}',
    b'{"from":"acct-0","to":"acct-1","amount":"01"}',
    b'{"from":"acct-0","to":"acct-1","amount":"1 "}',
    b'{"from":"acct-0","to":"acct-1","amount":"9223372036854775808"}',
    b'{"from":"acct-0","to":"acct-1","amount":-1}',
    b'{"from":"acct-0","to":"acct-1","amount":9223372036854775808}',
    b'{"from":"acct-0","to":"nobody","amount":1}',
    b'{"from":"acct 0","to":"acct-1","amount":1}',
    b'{"from":"acct-0","to":"acct-1"}',
    b"[]",
    b"",
]


def mostly(parts: list[bytes]) -> st.SearchStrategy[bytes]:
    """Draw the first part most of the time."""
    return st.integers(0, 4).flatmap(lambda n: st.sampled_from(parts if n == 0 else parts[:1]))


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    body = draw(mostly(BODIES))
    length = draw(mostly([b"%d" % len(body), b"%d" % (len(body) + 1), b"0%d" % len(body), b""]))
    lines = [draw(mostly(HOSTS)), draw(mostly(TYPES)), b"Content-Length: " + length]
    lines += draw(st.lists(st.sampled_from(draw(st.sampled_from([PLAIN, HEADERS]))), max_size=3))
    if draw(st.integers(0, 9)):
        lines.append(b"Idempotency-Key: " + draw(mostly(KEYS)))
    lines = draw(st.permutations([line for line in lines if line]))
    return b"\r\n".join([draw(mostly(LINES)), *lines, b"", body])


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """Change, insert or remove a few bytes, or none."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        byte = draw(
            st.sampled_from([b"\r", b"\n", b"\0", b" ", b":", b",", b"0", b"\xff", b"x", b'"'])
        )
        data = data[:at] + draw(st.sampled_from([b"", byte])) + data[at + draw(st.integers(0, 1)) :]
    return data


requests = st.lists(one_request(), min_size=1, max_size=3).map(b"".join).flatmap(damage)


# -- the two ways ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LocalServer]]:
    data = tmp_path_factory.mktemp("differential")
    with serve_both_ways(data, demo_accounts=2, durability="memory") as both:
        yield list(both.values())


@dataclass
class Seen:
    """What came of some bytes: what Sanic was given, the answers, and the ledger's gain."""

    given: bytes
    answers: bytes
    gain: int
    is_waiting: bool
    """Whether it waits for more than there is."""


async def send(server: LocalServer, data: bytes) -> Seen:
    engine = server.lifecycle.engine
    before = engine.statistics().lsn_applied
    transport = await open_fed(server)
    given = b""
    real, is_waiting = HttpProtocol.data_received, False

    def keep(self: HttpProtocol, data: bytes) -> None:
        nonlocal given
        given += data
        real(self, data)

    HttpProtocol.data_received = keep
    try:
        transport.protocol.data_received(data)
        async with asyncio.timeout(PATIENCE_S):
            await transport.closed.wait()
    except TimeoutError:
        is_waiting = True
        transport.abort()
        await transport.closed.wait()
    finally:
        HttpProtocol.data_received = real
    gain = engine.statistics().lsn_applied - before
    return Seen(given, transport.written, gain, is_waiting)


@given(requests)
@settings(max_examples=1500, suppress_health_check=list(HealthCheck))
def test_all_readers_agree(servers: list[LocalServer], data: bytes) -> None:
    data = data.replace(b"KEY", b"key-%d" % next(count_key))
    native, ordinary = (server.run(send(server, data + ENDS)) for server in servers)
    assert mask_ids(native.answers) == mask_ids(ordinary.answers)
    assert native.gain == ordinary.gain
    assert native.is_waiting == ordinary.is_waiting
    if native.is_waiting:
        event("waits")
    assert (data + ENDS).endswith(native.given) and ordinary.given == data + ENDS
    taken = (data + ENDS)[: len(data) + len(ENDS) - len(native.given)]
    event(f"{taken.count(b'POST /transfer HTTP/1.1')} taken natively")
    if taken:
        check_taken(taken, native.answers)


# -- the judges ------------------------------------------------------------------------------------


@dataclass
class Message:
    """A request as a parser has read it."""

    method: bytes = b""
    target: bytes = b""
    version: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


def check_taken(taken: bytes, answers: bytes) -> None:
    """Check that what was taken natively is whole requests for both judges, and the same ones."""
    first, second = read_by_h11(taken), read_by_llhttp(taken)
    assert first == second
    assert answers.count(b"HTTP/1.1 ") >= len(first) > 0
    for message in first:
        assert (message.method, message.target, message.version) == (b"POST", b"/transfer", b"1.1")
        names = [name for name, _ in message.headers]
        assert names.count(b"host") == names.count(b"content-length") == 1
        assert dict(message.headers)[b"content-length"] == b"%d" % len(message.body)
        assert not {b"transfer-encoding", b"expect", b"upgrade"} & set(names)


def read_by_h11(data: bytes) -> list[Message]:
    """Return the requests that the data is; raises where there is anything else in it."""
    connection, messages = h11.Connection(h11.SERVER), []
    connection.receive_data(data)
    while connection.trailing_data[0] or connection.their_state is not h11.IDLE:
        found = connection.next_event()
        if isinstance(found, h11.Request):
            messages.append(
                Message(found.method, found.target, found.http_version, list(found.headers))
            )
        elif isinstance(found, h11.Data):
            messages[-1].body += bytes(found.data)
        elif isinstance(found, h11.EndOfMessage):
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
        else:
            raise AssertionError(f"h11 reads {found}")
    return messages


class Callbacks:
    """What llhttp tells, gathered."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ended = 0

    def on_message_begin(self) -> None:
        self.messages.append(Message())

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.messages[-1].headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.ended += 1


def read_by_llhttp(data: bytes) -> list[Message]:
    """Return the requests that the data is; raises where there is anything else in it."""
    callbacks = Callbacks()
    parser = httptools.HttpRequestParser(callbacks)

    def note_line() -> None:
        callbacks.messages[-1].method = parser.get_method()
        callbacks.messages[-1].version = parser.get_http_version().encode()

    callbacks.on_headers_complete = note_line  # type: ignore[attr-defined]  # llhttp looks it up.
    parser = httptools.HttpRequestParser(callbacks)
    parser.feed_data(data)
    assert callbacks.ended == len(callbacks.messages)
    return callbacks.messages
