"""How many connections there may be, and which one has to go when there are too many.

This module owns the count, handshakes included, and the few seats beyond the limit, whose
connections may ask for nothing but the probes: a server that is busy must not look dead to whoever
would kill it. Of these the oldest goes when one more comes. It never reads or writes a byte.
"""

from typing import Protocol

from ..process.descriptors import find_room, raise_limit
from ..telemetry.milestones import tell_few_descriptors

SPARE_SEATS = 32
"""How many connections may be open beyond the limit, for probes."""
LEAVING_MAX = 32
"""How many more may be on their way out."""
SILENCE_S = 1.0
"""How long one of them may say nothing."""


class Guest(Protocol):
    """A connection, as far as it has to go."""

    def turn_away(self) -> None:
        """End at once."""


class Seats:
    """The connections of one server. Used in its event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._guests: set[Guest] = set()
        self._spares: dict[Guest, None] = {}

    def fit(self) -> None:
        """Lower the limit to what descriptors there are for. Raises TooFewDescriptors."""
        room = find_room(raise_limit(), SPARE_SEATS + LEAVING_MAX)
        if room < self.limit:
            tell_few_descriptors(room, self.limit)
            self.limit = room

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._guests)

    @property
    def is_crammed(self) -> bool:
        """Whether one more cannot even be told that there are too many."""
        return len(self._guests) >= self.limit + SPARE_SEATS + LEAVING_MAX

    def take(self, guest: Guest) -> bool:
        """Count a connection, once; whether it may ask for the probes only."""
        if guest not in self._guests:
            is_spare = len(self._guests) >= self.limit
            self._guests.add(guest)
            if is_spare:
                self._make_room()
                self._spares[guest] = None
        return guest in self._spares

    def leave(self, guest: Guest) -> None:
        """Forget a connection that has ended."""
        self._guests.discard(guest)
        self._spares.pop(guest, None)

    def _make_room(self) -> None:
        while len(self._spares) >= SPARE_SEATS:
            oldest = next(iter(self._spares))
            del self._spares[oldest]
            oldest.turn_away()
