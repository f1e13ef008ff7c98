"""The types of connection.pyx. The docstrings there are its reference."""

import asyncio

from sanic.server.protocols.http_protocol import HttpProtocol

from ledgercore import Submission

from .lifecycle import Lifecycle

PARTIAL_S: float

class Desk:
    """What is open for one segment in this turn of the loop."""

    segment: int
    submission: Submission | None
    waiters: list[asyncio.Future[Submission] | Connection]
    def __init__(self, segment: int) -> None: ...

class Connection:
    """The native half of one connection. Used in the event loop only."""

    def __init__(
        self, protocol: HttpProtocol, transport: asyncio.Transport, lifecycle: Lifecycle
    ) -> None: ...
    def give_up(self) -> None: ...
    def done(self) -> bool: ...
    def set_exception(self, error: Exception) -> None: ...
    def finish(self, reply: bytes) -> int: ...
    def cut(self) -> None: ...
