"""The types of connection.pyx. The docstrings there are its reference."""

import asyncio

from sanic.server.protocols.http_protocol import HttpProtocol

from ..runtime.lifecycle import Lifecycle
from ..runtime.open_batch import Waiter

PARTIAL_S: float

class Connection(Waiter):
    def __init__(
        self, protocol: HttpProtocol, transport: asyncio.Transport, lifecycle: Lifecycle
    ) -> None: ...
    def stop_waiting(self) -> None: ...
    def fail(self, error: Exception) -> None: ...
    def finish(self, reply: bytes) -> int: ...
    def cut(self) -> None: ...
