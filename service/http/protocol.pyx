"""Sanic's protocol of a connection, with the native way of connection.pyx beside it.

This module owns what asyncio tells of a connection. It reads nothing, and answers nothing.
"""

from ledgercore.service.http.connection cimport Connection

from time import monotonic

from .probe_connection import Probe
from .sanic_protocol import OrdinaryProtocol


class LedgerProtocol(OrdinaryProtocol):
    """The ordinary protocol of a connection, with a native way beside it."""

    # `probe` looks at each request first, where there are too many connections.
    __slots__ = ("native", "handshake", "probe")

    def connection_made(self, transport):
        """Begin a connection, for probes only where there are as many as there may be."""
        lifecycle = self.app.ctx.lifecycle
        OrdinaryProtocol.connection_made(self, transport)
        self.native = Connection(self, transport, lifecycle)
        self.probe = Probe(self) if lifecycle.connection_limit.add(self) else None

    def data_received(self, data):
        """Take what has arrived."""
        cdef Connection native = self.native
        if self.probe is not None:
            data = self.probe.look(data)
            if data is None:
                return
        native.receive(data)

    def eof_received(self):
        """Note that nothing more will come; whether to stay open, for answers that are due."""
        cdef Connection native = self.native
        is_due = native.end_input() and self.transport.get_extra_info("sslcontext") is None
        return OrdinaryProtocol.eof_received(self) or is_due

    def connection_lost(self, exc):
        """End a connection; what it has admitted stands."""
        cdef Connection native = self.native
        native.lose()
        if self.probe is not None:
            self.probe.end()
        self.app.ctx.lifecycle.connection_limit.remove(self)
        OrdinaryProtocol.connection_lost(self, exc)

    def turn_away(self):
        """End at once, for there are too many connections, and this one is the oldest of those."""
        if self.transport is None:
            self.handshake.cancel()
        else:
            self.probe.turn_away()

    def pause_writing(self):
        """Read nothing more from a client that does not read."""
        cdef Connection native = self.native
        native.pause_writing()
        OrdinaryProtocol.pause_writing(self)

    def resume_writing(self):
        """Read on."""
        cdef Connection native = self.native
        OrdinaryProtocol.resume_writing(self)
        native.resume_writing()

    def close_if_idle(self):
        """Close now, or once the answers that are due are written; whether it is closed."""
        cdef Connection native = self.native
        if native.close_when_answered():
            return False
        return OrdinaryProtocol.close_if_idle(self)

    def check_timeouts(self):
        """Count what went the native way as activity, for the clock that closes idle ones."""
        cdef Connection native = self.native
        if native.has_been_active():
            self._time = monotonic()
        OrdinaryProtocol.check_timeouts(self)
