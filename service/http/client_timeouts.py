"""How long a client may take: to send a request, and to read its answers.

This module owns these clocks, and what becomes of a connection that is too slow. Sanic's own begin
anew with each byte, so that a byte now and then would hold a connection, and with it memory, for
ever. It never looks at a byte, and an idle connection has no clock here.
"""

import asyncio
from typing import Any

from sanic.exceptions import RequestTimeout
from sanic.http.constants import Stage

PARTIAL_S = 1.0
"""How long the native way waits for the rest of a request, before it is Sanic's."""
REQUEST_S = 10.0
"""How long a request may take to arrive, head and body."""
BYTES_PER_S_MIN = 16_384
"""How fast a longer one has to be: for each so many bytes it has a second more."""
LOOK_INTERVAL_S = 1.0
READ_S = 30.0
"""How long a client may leave more unread than the sockets hold."""


class ClientTimeouts:
    """The clocks of one connection, beside Sanic's. Used in the event loop only.

    `protocol` is Sanic's for the connection: its reader, its task and its transport are used.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._loop: asyncio.AbstractEventLoop = protocol.loop
        self._looking: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._since_s = 0.0
        self._received_bytes = 0
        self._is_refused = False

    def begin(self) -> None:
        """Begin to wait for a request, the first bytes of which are there."""
        self._since_s = self._loop.time()
        self._received_bytes = 0
        if self._looking is None:
            self._looking = self._loop.call_later(REQUEST_S, self._look)

    def count(self, received_bytes: int) -> None:
        """Note that so much of it has arrived."""
        self._received_bytes += received_bytes

    def _look(self) -> None:
        """End what takes too long; look again as long as there is something to wait for."""
        self._looking = None
        http = self._protocol.http
        if http is None or is_through(http):
            return
        now_s = self._loop.time()
        if not is_awaited(http):
            self._since_s = now_s  # From here on it is the server that takes the time.
        left_s = self._since_s + REQUEST_S + self._received_bytes / BYTES_PER_S_MIN - now_s
        if left_s <= 0:
            self._refuse(http)
        self._looking = self._loop.call_later(max(left_s, LOOK_INTERVAL_S), self._look)

    def _refuse(self, http: Any) -> None:
        """Answer 408 and close; just close where that was tried, since Sanic waits for the rest."""
        task = self._protocol._task
        if self._is_refused or task is None:
            self._protocol.transport.abort()
            return
        self._is_refused = True
        http.exception = RequestTimeout("the request did not arrive in time")
        task.cancel()

    def begin_reading(self) -> None:
        """Begin to wait for a client that does not read."""
        if self._reading is None:
            self._reading = self._loop.call_later(READ_S, self._protocol.transport.abort)

    def end_reading(self) -> None:
        """The client has read."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def end(self) -> None:
        """End all clocks, with the connection."""
        self.end_reading()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None


def is_through(http: Any) -> bool:
    """Return whether all that was given to Sanic is read and answered."""
    return http.stage is Stage.IDLE and not http.request_body and not http.recv_buffer


def is_awaited(http: Any) -> bool:
    """Return whether the rest of a request is still to come from the client."""
    if http.stage is Stage.REQUEST:
        return True
    return bool(http.request_body) and (not http.recv_buffer or http.is_waiting)
