"""The limit on connections, and which one is closed when there are too many.

This module owns the count, handshakes included, and the few places beyond the limit, whose
connections may ask for nothing but the probes: a server that is busy must not look dead to whoever
would kill it. Of these the oldest goes when one more comes. It never reads or writes a byte.
"""

from typing import Protocol

from ..process.descriptors import find_room, raise_limit
from ..telemetry.lifecycle_log import log_few_descriptors

PROBES_MAX = 32
"""How many connections may be open beyond the limit, for probes."""
LEAVING_MAX = 32
"""How many more may be closing."""
SILENCE_S = 1.0
"""How long one of them may say nothing."""


class LimitedConnection(Protocol):
    """A connection that can be told to end."""

    def turn_away(self) -> None:
        """End at once."""


class ConnectionLimit:
    """The count of the connections of one server, and its limit. Used in its event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._connections: set[LimitedConnection] = set()
        self._probes: dict[LimitedConnection, None] = {}

    def fit_to_descriptors(self) -> None:
        """Lower the limit to what descriptors there are for. Raises TooFewDescriptors."""
        room = find_room(raise_limit(), PROBES_MAX + LEAVING_MAX)
        if room < self.limit:
            log_few_descriptors(room, self.limit)
            self.limit = room

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    @property
    def is_overfull(self) -> bool:
        """Whether one more is closed without an answer."""
        return len(self._connections) >= self.limit + PROBES_MAX + LEAVING_MAX

    def add(self, connection: LimitedConnection) -> bool:
        """Count a connection, once; whether it may ask for the probes only."""
        if connection not in self._connections:
            is_for_probes = len(self._connections) >= self.limit
            self._connections.add(connection)
            if is_for_probes:
                self._end_oldest()
                self._probes[connection] = None
        return connection in self._probes

    def remove(self, connection: LimitedConnection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)
        self._probes.pop(connection, None)

    def _end_oldest(self) -> None:
        while len(self._probes) >= PROBES_MAX:
            oldest = next(iter(self._probes))
            del self._probes[oldest]
            oldest.turn_away()
