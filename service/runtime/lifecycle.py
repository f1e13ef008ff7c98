"""The life of the engine inside a server: opened, ready, then closed or failed.

This module owns the states, and says at every moment whether requests may come in. What the parts
are made of is in assembly.py. It never handles a request, and never decides how the process exits:
a failure is stored and told once, and the command turns it into an exit code.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from enum import Enum
from typing import NoReturn

from ledgercore import LedgerError

from ..access.hosts import HostNames, read_names
from ..access.key_ring import KeyFileError
from ..admission.admission import Admission
from ..admission.body_budget import BodyBudget
from ..admission.connection_limit import ConnectionLimit
from ..admission.unread_answers import Unread
from ..chaos.plan import InvalidPlan
from ..chaos.switch import ChaosSwitch
from ..engine_port import EnginePort
from ..process.allocation import return_large_blocks
from ..process.blocking_close import close_apart
from ..process.callbacks import ignore
from ..process.descriptors import TooFewDescriptors
from ..scaling.workers import Scaler
from ..settings import Settings
from ..telemetry.collector import UnusableCollector
from ..telemetry.lifecycle_log import log_draining, log_recovered, log_stopped, log_stopping
from ..telemetry.meters import Meters
from ..telemetry.observer import Observer
from ..telemetry.span_encoding import MissingPackage
from ..telemetry.span_exporter import SpanExporter
from ..wire.integer_forms import IntegerForms
from ..wire.problems import (
    JOURNAL_FAILED,
    NOT_STORED,
    RECOVERING,
    SHUTTING_DOWN,
    Kind,
    Problem,
)
from ..wire.sanic_types import AnyRequest, App
from .assembly import Parts, open_parts
from .batcher import Batcher
from .blocking_calls import BlockingCalls

GRACE_S = 0.5
"""How long the port waits for the ledger, so that a small one is ready when the port opens."""
DRAIN_S = 10.0
"""How long a stopping server waits for the engine to answer what is under way."""
START_INTERVAL_S = 0.05
"""How long between two looks whether the server serves yet."""

logger = logging.getLogger("ledgercore")


class State(Enum):
    """Where a server is in its life."""

    OPENING = "opening"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


_REFUSALS: dict[State, tuple[Kind, str]] = {
    State.OPENING: (RECOVERING, f"The ledger is not open yet. {NOT_STORED}."),
    State.STOPPING: (SHUTTING_DOWN, f"The server takes no more requests. {NOT_STORED}."),
    State.FAILED: (JOURNAL_FAILED, f"The server is about to exit. {NOT_STORED}."),
}


class Lifecycle:
    """The one engine of an app, and what a request needs of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State.OPENING
        self.is_ready = False
        """Whether requests may come in; an attribute, for every request looks at it."""
        self.failure: str | None = None
        self.is_stop_wanted = False
        self.on_ready: Callable[[EnginePort], None] = ignore
        self.on_work: Callable[[], None] = ignore
        """Called before the engine is given work, and when some is refused."""
        self.started_s = time.time()
        self.connection_limit = ConnectionLimit(settings.connections_max)
        self.is_draining = False
        self.meters = Meters(
            bool(settings.instruments), settings.slow_request_ms, settings.traces_per_million
        )
        self.observer = Observer(self.meters)
        self.hosts = HostNames(read_names(settings.allow_host))
        self.unread = Unread()
        self.bodies = BodyBudget(unread=self.unread)
        self.forms = IntegerForms()
        """How whole numbers are written in answers; also in those that a stopping server gives."""
        self.calls = BlockingCalls()
        self.call = self.calls.call
        self._parts: Parts | None = None
        self._closing = AsyncExitStack()
        self._opening: asyncio.Task[None] | None = None
        self._is_stopping = threading.Event()
        self._app: App | None = None
        self._watching: asyncio.TimerHandle | None = None

    # -- for requests -------------------------------------------------------------------------

    @property
    def engine(self) -> EnginePort:
        """The engine itself, for reads that do not block and for `call`.

        Raises the problem that says why there is none now; so do the other parts.
        """
        return self._require_parts().engine

    @property
    def batcher(self) -> Batcher:
        """The batcher, which submits requests to the engine."""
        return self._require_parts().batcher

    @property
    def admission(self) -> Admission:
        """The admission of requests."""
        return self._require_parts().admission

    @property
    def scaler(self) -> Scaler:
        """What gives the segments their workers."""
        return self._require_parts().scaler

    @property
    def chaos(self) -> ChaosSwitch:
        """The switch of chaos."""
        return self._require_parts().chaos

    def _require_parts(self) -> Parts:
        if self.state is not State.READY or self._parts is None:
            self._refuse()
        return self._parts

    def check_ready(self) -> EnginePort:
        """Return the engine where more requests are welcome. Raises the problem that says why not.

        While it drains a server takes what comes, and says that nothing more should be sent.
        """
        engine = self.engine
        if self.is_draining:
            raise Problem(SHUTTING_DOWN, "The server is about to stop; requests are still taken.")
        return engine

    def _refuse(self) -> NoReturn:
        kind, detail = _REFUSALS[self.state]
        raise Problem(kind, detail)

    # -- for the server -----------------------------------------------------------------------

    async def start(self, app: App) -> None:
        """Begin to open the engine, and give it a moment to be ready."""
        return_large_blocks()
        try:
            self.connection_limit.fit_to_descriptors()
        except TooFewDescriptors as error:
            self.fail(str(error))
            return
        self._opening = asyncio.create_task(self._open())
        await asyncio.wait([self._opening], timeout=GRACE_S)

    def watch(self, app: App) -> None:
        """Stop the app as soon as it serves, if that was wanted meanwhile or the ledger has failed.

        Before it serves it would forget. Once it does, the loop itself heeds signals, and `fail`
        stops it, so that a server without work never wakes up.
        """
        self._app = app
        if not app.state.is_running:
            loop = asyncio.get_running_loop()
            self._watching = loop.call_later(START_INTERVAL_S, self.watch, app)
        elif self.is_stop_wanted or self.state is State.FAILED:
            app.stop()

    def begin_draining(self, drain_s: int) -> bool:
        """Begin to drain, so that readiness fails; whether the server was ready until now."""
        self.is_draining = self.is_ready
        if self.is_draining:
            log_draining(drain_s)
        return self.is_draining

    def reload_keys(self) -> None:
        """Read the file of the keys again, where it is in use."""
        if self.is_ready:
            self.admission.reload()

    async def stop(self, app: App) -> None:
        """Take no more requests, and finish those that are under way."""
        if self._watching is not None:
            self._watching.cancel()
        self._is_stopping.set()
        log_stopping()
        if self._opening is not None:
            # Recovery cannot be interrupted, but it ends, and what it has opened must be closed.
            await self._opening
        if self.state is not State.FAILED:
            self._enter(State.STOPPING)
        if self._parts is not None:
            self._parts.chaos.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._drain()

    async def close(self, app: App) -> None:
        """Close all parts: what was taken is on the disk when this returns."""
        await self._closing.aclose()
        if self.observer.exporter is not None:
            await close_apart(self.observer.exporter.close)
        self.calls.close()
        log_stopped()

    def fail(self, reason: str, bug: Exception | None = None) -> None:
        """Store and log why this server cannot go on. Only the first reason counts."""
        if self.failure is None:
            self.failure = reason
            self._enter(State.FAILED)
            # Of a bug the log tells the place by itself. This one has read nothing of a client's.
            fields = {"event": "failed"} | ({"error": repr(bug)} if bug else {})
            logger.error("%s", reason, exc_info=bug, extra=fields)
            if self._app is not None and self._app.state.is_running:
                # Once those who wait in this turn of the loop have been told.
                asyncio.get_running_loop().call_soon(self._app.stop)

    def _enter(self, state: State) -> None:
        self.state = state
        self.is_ready = state is State.READY

    async def _open(self) -> None:
        try:
            self._parts = await open_parts(
                self.settings, self.calls, self._closing, self.fail, self._is_stopping.is_set
            )
            if self.settings.otlp:
                self.observer.export(SpanExporter(self.settings.otlp))
        except (LedgerError, KeyFileError, InvalidPlan, UnusableCollector, MissingPackage) as error:
            self.fail(str(error))
        except Exception as error:
            self.fail("the ledger cannot be opened", error)
        else:
            if not self._is_stopping.is_set():
                self.forms = self._parts.forms
                self._parts.batcher.on_work = self.on_work
                self._enter(State.READY)
                log_recovered(self._parts.engine.statistics())
                self.on_ready(self._parts.engine)

    async def _drain(self) -> None:
        await self.calls.drain()
        if self._parts is not None:
            await self._parts.batcher.drain()


def lifecycle_of(request: AnyRequest) -> Lifecycle:
    """Return the lifecycle of the app that serves this request."""
    lifecycle: Lifecycle = request.app.ctx.lifecycle
    return lifecycle
