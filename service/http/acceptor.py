"""The acceptor: connections are accepted, counted at once, and given to their protocol.

This module owns the listeners while they are served, and the time that a TLS handshake may take. A
connection is counted from the moment it is accepted, so that those which never come to speak are
among the bounded ones. It never reads what they say.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from ..admission.connection_limit import ConnectionLimit

HANDSHAKE_S = 10.0
"""How long a client may take to agree on TLS."""
SHUTDOWN_S = 5.0
"""How long it may take to take leave of TLS."""
ACCEPTED_MAX = 16
"""How many are accepted before those that are there already are heard."""
PAUSE_S = 1.0
"""How long nothing is accepted where the system has no descriptor, or no memory, for it."""

logger = logging.getLogger("ledgercore")


class Acceptor:
    """The acceptor of one server. Used in its event loop only."""

    def __init__(
        self,
        listeners: list[socket.socket],
        connection_limit: ConnectionLimit,
        make_protocol: Callable[[], Any],
        on_overfull: Callable[[], None],
    ) -> None:
        """Make an acceptor. `on_overfull` is called for each connection closed unanswered."""
        self.context: ssl.SSLContext | None = None
        """What TLS is served with from the next connection on; None is without."""
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._connection_limit = connection_limit
        self._make_protocol = make_protocol
        self._on_overfull = on_overfull
        self._connecting: set[asyncio.Task[None]] = set()
        self._pausing: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from here on."""
        self._pausing = None
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    async def close(self) -> None:
        """Accept nothing more, and end what has not come to speak yet."""
        self._stop_accepting()
        for listener in self._listeners:
            listener.close()
        if self.context is not None:
            for task in self._connecting:
                task.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _stop_accepting(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
            return
        for listener in self._listeners:
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_MAX):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            connection.setblocking(False)
            self._begin(connection)

    def _pause(self, error: OSError) -> None:
        """Look again later: the listener stays readable, and would be asked without end."""
        logger.error(
            "no connection can be accepted: %s", error.strerror, extra={"event": "accept-failed"}
        )
        self._stop_accepting()
        self._pausing = self._loop.call_later(PAUSE_S, self.start)

    def _begin(self, connection: socket.socket) -> None:
        if self._connection_limit.is_overfull:
            self._on_overfull()
            connection.close()
            return
        protocol = self._make_protocol()
        self._connection_limit.add(protocol)
        task = self._loop.create_task(self._connect(protocol, connection))
        # Whoever has to go may have to go before it can be told so.
        protocol.handshake = task
        self._connecting.add(task)
        task.add_done_callback(partial(self._end_connecting, protocol, connection))

    def _end_connecting(
        self, protocol: Any, connection: socket.socket, task: asyncio.Task[None]
    ) -> None:
        self._connecting.discard(task)
        if task.cancelled():
            # It had to go before its first step, in which nothing could be caught yet.
            self._connection_limit.remove(protocol)
            connection.close()

    async def _connect(self, protocol: Any, connection: socket.socket) -> None:
        options: dict[str, Any] = {}
        if self.context is not None:
            options = {
                "ssl": self.context,
                "ssl_handshake_timeout": HANDSHAKE_S,
                "ssl_shutdown_timeout": SHUTDOWN_S,
            }
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection, **options)
        except (OSError, asyncio.CancelledError):
            # It has hung up, or was no TLS, or took too long, or has to go.
            self._connection_limit.remove(protocol)
            connection.close()
        protocol.handshake = None
