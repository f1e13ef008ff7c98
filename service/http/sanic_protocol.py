"""Sanic's protocol of a connection, ended in such a way that its client hears the last answer.

This module owns how a connection ends. Where a client may still be sending what was refused, to
close would make the kernel reset the connection, and the answer would be lost with it: so what
still comes is read and dropped for a while, bounded in bytes and time. And a client that has ended
its own direction gets the answers that are due. It never looks at a byte.
"""

import asyncio
from typing import Any

from sanic.exceptions import BadRequest
from sanic.http.constants import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from ..telemetry.observer import LONG_ROUTES
from .sanic_http import StrictHttp

LINGER_S = 5.0
"""How long a client may take to stop sending what was refused."""
LINGER_BYTES_MAX = 64 * 1024 * 1024
"""How much of it is read: as much as the longest body that is ever taken."""


class OrdinaryProtocol(HttpProtocol):
    """Sanic's protocol of a connection, with our own reader, and ends that are heard."""

    __slots__ = ("_dropped_bytes", "_lingering", "is_cut_short", "is_half_closed")

    HTTP_CLASS = StrictHttp

    is_cut_short: bool
    """Whether the client may still be sending what was refused."""
    is_half_closed: bool
    """Whether the client has sent its last byte, and may still be reading."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_cut_short = self.is_half_closed = False
        self._lingering: asyncio.TimerHandle | None = None
        self._dropped_bytes = 0

    # -- what is refused -----------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> None:
        """Close the connection; not before its client has heard that it was refused.

        Called once more, it closes at once.
        """
        transport: Any = self.transport
        is_open = transport is not None and not transport.is_closing()
        if is_open and self.is_cut_short and not self.is_half_closed and self._lingering is None:
            self._lingering = self.loop.call_later(LINGER_S, self.close)
            if transport.can_write_eof():
                transport.write_eof()
            transport.resume_reading()
            return
        if self._lingering is not None:
            self._lingering.cancel()
        super().close(timeout)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; drop it where nothing is answered any more."""
        if self._lingering is None:
            super().data_received(data)
            return
        self._dropped_bytes += len(data)
        if self._dropped_bytes > LINGER_BYTES_MAX:
            self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End a connection."""
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)  # type: ignore[no-untyped-call]

    # -- who has sent all ----------------------------------------------------------------------

    def eof_received(self) -> bool:
        """Note that nothing more will come; whether to stay open, for an answer that is due.

        It looks the same when a client hangs up. Where the answer has no end or is long in coming,
        that is what it is taken for.
        """
        self.is_half_closed = True
        transport: Any = self.transport
        # The libraries know no such state of TLS, though RFC 8446, 6.1, does.
        if not self._is_answer_due() or transport.get_extra_info("sslcontext") is not None:
            return False
        self._data_received.set()
        return True

    def _is_answer_due(self) -> bool:
        http: Any = self.http
        if http is None or self._lingering is not None:
            return False
        if http.stage is Stage.IDLE:
            return bool(http.recv_buffer)
        if http.stage is Stage.HANDLER:
            route = http.request.route
            return route is None or not f"/{route.path}".startswith(LONG_ROUTES)
        return bool(http.stage is Stage.REQUEST)

    async def receive_more(self) -> None:
        """Wait for more of a request. Raises BadRequest where no more can come."""
        before = len(self.recv_buffer)
        if not self.is_half_closed:
            await super().receive_more()  # type: ignore[no-untyped-call]
        if self.is_half_closed and len(self.recv_buffer) == before:
            http: Any = self.http
            if http is None or http.stage is Stage.IDLE:
                raise asyncio.CancelledError
            raise BadRequest("the request has no end")
