"""A client in a forked child: it connects anew, and never reads what its parent is answered."""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from ledgercore.client import LedgerClient


class TellPort(BaseHTTPRequestHandler):
    """Answers for any account with the port that its asker has: one for each connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told = {"id": "a", "asset": "USD/2", "balance": self.client_address[1], "floor": 0}
        body = json.dumps(told | {"ceiling": None, "frozen": False}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), TellPort) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    reading, writing = os.pipe()
    with LedgerClient(url) as client:
        port = client.account("a").balance
        assert client.account("a").balance == port, "the connection is kept"
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, b"%d %d" % tuple(client.account("a").balance for _ in range(2)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        first, second = os.read(reading, 64).split()
        assert first == second != b"%d" % port
        assert client.account("a").balance == port, "the parent's is as it was"
    os.close(reading)
    os.close(writing)
