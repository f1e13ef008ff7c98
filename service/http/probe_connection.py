"""A connection beyond the limit: it may ask for the probes, and for nothing else.

This module owns what such a connection may say and for how long it may be silent. Whoever asks for
anything else is told that there are too many connections. It never answers a probe: what it lets
through goes the way of every request.
"""

import asyncio
import re
from typing import Any

from ..access.origins import PROBES
from ..admission.connection_limit import SILENCE_S
from ..telemetry.observer import OTHER
from ..wire.base_path import base_path_of, take_off
from ..wire.errors import encode_error
from ..wire.problems import CONNECTIONS_FULL, NOT_STORED, Problem
from ..wire.transfer_answer import date_reply

HEAD_BYTES_MAX = 4096

_match_probe = re.compile(rb"(?:GET|HEAD) (/[^ ?\r\n]*)(?:\?[^ \r\n]*)? HTTP/1\.[01]\r\n").match
_PATHS = frozenset(path.encode() for path in PROBES)


class Probe:
    """A connection beyond the limit, which may send a probe only. Used in the event loop only.

    `protocol` is that of the connection.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._loop: asyncio.AbstractEventLoop = protocol.loop
        self._base_path = base_path_of(protocol.app)
        self._head = b""
        self._has_asked = False
        self._is_over = False
        self._silence = self._loop.call_later(SILENCE_S, self._end_silence)

    def look(self, data: bytes) -> bytes | None:
        """Return a whole probe, to be read on; None of what is none yet, or never will be."""
        if self._is_over:
            return None
        head = self._head = self._head + data
        end = head.find(b"\r\n\r\n") + 4
        if end < 4 and len(head) <= HEAD_BYTES_MAX:
            if b"\r\n" in head and not self._is_probe(head):
                self.turn_away()
            return None
        # What follows the head, a body or another request, is no probe any more.
        if end != len(head) or not self._is_probe(head):
            self.turn_away()
            return None
        self._head = b""
        self._has_asked = True
        self._silence.cancel()
        self._silence = self._loop.call_later(SILENCE_S, self._end_silence)
        return head

    def _is_probe(self, head: bytes) -> bool:
        """Whether this begins as a probe, under the path of the server or without it."""
        found = _match_probe(head)
        return found is not None and take_off(self._base_path, found[1]) in _PATHS

    def turn_away(self) -> None:
        """Close; with an answer, where none was sent yet."""
        transport = self._protocol.transport
        if self._is_over or transport is None:
            return
        self.end()
        if self._has_asked and not self._head:
            self._protocol.close()
            return
        refuse_connection(transport)
        self._protocol.app.ctx.lifecycle.meters.note(OTHER, 503, CONNECTIONS_FULL.name, 0)

    def end(self) -> None:
        """End its clock, with the connection."""
        self._is_over = True
        self._silence.cancel()

    def _end_silence(self) -> None:
        if self._has_asked and not self._head and self._protocol.http is not None:
            # Its answer may be on its way still.
            if not self._protocol.close_if_idle():
                self._silence = self._loop.call_later(SILENCE_S, self._end_silence)
            return
        self.turn_away()


def refuse_connection(transport: asyncio.Transport) -> None:
    """Answer that there are too many connections, and close."""
    detail = f"There are too many connections. {NOT_STORED}; try again later."
    transport.write(date_reply(encode_error(Problem(CONNECTIONS_FULL, detail))[0]))
    transport.close()
