"""The live stream: server-sent events for a bounded number of viewers.

This module owns what is on such a stream, and that nobody who reads slowly holds memory or anybody
else up. It never touches a socket, and never decides who may watch. Format: WHATWG HTML, 9.2.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from ledgercore import Audit

from ..wire.answers import describe_audit
from ..wire.problems import VIEWERS_FULL, Problem
from ..wire.sanic_types import AnyRequest
from .sample import Sample
from .sampler import SAMPLES_MAX, Sampler
from .totals import Totals

VIEWERS_MAX = 32
EVENTS_MAX = 30
"""How many events may wait for a viewer. Who leaves more of them unread is dropped."""
HEARTBEAT_S = 15.0
"""How long a stream is silent at most, so that nobody on the way takes it for dead."""
HEARTBEAT = b": still here\n\n"
CLOSE_S = 0.5
"""How long a server that stops waits for viewers to read the end of their streams."""
VIOLATIONS_MAX = 20
"""How many violations of an audit are told to viewers; `GET /audit` tells all of them."""


class Viewer:
    """One stream: the events that wait to be sent. `drop` ends its connection at once."""

    def __init__(self, drop: Callable[[], None]) -> None:
        self.drop = drop
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue(EVENTS_MAX)

    def send(self, event: bytes | None) -> None:
        """Queue an event; None ends the stream. Drops a viewer that is too far behind."""
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self.drop()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what is to be sent, until the stream ends."""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    event = await self._events.get()
            except TimeoutError:
                event = HEARTBEAT
            if event is None:
                return
            yield event


class Viewers:
    """The viewers of one server. Belongs to its event loop, used only in it.

    `describe` returns what seldom changes, such as the limits; it is told whenever it has. It may
    raise Problem where there is nothing to tell.
    """

    def __init__(self, sampler: Sampler, describe: Callable[[], dict[str, Any]]) -> None:
        self._sampler = sampler
        self._describe = describe
        self._viewers: set[Viewer] = set()
        self._settings: dict[str, Any] = {}
        self._audit: dict[str, Any] | None = None
        self._is_closed = False
        self._is_empty = asyncio.Event()
        sampler.listeners.append(self._note)

    @contextmanager
    def watching(self, drop: Callable[[], None]) -> Iterator[Viewer]:
        """Yield a viewer for the block. Raises the problem `viewers-full`."""
        if len(self._viewers) >= VIEWERS_MAX:
            raise Problem(VIEWERS_FULL, f"{VIEWERS_MAX} others are watching. Try again later.")
        viewer = Viewer(drop)
        self._sampler.begin_watching()
        self._viewers.add(viewer)
        try:
            self._greet(viewer)
            yield viewer
        finally:
            self._viewers.discard(viewer)
            self._sampler.end_watching()
            if not self._viewers:
                self._is_empty.set()

    def note_audit(self, audit: Audit) -> None:
        """Tell all viewers what an audit has found."""
        told = describe_audit(audit)
        # A page would round numbers beyond 2^53, whatever the setting of the server.
        told["sums"] = {asset: str(total) for asset, total in audit.sums.items()}
        told["violations"] = audit.violations[:VIOLATIONS_MAX]
        told["violations_total"] = len(audit.violations)
        self._audit = told | {"t": round(time.time(), 3)}
        self._send_all("audit", self._audit)

    async def close(self) -> None:
        """End all streams, those about to begin too; drop viewers that do not read the end."""
        self._is_closed = True
        for viewer in tuple(self._viewers):
            viewer.send(None)
        if self._viewers:
            self._is_empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._is_empty.wait()
        for viewer in tuple(self._viewers):
            viewer.drop()

    def _greet(self, viewer: Viewer) -> None:
        viewer.send(encode_event("settings", self._describe()))
        samples = list(self._sampler.samples)
        viewer.send(encode_event("history", {"samples": samples, "samples_max": SAMPLES_MAX}))
        if self._audit is not None:
            viewer.send(encode_event("audit", self._audit))
        if self._is_closed:
            viewer.send(None)

    def _note(self, sample: Sample, before: Totals, after: Totals) -> None:
        if not self._viewers:
            return
        settings = self._describe()
        if settings != self._settings:
            self._settings = settings
            self._send_all("settings", settings)
        self._send_all("sample", sample)

    def _send_all(self, name: str, value: dict[str, Any]) -> None:
        event = encode_event(name, value)
        for viewer in tuple(self._viewers):
            viewer.send(event)


def viewers_of(request: AnyRequest) -> Viewers:
    """Return the viewers of the app that serves this request."""
    viewers: Viewers = request.app.ctx.monitor.viewers
    return viewers


def encode_event(name: str, value: dict[str, Any]) -> bytes:
    """Return a server-sent event. JSON has no line ends, so it is one line of data."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(value))
