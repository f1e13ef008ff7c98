"""The parts of a server, made from its settings.

This module owns which setting goes to which part, and in which order they are opened. It keeps none
of them: the lifecycle does.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ledgercore
from ledgercore import OPTION_RANGES, Engine, LedgerError

from ..access.nonces import FILE_NAME, NonceMemory
from ..access.signatures import SignatureCheck
from ..admission.admission import Admission
from ..admission.limiter import Limiter
from ..chaos.plan import load_plan
from ..chaos.switch import ChaosSwitch
from ..engine_port import EnginePort
from ..process.blocking_close import close_apart
from ..scaling.workers import Scaler
from ..settings import Settings
from ..wire.integer_forms import IntegerForms
from .batcher import Batcher
from .blocking_calls import BlockingCalls
from .demo import create_demo
from .integer_forms_file import load_forms
from .open_mode import open_ring


@dataclass(frozen=True, slots=True)
class Parts:
    """What serves requests, once the ledger is open."""

    engine: EnginePort
    forms: IntegerForms
    """How whole numbers are written in answers."""
    admission: Admission
    """The admission of requests."""
    batcher: Batcher
    """The batcher, which submits requests to the engine."""
    scaler: Scaler
    """What gives the segments their workers."""
    chaos: ChaosSwitch
    """The switch of chaos."""


async def open_parts(
    settings: Settings,
    calls: BlockingCalls,
    closing: AsyncExitStack,
    fail: Callable[[str], None],
    is_stopped: Callable[[], bool],
) -> Parts:
    """Open the ledger and what goes with it. What was opened is closed with `closing`.

    `fail` is told why the engine has stopped for good, once it has. Raises LedgerError,
    KeyFileError, InvalidPlan.
    """
    loop = asyncio.get_running_loop()
    engine = await calls.call(open_ledger, settings, is_stopped)
    closing.push_async_callback(_close_engine, engine, fail)
    forms = await calls.call(load_forms, settings, engine)
    nonces = await calls.call(open_nonces, settings)
    closing.callback(nonces.close)
    admission = make_admission(settings, nonces)
    batcher = Batcher(
        engine, admission, loop, lambda: fail(engine.failure or "the journal has failed")
    )
    closing.callback(batcher.close)
    batcher.regulator.configure(
        settings.target_p99_ms, settings.inflight_min, settings.inflight_max
    )
    scaler = Scaler(engine, loop)
    closing.callback(scaler.close)
    batcher.on_queued = scaler.wake
    chaos = make_chaos(settings, engine, batcher, loop)
    return Parts(engine, forms, admission, batcher, scaler, chaos)


async def _close_engine(engine: EnginePort, fail: Callable[[str], None]) -> None:
    """Close an engine: all that it has taken is on the disk when this returns."""
    try:
        await close_apart(engine.close)
    except LedgerError as error:
        fail(str(error))
    if engine.failure is not None:
        fail(engine.failure)


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


def open_nonces(settings: Settings) -> NonceMemory:
    """Open the nonces that were seen, in the directory of the ledger if there is one. Blocks."""
    path = Path(settings.data, FILE_NAME) if settings.is_durable else None
    return NonceMemory(path)


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


def make_chaos(
    settings: Settings, engine: EnginePort, batcher: Batcher, loop: asyncio.AbstractEventLoop
) -> ChaosSwitch:
    """Return the switch of chaos as the settings have it. Raises InvalidPlan."""
    switch = ChaosSwitch(engine, batcher, loop, is_allowed=bool(settings.allow_chaos))
    if settings.chaos:
        switch.change(load_plan(Path(settings.chaos)))
    return switch
