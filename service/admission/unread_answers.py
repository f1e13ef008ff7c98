"""The bound on answers that clients have not read, over all connections.

This module owns that bound. A connection may leave little unread for as long as it likes: what its
socket and its own buffer hold, 64 KiB. Who leaves more is counted here, with all of it, and has the
time of client_timeouts.py; and where all together leave more than UNREAD_BYTES_MAX, those are cut
off who have for longest. What they asked for stands, and a repeat of it gets its answer.
"""

import logging
from typing import Protocol

UNREAD_BYTES_MAX = 256 * 1024 * 1024
"""How many bytes of answers may be unread in all, beside 64 KiB for each connection."""

logger = logging.getLogger("ledgercore")


class Transport(Protocol):
    """What is asked of a connection here."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are not sent yet."""

    def abort(self) -> None:
        """End it, and let go of what is not sent."""


class Unread:
    """The connections that leave much unread, oldest first. Used in the event loop only."""

    def __init__(self, bytes_max: int = UNREAD_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        """How many bytes they leave unread together, as of when each was last given some."""
        self.cut_count = 0
        """How many were cut off for that."""
        self._sizes: dict[Transport, int] = {}

    def note(self, transport: Transport) -> None:
        """Note that a connection does not take what it was given, or was given more."""
        size = transport.get_write_buffer_size()
        self.bytes += size - self._sizes.get(transport, 0)
        self._sizes[transport] = size
        while self.bytes > self.bytes_max:
            oldest = next(iter(self._sizes))
            self.end(oldest)
            self.cut_count += 1
            logger.info("cut off a client that does not read its answer", extra={"event": "unread"})
            oldest.abort()

    def end(self, transport: Transport) -> None:
        """Note that a connection has taken it, or is lost."""
        self.bytes -= self._sizes.pop(transport, 0)
