"""How a request on the edge of HTTP/1.1 is made, and what a test expects of it.

This module owns the form of the cases in http_cases.py and the like, which fill CASES.
"""

from dataclasses import dataclass
from typing import Any

BODY = b'{"from":"acct-0","to":"acct-1","amount":1}'
L = len(BODY)
SMUGGLED = (
    b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: smuggled-NAME\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (L, BODY)
)


@dataclass(frozen=True)
class Case:
    """The bytes of a case; the statuses of which one is its answer's; whether that is the last."""

    name: str
    data: bytes
    statuses: tuple[int, ...]
    closes: bool | None
    """None: either will do."""
    needs_our_reader: bool = False
    """Sanic's own protocol, which reads by itself, does something else with these."""

    def render(self, key: str) -> bytes:
        """Return the bytes, with this key."""
        return self.data.replace(b"NAME", key.encode())


CASES: list[Case] = []


def expect(name: str, data: bytes, *statuses: int, closes: bool | None, ours: bool = False) -> None:
    CASES.append(Case(name, data, statuses, closes, ours))


def refuse(name: str, data: bytes, *statuses: int, ours: bool = False) -> None:
    """Expect a 4xx, and nothing behind it."""
    expect(name, data + SMUGGLED, *(statuses or (400,)), closes=True, ours=ours)


def take(name: str, data: bytes, *, closes: bool | None = False, ours: bool = False) -> None:
    """Expect a transfer."""
    expect(name, data, 201, closes=closes, ours=ours)


def post(
    *lines: bytes,
    start: bytes = b"POST /transfer HTTP/1.1",
    host: bytes = b"Host: localhost\r\n",
    kind: bytes = b"Content-Type: application/json\r\n",
    body: bytes = BODY,
    length: bool = True,
) -> bytes:
    """Return a request with these header lines besides the usual ones."""
    own = b"Content-Length: %d\r\n" % len(body) if length else b""
    rest = b"".join(line + b"\r\n" for line in lines)
    key = b"Idempotency-Key: NAME\r\n"
    return b"%s\r\n%s%s%s%s%s\r\n%s" % (start, host, key, kind, rest, own, body)


def sized(*lines: bytes, **more: Any) -> bytes:
    """Return a request whose framing is in these lines alone."""
    return post(*lines, length=False, **more)


def chunked(body: bytes, *lines: bytes, coding: bytes = b"chunked", **more: bytes) -> bytes:
    """Return a request whose body is these chunks, as they are."""
    return sized(b"Transfer-Encoding: " + coding, *lines, body=body, **more)


def chunk(data: bytes = BODY, *, size: bytes | None = None, end: bytes = b"\r\n") -> bytes:
    """Return a chunk."""
    return (b"%x" % len(data) if size is None else size) + b"\r\n" + data + end


LAST = b"0\r\n\r\n"
WHOLE = chunk() + LAST
