"""The HTTP client of an OpenTelemetry collector: its address, headers, and one post at a time.

This module owns the address as it was given, the headers that the environment adds, and the bound
on how long a post may take. It never knows what a span is, never tries anything twice, and never
tells a secret: a collector is called by its scheme, host and port, for user, path and query may
hold credentials. Source: the OTLP specification, chapter OTLP/HTTP, and that of the OpenTelemetry
protocol exporter for the variables of the environment.
"""

import asyncio
import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio.lowlevel
import httpx

from ledgercore.client.loopback import make_options

DEFAULT_PATH = "/v1/traces"
ANSWER_BYTES_MAX = 65_536
"""More of an answer is not read; a collector has next to nothing to say."""
HEADER_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""The first that is set counts, as the specification has it."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIXED_HEADERS = {
    "content-type": "application/x-protobuf",
    # An answer is then as long as what is read of it.
    "accept-encoding": "identity",
    "user-agent": "ledgercore",
}


class UnusableCollector(ValueError):
    """The address or the headers make no sense. One sentence, in which no secret is."""


class PostFailed(Exception):
    """The collector did not take a body. The message is a reason of some words."""


class PostCut(PostFailed):
    """The post was cancelled because the exporter ends; the collector may be well."""


@dataclass(frozen=True)
class Address:
    """Where a collector is."""

    url: httpx.URL = field(repr=False)
    name: str
    """What it is called in logs."""
    login: tuple[str, str] | None = field(repr=False)


def parse_address(text: str) -> Address:
    """Read `http://host:port`, to which /v1/traces is added unless there is a path of its own.

    Raises UnusableCollector.
    """
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        # The library's own words repeat parts of the address, the password among them.
        raise UnusableCollector("the address of the collector cannot be read") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise UnusableCollector(
            "the address of the collector is to be http://host:port or https://"
        )
    if url.port is not None and not 0 < url.port < 65_536:
        raise UnusableCollector("the port of the collector is to be between 1 and 65535")
    login = (url.username, url.password) if url.userinfo else None
    bare = url.copy_with(userinfo=b"", fragment=None)
    name = str(bare.copy_with(path="/", query=None)).rstrip("/")
    if bare.path == "/":
        bare = bare.copy_with(path=DEFAULT_PATH)
    return Address(bare, name, login)


def read_headers(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers that `name=value,name=value` in the environment asks for.

    Values may be percent-encoded. Raises UnusableCollector, which does not repeat them.
    """
    environment = os.environ if environment is None else environment
    variable = next((name for name in HEADER_VARIABLES if environment.get(name, "").strip()), "")
    headers: dict[str, str] = {}
    entries = environment.get(variable, "").split(",")
    for number, entry in enumerate(filter(str.strip, entries), 1):
        name, sign, value = entry.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        is_plain = value.isascii() and value.isprintable()
        if not (sign and _HEADER_NAME.fullmatch(name) and is_plain):
            raise UnusableCollector(f"{variable}: entry {number} is not name=value")
        headers[name] = value
    return headers


class Collector:
    """Posts bodies, for one thread; only `hasten` may be called by others.

    An event loop of its own runs while a post is under way and at no other time. That is what
    bounds the post as a whole, where a blocking client bounds only each read of it: a collector
    that dribbles would hold such a client as long as it likes.
    """

    def __init__(self, address: Address, headers: Mapping[str, str] | None = None) -> None:
        self.name = address.name
        self._url = address.url
        self._runner = asyncio.Runner(loop_factory=_make_loop)
        # The runner makes it when it is first asked, and two threads may ask at once.
        self._loop = self._runner.get_loop()
        self._bound: asyncio.Timeout | None = None
        self._end_s = math.inf
        _silence_library()
        self._client = httpx.AsyncClient(
            auth=address.login,
            headers={**(headers or {}), **_FIXED_HEADERS},
            timeout=None,
            # One post at a time: a second connection would only be left over from a failure.
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            **make_options(address.url),
        )

    def prepare(self) -> None:
        """Load now what the first post would else load, while the server is at work: 45 ms."""
        self._runner.run(anyio.lowlevel.checkpoint())

    def post(self, body: bytes, timeout_s: float) -> bytes:
        """Post a body and return the answer to it, of a status of 2xx; raises PostFailed."""
        return self._runner.run(self._post(body, timeout_s))

    def hasten(self, left_s: float) -> None:
        """Leave all posts, the present one too, no more than so many seconds. For any thread."""
        self._end_s = time.monotonic() + left_s
        with suppress(RuntimeError):  # The loop is closed: there is none.
            self._loop.call_soon_threadsafe(self._hasten)

    def close(self) -> None:
        """Close the connection. Nothing may be called afterwards."""
        with self._runner:
            self._runner.run(self._client.aclose())

    async def _post(self, body: bytes, timeout_s: float) -> bytes:
        end_s = time.monotonic() + timeout_s
        try:
            # This loop and `time.monotonic` have one clock.
            async with asyncio.timeout_at(min(end_s, self._end_s)) as self._bound:
                return await self._ask(body)
        except TimeoutError:
            if self._end_s < end_s:
                raise PostCut("no answer before the end") from None
            raise PostFailed(f"no answer within {timeout_s:g} s") from None
        except httpx.ConnectError as error:
            raise PostFailed(f"no connection: {error}") from None
        except PostFailed:
            raise
        except Exception as error:
            # Whatever it was, it costs these spans and not the export. Its words may repeat what
            # the other side has sent; its name does not.
            raise PostFailed(type(error).__name__) from None
        finally:
            self._bound = None

    async def _ask(self, body: bytes) -> bytes:
        async with self._client.stream("POST", self._url, content=body) as response:
            # A redirection is no success either: what it leads to is for the operator to name.
            if not response.is_success:
                raise PostFailed(f"HTTP {response.status_code}")
            answer = b""
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    return b""
            return answer

    def _hasten(self) -> None:
        if self._bound is not None and (end_s := self._bound.when()) is not None:
            self._bound.reschedule(min(end_s, self._end_s))


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose end does not wait for a lookup of a name.

    The usual one does that in a pool of threads, and the end of the process waits for those,
    however long the name servers are silent.
    """

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        found: asyncio.Future[Any] = self.create_future()

        def resolve() -> None:
            tell: Callable[[], None]
            try:
                tell = partial(found.set_result, socket.getaddrinfo(host, port, **options))
            except (OSError, UnicodeError) as error:
                tell = partial(found.set_exception, error)
            with suppress(RuntimeError):  # The loop is closed by now.
                self.call_soon_threadsafe(lambda: None if found.done() else tell())

        threading.Thread(target=resolve, name="ledgercore-resolve", daemon=True).start()
        return await found


def _make_loop() -> asyncio.AbstractEventLoop:
    loop = _Loop()
    # What a connection that is given up has still to say, nobody asked for.
    loop.set_exception_handler(lambda *_: None)
    return loop


def _silence_library() -> None:
    """Have httpx log no line for every post, unless somebody has asked for its lines by name."""
    logger = logging.getLogger("httpx")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
