"""The life of the engine inside a server: opened, ready, then closed or failed.

This module owns the engine and the threads of its blocking calls, and says at every moment whether
requests may come in. It never handles a request, and never decides how the process exits: a
failure is stored and told once, and the command turns it into an exit code.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar

from sanic import Request, Sanic

import ledgercore
from ledgercore import OPTION_RANGES, Audit, Engine, LedgerError

from ..access.hosts import HostNames, read_names
from ..access.key_ring import KeyFileError
from ..access.nonces import NonceMemory
from ..access.signatures import SignatureCheck
from ..admission.admission import Admission
from ..admission.body_budget import BodyBudget
from ..admission.connection_limit import Seats
from ..admission.drain_rate import DrainMeter
from ..admission.limiter import Limiter
from ..admission.unread_answers import Unread
from ..chaos.plan import InvalidPlan
from ..chaos.switch import ChaosSwitch
from ..process.allocation import return_large_blocks
from ..process.blocking_close import close_apart
from ..process.descriptors import TooFewDescriptors
from ..scaling.workers import Scaler
from ..settings import Settings
from ..telemetry.collector import UnusableCollector
from ..telemetry.meters import Meters
from ..telemetry.milestones import tell_draining, tell_recovered, tell_stopped, tell_stopping
from ..telemetry.observer import Observer
from ..telemetry.span_encoding import MissingPackage
from ..telemetry.span_exporter import SpanExporter
from ..wire.integer_forms import IntegerForms
from ..wire.problems import (
    JOURNAL_FAILED,
    NOT_STORED,
    RECOVERING,
    RETRY_AFTER_S,
    SHUTTING_DOWN,
    Busy,
    Kind,
    Problem,
)
from .assembly import make_chaos, open_nonces
from .batcher import Batcher, make_batcher
from .demo import create_demo
from .integer_forms_file import load_forms
from .open_mode import open_ring

GRACE_S = 0.5
"""How long the port waits for the ledger, so that a small one is ready when the port opens."""
DRAIN_S = 10.0
"""How long a stopping server waits for the engine to answer what is under way."""
START_INTERVAL_S = 0.05
"""How long between two looks whether the server serves yet."""
THREADS = 4
CALLS_MAX = 256
"""How many blocking calls may be under way; what goes beyond is refused at once."""

App = Sanic[Any, Any]

logger = logging.getLogger("ledgercore")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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
        self.on_ready: Callable[[Engine], None] = _ignore
        self.on_work: Callable[[], None] = _ignore
        """Called before the engine is given work, and when some is refused."""
        self.started_s = time.time()
        self.seats = Seats(settings.connections_max)
        self.is_draining = False
        self.meters = Meters(
            bool(settings.instruments), settings.slow_request_ms, settings.traces_per_million
        )
        self.observer = Observer(self.meters)
        self.hosts = HostNames(read_names(settings.allow_host))
        self._engine: Engine | None = None
        self._batcher: Batcher | None = None
        self._admission: Admission | None = None
        self._nonces: NonceMemory | None = None
        self._scaler: Scaler | None = None
        self._chaos: ChaosSwitch | None = None
        self._opening: asyncio.Task[None] | None = None
        self._is_stopping = threading.Event()
        self._app: App | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._threads = ThreadPoolExecutor(THREADS, "ledgercore-blocking")
        self._calls: set[asyncio.Future[Any]] = set()
        self._calls_drain = DrainMeter()
        self.unread = Unread()
        self.bodies = BodyBudget(unread=self.unread)
        self.forms = IntegerForms()
        """How whole numbers are written in answers."""
        self._audits: dict[bool, asyncio.Task[Audit]] = {}

    # -- for requests -------------------------------------------------------------------------

    @property
    def batcher(self) -> Batcher:
        """The way into the engine. Raises the problem that says why there is none now."""
        if self.state is not State.READY or self._batcher is None:
            self._refuse()
        return self._batcher

    @property
    def admission(self) -> Admission:
        """Who may come in. Raises as `batcher`."""
        if self.state is not State.READY or self._admission is None:
            self._refuse()
        return self._admission

    @property
    def scaler(self) -> Scaler:
        """What gives the segments their workers. Raises as `batcher`."""
        if self.state is not State.READY or self._scaler is None:
            self._refuse()
        return self._scaler

    @property
    def chaos(self) -> ChaosSwitch:
        """What may go wrong on purpose. Raises as `batcher`."""
        if self.state is not State.READY or self._chaos is None:
            self._refuse()
        return self._chaos

    @property
    def engine(self) -> Engine:
        """The engine itself, for reads that do not block and for `call`. Raises as `batcher`."""
        if self.state is not State.READY or self._engine is None:
            self._refuse()
        return self._engine

    def describe_traces(self) -> dict[str, Any] | None:
        """Return what became of the traces; None where none are exported."""
        exporter = self.observer.exporter
        return None if exporter is None else exporter.describe()

    async def call(
        self,
        function: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Call what blocks in a thread. It runs to its end, whoever stops waiting for it."""
        if len(self._calls) >= CALLS_MAX:
            wait_s = self._calls_drain.find_wait_s(len(self._calls), RETRY_AFTER_S)
            raise Busy(f"{CALLS_MAX} blocking calls are under way", wait_s)
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._threads, partial(function, *arguments, **options))
        self._calls.add(call)
        call.add_done_callback(self._end_call)
        return await asyncio.shield(call)

    def _end_call(self, call: asyncio.Future[Any]) -> None:
        self._calls.discard(call)
        self._calls_drain.add(1, time.monotonic_ns())

    async def audit(self, journal: bool) -> Audit:
        """Audit the ledger. Who asks while an audit runs gets the result of that one."""
        running = self._audits.get(journal)
        if running is None:
            running = asyncio.create_task(self.call(self.engine.audit, journal=journal))
            self._audits[journal] = running
            running.add_done_callback(lambda _: self._audits.pop(journal))
        return await asyncio.shield(running)

    def check_ready(self) -> Engine:
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
            self.seats.fit()
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
        """Say that nothing more should be sent; whether anything is."""
        self.is_draining = self.is_ready
        if self.is_draining:
            tell_draining(drain_s)
        return self.is_draining

    def reload_keys(self) -> None:
        """Let the file of the keys hold as it is now, where it is in use."""
        if self.is_ready and self._admission is not None:
            self._admission.reload()

    async def stop(self, app: App) -> None:
        """Take no more requests, and finish those that are under way."""
        if self._watching is not None:
            self._watching.cancel()
        self._is_stopping.set()
        tell_stopping()
        if self._opening is not None:
            # Recovery cannot be interrupted, but it ends, and what it has opened must be closed.
            await self._opening
        if self.state is not State.FAILED:
            self._enter(State.STOPPING)
        if self._chaos is not None:
            self._chaos.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._drain()

    async def close(self, app: App) -> None:
        """Close the engine: all that was taken is on the disk when this returns."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            batcher.close()
        scaler, self._scaler = self._scaler, None
        if scaler is not None:
            scaler.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._close_engine(engine)
        if self._nonces is not None:
            self._nonces.close()
        if self.observer.exporter is not None:
            await close_apart(self.observer.exporter.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        tell_stopped()

    def fail(self, reason: str, bug: Exception | None = None) -> None:
        """Store and tell why this server cannot go on. Only the first reason counts."""
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
        loop = asyncio.get_running_loop()
        try:
            engine = await loop.run_in_executor(
                self._threads, open_ledger, self.settings, self._is_stopping.is_set
            )
            self._engine = engine
            self.forms = await loop.run_in_executor(
                self._threads, load_forms, self.settings, engine
            )
            self._nonces = await loop.run_in_executor(self._threads, open_nonces, self.settings)
            self._admission = make_admission(self.settings, self._nonces)
            self._batcher = make_batcher(
                self.settings, engine, self._admission, loop, self._note_failure
            )
            self._scaler = Scaler(engine, loop)
            self._batcher.on_queued = self._scaler.wake
            self._batcher.on_work = self.on_work
            self._chaos = make_chaos(self.settings, engine, self._batcher, loop)
            if self.settings.otlp:
                self.observer.export(SpanExporter(self.settings.otlp))
        except (LedgerError, KeyFileError, InvalidPlan, UnusableCollector, MissingPackage) as error:
            self.fail(str(error))
        except Exception as error:
            self.fail("the ledger cannot be opened", error)
        else:
            if not self._is_stopping.is_set():
                self._enter(State.READY)
                tell_recovered(engine.statistics())
                self.on_ready(engine)

    async def _drain(self) -> None:
        if self._calls:
            await asyncio.wait(self._calls)
        if self._batcher is not None:
            await self._batcher.drain()

    async def _close_engine(self, engine: Engine) -> None:
        try:
            await close_apart(engine.close)
        except LedgerError as error:
            self.fail(str(error))
        if engine.failure is not None:
            self.fail(engine.failure)

    def _note_failure(self) -> None:
        engine = self._engine
        self.fail((engine and engine.failure) or "the journal has failed")


def lifecycle_of(request: Request[Any, Any]) -> Lifecycle:
    """Return the lifecycle of the app that serves this request."""
    lifecycle: Lifecycle = request.app.ctx.lifecycle
    return lifecycle


def open_ledger(settings: Settings, is_stopped: Callable[[], bool] = lambda: False) -> Engine:
    """Open the engine that the settings describe, with its demo accounts. Blocks."""
    options: Any = {name: getattr(settings, name) for name in OPTION_RANGES}
    engine = ledgercore.open(settings.data, durability=settings.durability, **options)
    try:
        create_demo(engine, settings.demo_accounts, settings.demo_funds, is_stopped)
    except BaseException:
        engine.close()
        raise
    return engine


def make_admission(settings: Settings, nonces: NonceMemory) -> Admission:
    """Return the admission that the settings describe. Raises KeyFileError."""
    limiter = Limiter(
        settings.client_rate,
        settings.client_burst,
        settings.global_rate,
        settings.global_burst,
        settings.client_quota,
        settings.quota_window_s,
    )
    keys = open_ring(settings)
    signatures = SignatureCheck(nonces, base_path=settings.base_path)
    return Admission(keys, signatures, limiter, settings.request_deadline_ms)


def _ignore(*_: object) -> None:
    """Stand in for a listener that nobody has set."""
