"""A server from its first connection to its end: the loop, the acceptor, and the signals.

This module owns the order of these. It serves an app as Sanic would, and takes the place of Sanic's
own runner, which accepts on one socket, counts nobody before the handshake, and loses the signals
that come while it starts. It never opens a ledger: the lifecycle does, told of the same events.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import uvloop
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP
from sanic.models.server_types import Signal
from sanic.server.async_server import AsyncioServer

from .access.key_ring import KeyFileError
from .app import LedgerApp
from .http.acceptor import Acceptor
from .http.protocol import LedgerProtocol
from .process.callbacks import ignore
from .process.signals import ProcessSignals
from .runtime.lifecycle import Lifecycle
from .settings import InvalidSetting
from .wire.problems import CONNECTIONS_FULL

LOOK_INTERVAL_S = 0.05
"""How long between two looks whether the connections have ended."""
OTHER = "other"

logger = logging.getLogger("ledgercore")

ReadCertificate = Callable[[], ssl.SSLContext | None]


class Server:
    """One app, served in this thread until it is told to stop, or its ledger fails."""

    def __init__(
        self,
        app: LedgerApp,
        listeners: list[socket.socket],
        read_certificate: ReadCertificate,
        signals: ProcessSignals,
    ) -> None:
        """Take the certificate as it is now. Raises as `read_certificate`."""
        self._app = app
        self._lifecycle: Lifecycle = app.ctx.lifecycle
        self._listeners = listeners
        self._read_certificate = read_certificate
        self._certificate = read_certificate()
        self._signals = signals
        self._reloads_done = 0
        self._acceptor: Acceptor | None = None
        self._is_stopped: asyncio.Event
        self._skips_drain: asyncio.Event

    def run(self) -> None:
        """Serve."""
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            self._signals.listener = ignore
            asyncio.set_event_loop(None)
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_stopped, self._skips_drain = asyncio.Event(), asyncio.Event()
        self._app.ctx.on_stop = self._stop_undrained
        self._signals.listener = lambda: ignore(loop.call_soon_threadsafe(self._handle_signals))
        if self._signals.stops > 0:
            return  # Nothing was opened yet.
        signal = Signal()
        server = await self._prepare()
        self._acceptor = Acceptor(
            self._listeners,
            self._lifecycle.connection_limit,
            lambda: LedgerProtocol(
                loop=loop, app=self._app, signal=signal, connections=server.connections
            ),
            lambda: self._lifecycle.meters.note(OTHER, 503, CONNECTIONS_FULL.name, 0),
        )
        self._acceptor.context = self._certificate
        await server.startup()  # type: ignore[no-untyped-call]
        await server.before_start()  # type: ignore[no-untyped-call]
        self._acceptor.start()
        await server.after_start()  # type: ignore[no-untyped-call]
        self._app.set_serving(True)
        self._handle_signals()
        await self._wait()
        await server.before_stop()  # type: ignore[no-untyped-call]
        await self._acceptor.close()
        signal.stopped = True
        await self._end_connections(server)
        self._app.set_serving(False)
        await server.after_stop()  # type: ignore[no-untyped-call]

    async def _prepare(self) -> AsyncioServer:
        """Let Sanic get ready, with a socket from which nothing is accepted."""
        # Its advice is to use options that this command does not have.
        os.environ["SANIC_IGNORE_PRODUCTION_WARNING"] = "1"
        server = await self._app.create_server(
            sock=socket.socket(),
            protocol=LedgerProtocol,
            return_asyncio_server=True,
            asyncio_server_kwargs={"start_serving": False},
        )
        assert server is not None
        await server.close()  # type: ignore[no-untyped-call]
        # Sanic leaves out of its answers what only servers of several versions of HTTP have.
        self._app.state.server_info.append(ApplicationServerInfo({"version": HTTP.VERSION_1}))
        return server

    # -- signals ----------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        """Act on the signals that have come since the last call."""
        if self._signals.stops > 0:
            self._is_stopped.set()
        if self._signals.stops > 1:
            self._skips_drain.set()
        if self._signals.reloads > self._reloads_done:
            self._reloads_done = self._signals.reloads
            self._reload()

    def _stop_undrained(self) -> None:
        """Stop without draining: the ledger has failed."""
        self._is_stopped.set()
        self._skips_drain.set()

    async def _wait(self) -> None:
        """Return once it is time to stop, after the time that load balancers need to notice."""
        await self._is_stopped.wait()
        drain_s = self._lifecycle.settings.drain_s
        if drain_s > 0 and self._lifecycle.begin_draining(drain_s):
            with suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._skips_drain.wait()

    def _reload(self) -> None:
        """Read the certificate and the keys again; what cannot be used changes nothing."""
        try:
            certificate = self._read_certificate()
            if self._acceptor is not None:
                self._acceptor.context = certificate
            self._lifecycle.reload_keys()
        except (InvalidSetting, KeyFileError) as error:
            logger.error("nothing is changed: %s", error, extra={"event": "reload-failed"})
        else:
            logger.info("certificate and keys were read again", extra={"event": "reloaded"})

    # -- the end ----------------------------------------------------------------------------------

    async def _end_connections(self, server: AsyncioServer) -> None:
        """Close idle connections, and give the others time to finish."""
        for connection in tuple(server.connections):
            connection.close_if_idle()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._app.config.GRACEFUL_SHUTDOWN_TIMEOUT):
                # What Sanic has is a set.
                while server.connections:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_INTERVAL_S)
        for connection in tuple(server.connections):
            connection.abort()
        # Their ends are told in the turns of the loop that come.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
