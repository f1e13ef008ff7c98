"""The faults of chaos, injected into connections and the engine as the plan's draws decide.

This module owns what a fault does once it strikes, and that all of it is undone when chaos ends. It
never says when a fault strikes, and breaks no promise: whatever it does, a client that asks again
with the same key learns what became of its transfer.
"""

import asyncio
import errno
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Protocol

from sanic.response import HTTPResponse

from ..engine_port import EnginePort
from ..wire.problems import ClientGone
from ..wire.sanic_types import AnyRequest
from .plan import FaultDraws, Plan

"""The status of an answer that is sent to nobody."""

Handler = Callable[[AnyRequest], Awaitable[HTTPResponse]]

logger = logging.getLogger("ledgercore")


class Connection(Protocol):
    """The calls of a native connection whose answer is delayed."""

    def finish(self, reply: bytes) -> int:
        """Write an answer that was delayed."""

    def cut(self) -> None:
        """Abort the connection."""


class FaultInjector:
    """Injects the faults of one plan into one engine and its requests. For the event loop only."""

    def __init__(self, engine: EnginePort, loop: asyncio.AbstractEventLoop, plan: Plan) -> None:
        self._engine = engine
        self._loop = loop
        self._draws = FaultDraws(plan)
        self._stalls: dict[int, asyncio.TimerHandle] = {}
        self._late: dict[Connection, tuple[asyncio.TimerHandle, bytes]] = {}
        self._is_over: asyncio.Future[None] = loop.create_future()
        if plan.kill_worker is not None:
            # Else they would be killed asleep, for small batches do without them.
            engine.fault_injection.leave_to_workers()

    @property
    def struck(self) -> Counter[str]:
        """How often each fault has struck."""
        return self._draws.struck

    def end(self) -> None:
        """Undo what can be undone, and inject nothing more."""
        self._draws = FaultDraws(Plan())
        for segment in tuple(self._stalls):
            self._end_stall(segment)
        self._engine.fault_injection.inject_sync_fault()
        self._engine.fault_injection.leave_to_workers(False)
        for connection in tuple(self._late):
            self._finish_late(connection)
        self._is_over.set_result(None)

    # -- requests -----------------------------------------------------------------------------

    def drops_before(self) -> bool:
        """Whether the connection of a transfer is to be aborted before it is submitted."""
        return self._draws.draw("drop_before")

    def takes(self, connection: Connection, reply: bytes) -> bool:
        """Drop or delay an answer of the native way; False where it is to be written now."""
        if self._draws.draw("drop_after"):
            connection.cut()
            return True
        delay_ms = self._draws.draw_ms("latency")
        if delay_ms is None:
            return False
        # There is no other: what a connection sends meanwhile waits until this is written.
        timer = self._loop.call_later(delay_ms / 1000, self._finish_late, connection)
        self._late[connection] = timer, reply
        return True

    def _finish_late(self, connection: Connection) -> None:
        timer, reply = self._late.pop(connection)
        timer.cancel()
        connection.finish(reply)

    async def surround(self, handler: Handler, request: AnyRequest) -> HTTPResponse:
        """Run a handler that Sanic calls, and drop or delay its answer."""
        if self.drops_before():
            return _cut(request)
        response = await handler(request)
        if self._draws.draw("drop_after"):
            return _cut(request)
        if (delay_ms := self._draws.draw_ms("latency")) is not None:
            await asyncio.wait([self._is_over], timeout=delay_ms / 1000)
        return response

    # -- the engine ---------------------------------------------------------------------------

    def strike(self, segment: int) -> None:
        """Inject the engine's faults that are drawn for the next batch of this segment."""
        draws, plan = self._draws, self._draws.plan
        delay_ms, is_failing = draws.draw_ms("slow_sync"), draws.draw("fail_sync")
        if is_failing or delay_ms is not None:
            self._engine.fault_injection.inject_sync_fault(
                delay_ms=delay_ms or 0, error=errno.EIO if is_failing else 0
            )
        if draws.draw("kill_worker"):
            self._kill_worker(segment)
        if plan.stall_segment is not None and plan.stall_segment.segment in (None, segment):
            self._stall(segment)

    def _kill_worker(self, segment: int) -> None:
        try:
            self._engine.fault_injection.replace_worker(segment)
        except RuntimeError as error:  # The system has no more threads; those there are go on.
            fields = {"event": "worker-kept", "segment": segment}
            logger.warning("segment %d: its worker goes on: %s", segment, error, extra=fields)

    def _stall(self, segment: int) -> None:
        """Stall a segment if that is drawn, unless it is stalled already."""
        delay_ms = self._draws.draw_ms("stall_segment")
        if delay_ms is None or segment in self._stalls:
            return
        self._engine.stall(segment)
        self._stalls[segment] = self._loop.call_later(delay_ms / 1000, self._end_stall, segment)

    def _end_stall(self, segment: int) -> None:
        self._stalls.pop(segment).cancel()
        self._engine.stall(segment, False)


def _cut(request: AnyRequest) -> HTTPResponse:
    """Abort the connection of a request; what is returned is sent to nobody."""
    transport: Any = request.transport
    transport.abort()
    return ClientGone()


def exposed(handler: Handler) -> Handler:
    """Wrap a handler of transfers, so that planned faults are injected into it."""

    @wraps(handler)
    async def run(request: AnyRequest) -> HTTPResponse:
        fault_injector: FaultInjector | None = request.app.ctx.lifecycle.batcher.fault_injector
        if fault_injector is None:
            return await handler(request)
        return await fault_injector.surround(handler, request)

    return run
