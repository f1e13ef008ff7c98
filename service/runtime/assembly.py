"""The parts of a server, made from its settings.

This module owns which setting goes to which part. It keeps none of them: the lifecycle does.
"""

import asyncio
from pathlib import Path

from ledgercore import Engine

from ..access.nonces import FILE_NAME, NonceMemory
from ..chaos.plan import load_plan
from ..chaos.switch import ChaosSwitch
from ..settings import Settings
from .batcher import Batcher


def open_nonces(settings: Settings) -> NonceMemory:
    """Open the nonces that were seen, in the directory of the ledger if there is one. Blocks."""
    path = Path(settings.data, FILE_NAME) if settings.is_durable else None
    return NonceMemory(path)


def make_chaos(
    settings: Settings, engine: Engine, batcher: Batcher, loop: asyncio.AbstractEventLoop
) -> ChaosSwitch:
    """Return the switch of chaos as the settings have it. Raises InvalidPlan."""
    switch = ChaosSwitch(engine, batcher, loop, is_allowed=bool(settings.allow_chaos))
    if settings.chaos:
        switch.change(load_plan(Path(settings.chaos)))
    return switch
