"""A server in this process, with any protocol, and connections that send exactly given bytes.

This module owns the servers whose inside a test has to reach, and the reading of raw answers. It
never asserts anything about the ledger.
"""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest
import uvloop
from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP
from sanic.server.protocols.http_protocol import HttpProtocol

from ledgercore.service.app import create_app
from ledgercore.service.http.protocol import LedgerProtocol
from ledgercore.service.http.sanic_protocol import OrdinaryProtocol
from ledgercore.service.process.standard_streams import STDERR
from ledgercore.service.runtime import lifecycle
from ledgercore.service.settings import Settings
from tests.support.waiting import DEADLINE_S

Result = TypeVar("Result")


PROTOCOLS = {"native": LedgerProtocol, "ordinary": OrdinaryProtocol, "sanic": HttpProtocol}
"""The ways in which a request may be served; `sanic` is that of Sanic itself."""


@dataclass(frozen=True)
class Answer:
    """One answer, as it came."""

    status: int
    headers: dict[str, str]
    """All but the date, which two answers that are alike need not have in common."""
    body: bytes
    date: str = field(default="", compare=False)

    @property
    def problem(self) -> str:
        """The end of a problem's type; empty where the answer is none."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(json.loads(self.body)["type"]).rsplit(":", 1)[1]


class RawConnection:
    """A connection on which a test writes bytes, and reads answers."""

    def __init__(self, address: tuple[str, int], *, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        self._read = b""

    def send(self, *pieces: bytes) -> None:
        """Send each piece in a write of its own; what the server no longer takes is dropped."""
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                self.socket.sendall(piece)

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self._read += data
        return bool(data)

    def read_answer(self) -> Answer | None:
        """Return the next answer that is no 1xx; None where the server has closed instead."""
        while b"\r\n\r\n" not in self._read:
            if not self._receive():
                assert self._read == b"", self._read
                return None
        head, _, rest = self._read.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        date = headers.pop("date", "")
        number = int(status.split(" ")[1])
        if number < 200:
            self._read = rest
            return self.read_answer()
        length = int(headers.get("content-length", "0"))
        while len(self._read) < len(head) + 4 + length:
            assert self._receive(), "the connection was closed within an answer"
        rest = self._read[len(head) + 4 :]
        self._read = rest[length:]
        return Answer(number, headers, rest[:length], date)

    def read_answers(self, count: int) -> list[Answer]:
        """Return so many answers."""
        answers = [self.read_answer() for _ in range(count)]
        assert None not in answers, "the server has closed before its last answer"
        return [answer for answer in answers if answer is not None]

    def read_to_end(self) -> bytes:
        """Return all that comes until the server closes."""
        while self._receive():
            pass
        return self._read

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "RawConnection":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class LocalServer:
    """A server in a thread of this process, on a free port, ended with the `with` block."""

    def __init__(self, data: Path, protocol: type[HttpProtocol], **settings: Any) -> None:
        self.app = create_app(Settings(data=str(data), segment_bytes=4_194_304, **settings))
        self.app.config.REQUEST_TIMEOUT = 1
        self.protocol = protocol
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._is_serving = threading.Event()
        self._failure: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._is_over: asyncio.Event
        self.connections: set[Any] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def lifecycle(self) -> lifecycle.Lifecycle:
        found: lifecycle.Lifecycle = self.app.ctx.lifecycle
        return found

    def connect(self, **options: Any) -> RawConnection:
        return RawConnection(self.address, **options)

    def ask(self, data: bytes) -> Answer:
        """Return the answer to one request on a connection of its own."""
        with self.connect() as connection:
            connection.send(data)
            (answer,) = connection.read_answers(1)
        return answer

    def get(self, path: str) -> Any:
        """Return what the server tells at an address."""
        return json.loads(self.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).body)

    @property
    def lsn(self) -> int:
        """The number of records in the ledger."""
        return int(self.get("/audit?journal=false")["lsn"])

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the loop of the server, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE_S)

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self.loop.close()
            self._is_serving.set()

    async def _serve(self) -> None:
        self._is_over = asyncio.Event()
        server = await self.app.create_server(
            sock=self._listener, protocol=self.protocol, return_asyncio_server=True
        )
        assert server is not None
        self.connections = server.connections
        # Sanic leaves out of its answers what only servers of several versions of HTTP have.
        self.app.state.server_info.append(ApplicationServerInfo({"version": HTTP.VERSION_1}))
        await server.startup()
        await server.before_start()
        await server.after_start()
        self._is_serving.set()
        await self._is_over.wait()
        await server.before_stop()
        closing = server.close()
        for connection in tuple(server.connections):
            connection.abort()
        await closing
        await server.after_stop()

    def __enter__(self) -> "LocalServer":
        self._thread.start()
        assert self._is_serving.wait(DEADLINE_S)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join(DEADLINE_S)
        # What it has said belongs to this test.
        STDERR.flush()
        self._listener.close()
        # Whoever runs an app in this process later would run what Sanic still knows of this one.
        self.app.state.server_info.clear()
        Sanic.unregister_app(self.app)
        if self._failure is not None:
            raise self._failure


@contextmanager
def local_serving() -> Iterator[None]:
    """Let several servers live in this process, each of them ready when its port is open."""
    with pytest.MonkeyPatch.context() as patch:
        # Sanic then keeps the source of what it rewrites at every start.
        patch.setattr(Sanic, "test_mode", True)
        patch.setattr(lifecycle, "GRACE_S", DEADLINE_S)
        yield


@contextmanager
def serve_both_ways(data: Path, **options: Any) -> Iterator[dict[str, LocalServer]]:
    """Serve natively and by the ordinary way alone, from ledgers that are alike."""
    with (
        local_serving(),
        LocalServer(data / "native", PROTOCOLS["native"], **options) as native,
        LocalServer(data / "ordinary", PROTOCOLS["ordinary"], **options) as ordinary,
    ):
        yield {"native": native, "ordinary": ordinary}


@contextmanager
def serve_as_asked(data: Path, **defaults: Any) -> Iterator[Callable[..., LocalServer]]:
    """Yield what starts a server: `start(way, **settings)`. All of them end with the block.

    Each way but `ordinary`, and so many transfers at once too, is one of the native protocol.
    """
    with local_serving(), ExitStack() as servers:

        def start(way: str = "native", **settings: Any) -> LocalServer:
            protocol = PROTOCOLS["ordinary" if way == "ordinary" else "native"]
            return servers.enter_context(LocalServer(data, protocol, **(defaults | settings)))

        yield start


_VARYING = (
    (re.compile(rb'"created_at":"[^"]*"'), b'"created_at":"T"'),
    (re.compile(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\r\n"), b"traceparent: T\r\n"),
    (
        re.compile(rb"date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9: ]{13} GMT\r\n"),
        b"date: T\r\n",
    ),
    (re.compile(rb"x-request-id: [0-9a-f]{32}\r\n"), b"x-request-id: T\r\n"),
)


def mask(answers: bytes) -> bytes:
    """Return answers without the times and traces in them, which no two answers have in common."""
    for pattern, text in _VARYING:
        answers = pattern.sub(text, answers)
    return answers
