"""The switch of chaos: whether faults may be injected, and by which plan.

This module owns that chaos is refused where it was not allowed at the start, that one plan ends
before another begins, and that each change is logged. It never injects a fault itself.
"""

import asyncio
import logging
from typing import Any, Protocol

import msgspec

from ..engine_port import EnginePort
from ..wire.problems import CHAOS_NOT_ALLOWED, Problem
from .faults import FaultInjector
from .plan import FAULTS, Plan, check_segments, describe_plan

logger = logging.getLogger("ledgercore")


class FaultTarget(Protocol):
    """What hands requests to the engine, and has a fault injector while there is a plan."""

    fault_injector: FaultInjector | None


class ChaosSwitch:
    """The switch of one server. Belongs to one event loop and is used only in it."""

    def __init__(
        self,
        engine: EnginePort,
        batcher: FaultTarget,
        loop: asyncio.AbstractEventLoop,
        *,
        is_allowed: bool,
    ) -> None:
        self._engine = engine
        self._batcher = batcher
        self._loop = loop
        self._is_allowed = is_allowed
        self._plan = Plan()

    def check_allowed(self) -> None:
        """Raise the problem `chaos-not-allowed` where the server was started without it."""
        if not self._is_allowed:
            raise Problem(
                CHAOS_NOT_ALLOWED,
                "The server was started without --allow-chaos. It stays as it is.",
            )

    def change(self, plan: Plan) -> None:
        """End what was, and begin what is planned, with its random draws from the start.

        Raises InvalidPlan, and the problem `chaos-not-allowed`; then nothing has changed.
        """
        self.check_allowed()
        check_segments(plan, self._engine.segments)
        self.end()
        self._plan = plan
        if plan.faults:
            self._batcher.fault_injector = FaultInjector(self._engine, self._loop, plan)
        fields = {"event": "chaos-changed", "seed": plan.seed, "faults": sorted(plan.faults)}
        logger.warning("chaos is %s", describe_plan(plan), extra=fields)

    def end(self) -> None:
        """End all faults without logging it: for when the server stops."""
        fault_injector, self._batcher.fault_injector = self._batcher.fault_injector, None
        if fault_injector is not None:
            fault_injector.end()
        self._plan = Plan()

    def describe(self) -> dict[str, Any]:
        """Return the plan, and how often each of its faults has struck since it began."""
        fault_injector = self._batcher.fault_injector
        struck = {} if fault_injector is None else fault_injector.struck
        return {
            "plan": msgspec.to_builtins(self._plan),
            "struck": {name: struck[name] for name in FAULTS if name in self._plan.faults},
        }
