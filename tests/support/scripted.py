"""A server on a real socket that does what a script says: answers, hangs up, stalls, or lies.

This module owns the server and its steps. A step takes a connection and the request that was read
from it, and tells whether the connection stays open. It knows no ledger: to show what a ledger
makes of it, it forwards a request to a real one.
"""

import json
import socketserver
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.waiting import DEADLINE_S

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Received:
    """A request as it came in; the names of headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection(socketserver.StreamRequestHandler):
    """One connection: reads a request, takes the next step, and again while the step says so."""

    server: "_Listener"

    def handle(self) -> None:
        script = self.server.script
        script.sockets.append(self.request)
        while True:
            is_dropped = script.next_drops_at_once()
            if is_dropped or (request := self._read()) is None:
                return
            script.requests.append(request)
            if not script.take_step()(self, request):
                return

    def _read(self) -> Received | None:
        try:
            start = self.rfile.readline().decode().split()
            if not start:
                return None
            headers = {}
            while line := self.rfile.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
        except OSError:
            return None
        return Received(start[0], start[1], headers, body)

    def send(self, data: bytes) -> None:
        self.wfile.write(data)


Step = Callable[[Connection, Received], bool]


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
    script: "Script"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that gives up closes a connection under its step."""


class Script:
    """The server: it takes the steps in turn, and at their end the last one again and again."""

    def __init__(self, *steps: Step) -> None:
        self.requests: list[Received] = []
        self.sockets: list[socket] = []
        self.over = threading.Event()
        self._steps = deque(steps)
        self._lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", 0), Connection)
        self._listener.script = self
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.005,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def keys(self) -> list[str]:
        """The idempotency key of each request that was read."""
        return [request.json["idempotency_key"] for request in self.requests]

    def play(self, *steps: Step) -> None:
        """Go on with other steps."""
        with self._lock:
            self._steps = deque(steps)

    def take_step(self) -> Step:
        with self._lock:
            return self._steps.popleft() if len(self._steps) > 1 else self._steps[0]

    def next_drops_at_once(self) -> bool:
        with self._lock:
            is_due = self._steps[0] is refuse_connection
        return is_due and self.take_step() is refuse_connection

    def __enter__(self) -> "Script":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.over.set()
        self._listener.shutdown()
        for connection in self.sockets:
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                continue  # It is closed already.
        self._thread.join(DEADLINE_S)
        self._listener.server_close()


# -- steps ----------------------------------------------------------------------------------------


def refuse_connection(connection: Connection, request: Received) -> bool:
    """Hang up before a byte is read. The script looks for this one, and nobody calls it."""
    return False


def drop(connection: Connection, request: Received) -> bool:
    """Hang up when the request is read."""
    return False


def stall(connection: Connection, request: Received) -> bool:
    """Read the request, and never answer."""
    connection.server.script.over.wait(DEADLINE_S)
    return False


def cut(connection: Connection, request: Received) -> bool:
    """Hang up in the middle of an answer."""
    connection.send(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"id":1,')
    return False


def drip(connection: Connection, request: Received) -> bool:
    """Answer a byte at a time, for ever."""
    return _send_slowly(connection, b"HTTP/1.1 201 Created\r\nContent-Length: 100000\r\n\r\n")


def drip_head(connection: Connection, request: Received) -> bool:
    """Answer a byte at a time, and never come to the end of the head."""
    return _send_slowly(connection, b"HTTP/1.1 201 Created\r\nX-Endless: ")


def _send_slowly(connection: Connection, start: bytes) -> bool:
    connection.send(start)
    while not connection.server.script.over.wait(0.01):
        connection.send(b" ")
    return False


def send_raw(data: bytes) -> Step:
    """Return the step that sends these bytes and hangs up."""

    def step(connection: Connection, request: Received) -> bool:
        connection.send(data)
        return False

    return step


def answer(
    http_status: int,
    body: object = b"",
    *,
    content_type: str = "application/json",
    headers: Iterable[tuple[str, str]] = (),
) -> Step:
    """Return the step that gives this answer; what is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {http_status} Scripted",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + content

    def step(connection: Connection, request: Received) -> bool:
        connection.send(data)
        return True

    return step


def answer_problem(
    http_status: int, name: str, retry_after: str | None = None, **members: object
) -> Step:
    """Return the step that answers with a problem of a ledger server."""
    body = {
        "type": f"urn:ledgercore:problem:{name}",
        "title": "A title",
        "status": http_status,
        "detail": "A detail.",
        **members,
    }
    headers = [] if retry_after is None else [("Retry-After", retry_after)]
    return answer(http_status, body, content_type=PROBLEM, headers=headers)


QUEUE_FULL = answer_problem(503, "queue-full", "0")


def forward(url: str, *, is_answered: bool = True) -> Step:
    """Return the step that lets a real server answer, or keeps the answer to itself."""
    host = urlsplit(url).netloc

    def step(connection: Connection, request: Received) -> bool:
        headers = {"Content-Type": "application/json"} if request.body else {}
        # http.client, since every httpx.Client begins by reading the certificates of the machine.
        with closing(HTTPConnection(host, timeout=DEADLINE_S)) as server:
            server.request(request.method, request.target, request.body or None, headers)
            response = server.getresponse()
            body = response.read()
        if not is_answered:
            return False
        told = {name.lower(): value for name, value in response.getheaders()}
        kept = [(n, told[n]) for n in ("idempotent-replayed", "retry-after") if n in told]
        tell = answer(response.status, body, content_type=told["content-type"], headers=kept)
        return tell(connection, request)

    return step
