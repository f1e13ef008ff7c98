"""Sanic's protocol of a connection, with the native way of connection.pyx beside it.

This module owns what asyncio tells of a connection. It reads nothing, and answers nothing.
"""

from ledgercore.service.http.connection cimport Connection

from time import monotonic

from .sanic_protocol import OrdinaryProtocol
from .probe_connection import Probe


class LedgerProtocol(OrdinaryProtocol):
    """The ordinary protocol of a connection, with a native way beside it."""

    __slots__ = ("native", "handshake")

    def connection_made(self, transport):
        """Begin a connection, for probes only where there are as many as there may be."""
        cdef Connection native
        lifecycle = self.app.ctx.lifecycle
        OrdinaryProtocol.connection_made(self, transport)
        self.native = native = Connection(self, transport, lifecycle)
        if lifecycle.seats.take(self):
            native.probe = Probe(self)

    def data_received(self, data):
        """Take what has arrived."""
        cdef Connection native = self.native
        if native.probe is not None:
            data = native.probe.look(data)
            if data is None:
                return
        native.receive(data)

    def eof_received(self):
        """Note that nothing more will come; whether to stay open, for answers that are due."""
        cdef Connection native = self.native
        is_due = native.end() and self.transport.get_extra_info("sslcontext") is None
        return OrdinaryProtocol.eof_received(self) or is_due

    def connection_lost(self, exc):
        """End a connection; what it has admitted stands."""
        cdef Connection native = self.native
        native.is_lost = True
        native.held = None
        self.app.ctx.lifecycle.seats.leave(self)
        if native.probe is not None:
            native.probe.end()
        native.patience.end()
        native.unread.end(self.transport)
        if native.timer is not None:
            native.timer.cancel()
        OrdinaryProtocol.connection_lost(self, exc)

    def turn_away(self):
        """End at once, for there are too many connections, and this one is the oldest of those."""
        if self.transport is None:
            self.handshake.cancel()
        else:
            (<Connection> self.native).probe.turn_away()

    def pause_writing(self):
        """Read nothing more from a client that does not read."""
        cdef Connection native = self.native
        native.is_write_paused = True
        native.patience.begin_reading()
        native.unread.note(self.transport)
        OrdinaryProtocol.pause_writing(self)

    def resume_writing(self):
        """Read on."""
        cdef Connection native = self.native
        native.is_write_paused = False
        native.patience.end_reading()
        native.unread.end(self.transport)
        OrdinaryProtocol.resume_writing(self)
        if native.flight is None and not native.is_lost:
            native.release()

    def close_if_idle(self):
        """Close now, or once the answers that are due are written; whether it is closed."""
        cdef Connection native = self.native
        if native.due > 0:
            native.is_closing = True
            return False
        return OrdinaryProtocol.close_if_idle(self)

    def check_timeouts(self):
        """Count what went the native way as activity, for the clock that closes idle ones."""
        cdef Connection native = self.native
        if native.was_active or native.due > 0:
            native.was_active = False
            self._time = monotonic()
        OrdinaryProtocol.check_timeouts(self)
