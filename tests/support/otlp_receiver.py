"""A collector of the tests: a real HTTP server on loopback that decodes what it is sent.

This module owns the server and what it does wrong when a test asks for that: a status, silence, or
bytes that come one by one. It asserts nothing about spans.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.waiting import DEADLINE_S, wait_until


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        if receiver.is_silent or receiver.dribble:
            self.close_connection = True
            while receiver.dribble and not receiver.is_over.wait(0.01):
                self.wfile.write(receiver.dribble)
            receiver.is_over.wait(DEADLINE_S)
            return
        if receiver.http_status == 200:
            receiver.messages.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(receiver.http_status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(receiver.answer)))
        if receiver.http_status == 307:
            self.send_header("location", receiver.url)
        self.end_headers()
        self.wfile.write(receiver.answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests clean."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # Those are not waited for at the end.

    def __init__(self, receiver: "Receiver", port: int) -> None:
        self.receiver = receiver
        self._connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.receiver.connections += 1
        self._connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        """Close all connections, which the threads that serve them then notice."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take it that who is given no answer goes away."""


class Receiver:
    """What was sent, and how the next one is answered."""

    def __init__(self, port: int = 0) -> None:
        self.http_status = 200
        self.answer = b""
        self.is_silent = False
        self.dribble = b""
        self.is_over = threading.Event()
        self.connections = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.messages: list[ExportTraceServiceRequest] = []
        self._server = _Server(self, port)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def batches(self) -> list[list[Any]]:
        """The spans of each message."""
        return [
            [span for group in message.resource_spans for scope in group.scope_spans
             for span in scope.spans]
            for message in self.messages
        ]  # fmt: skip

    @property
    def spans(self) -> list[Any]:
        return [span for batch in self.batches for span in batch]

    def reject(self, count: int) -> None:
        """From now on, tell that so many spans of each message were left out."""
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = count
        self.answer = answer.SerializeToString()

    def wait_for(self, count: int) -> None:
        """Wait until so many posts have come."""
        wait_until(lambda: len(self.requests) >= count, f"{count} posts")

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join(DEADLINE_S)
        self._server.hang_up()
        self._server.server_close()


@contextmanager
def closed_port() -> Iterator[int]:
    """Hold a port at which every connection is refused, and which nobody else is given."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
