"""A little reverse proxy that serves a server under a path, and says that it is there.

This module owns such a proxy: it takes the path off or leaves it, adds the headers that proxies
add, and hands on bytes. It never asserts anything.
"""

import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from tests.support.waiting import DEADLINE_S


class PrefixProxy:
    """A proxy in threads of this process, ended with the `with` block."""

    def __init__(self, server_url: str, path: str, *, strips: bool) -> None:
        address = urlsplit(server_url)
        self._server = (address.hostname, address.port)
        self._path = path.encode()
        self._strips = strips
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = self.origin + path
        self._threads = [threading.Thread(target=self._run, daemon=True)]

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(DEADLINE_S)
            data = b""
            while b"\r\n\r\n" not in data:
                if not (piece := client.recv(65_536)):
                    return
                data += piece
            method, target, rest = data.split(b" ", 2)
            if not target.startswith(self._path):
                client.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                return
            if self._strips:
                target = target.removeprefix(self._path) or b"/"
            version, _, rest = rest.partition(b"\r\n")
            # One request a connection, so that nothing behind its head has to be read.
            added = b"X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n"
            added += b"Connection: close\r\n"
            lines, _, body = rest.partition(b"\r\n\r\n")
            kept = [line for line in lines.split(b"\r\n") if not line.lower().startswith(_OWN)]
            head = b"%s %s %s\r\n%s" % (method, target, version, added)
            with socket.create_connection(self._server, DEADLINE_S) as server:
                server.sendall(head + b"\r\n".join(kept) + b"\r\n\r\n" + body)
                hand_on(client, server)

    def __enter__(self) -> "PrefixProxy":
        self._threads[0].start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Somebody who waits in accept is not told of a close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(DEADLINE_S)


_OWN = b"connection:"


def hand_on(client: socket.socket, server: socket.socket) -> None:
    """Hand on what comes from either side, until the server has ended."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select(DEADLINE_S):
                source, target = key.fileobj, key.data
                data = source.recv(65_536)  # type: ignore[union-attr]
                if not data:
                    return
                target.sendall(data)
