"""The types of protocol.pyx. The docstrings there are its reference."""

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
        self, protocol: LedgerProtocol, transport: asyncio.Transport, lifecycle: Lifecycle
    ) -> None: ...
    def give_up(self) -> None: ...
    def done(self) -> bool: ...
    def set_exception(self, error: Exception) -> None: ...

def deliver(
    submission: Submission, waiters: list[asyncio.Future[Submission] | Connection]
) -> None: ...
def give_back(
    submission: Submission, waiters: list[asyncio.Future[Submission] | Connection]
) -> None: ...

class LedgerProtocol(HttpProtocol):
    """Sanic's protocol of a connection, with a native way beside it."""

    native: Connection
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def close_if_idle(self) -> bool: ...
    def check_timeouts(self) -> None: ...
