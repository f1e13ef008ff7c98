"""Starts and retires the workers of an engine as its scaling policies say, and logs each step.

It looks only while there is something to see. Who queues work wakes it, and it stops by itself once
every segment is idle and back at its least number of workers, so that a server without work has no
timer. It never judges a reading, and never touches a transfer.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from ledgercore import InvalidArgument, SegmentLoad

from ..engine_port import EnginePort
from ..units import NS_PER_S
from .workers_rule import ScalingPolicy, find_utilisation

LOOK_INTERVAL_S = 0.1
"""How long between two looks: hundreds of batches, and much less than anyone waits in a queue."""

logger = logging.getLogger("ledgercore")


class Timer(Protocol):
    """What a loop gives for a call to come."""

    def cancel(self) -> None:
        """Cancel the call."""


class Loop(Protocol):
    """What the scaler needs of an event loop."""

    def time(self) -> float:
        """Return the time of its clock, in seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call once, after so many seconds."""


class Scaler:
    """Keeps the workers of all segments of one engine. Belongs to one loop, used only in it."""

    def __init__(self, engine: EnginePort, loop: Loop) -> None:
        options = engine.options
        self._engine = engine
        self._loop = loop
        self._policies = [
            ScalingPolicy(
                options.workers_min,
                options.workers_max,
                batch_max=options.batch_max,
                queue_size=options.queue_size,
            )
            for _ in range(engine.segments)
        ]
        self._timer: Timer | None = None
        self._is_closed = False
        self._seen_at_s = 0.0
        self._seen: tuple[SegmentLoad, ...] = ()

    @property
    def is_looking(self) -> bool:
        """Whether a look is to come."""
        return self._timer is not None

    def wake(self) -> None:
        """Look from now on, until there is nothing more to see. Cheap where it looks already."""
        if self._timer is None and not self._is_closed and not self._is_fixed():
            self._remember()
            self._timer = self._loop.call_later(LOOK_INTERVAL_S, self._look)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most workers of a segment, as configured."""
        return self._policies[0].workers_min, self._policies[0].workers_max

    def set_bounds(self, workers_min: int, workers_max: int) -> None:
        """Change how many workers a segment has at least and at most, from now on.

        Raises InvalidArgument; the engine's own `workers_max` cannot be exceeded.
        """
        highest = self._engine.options.workers_max
        if not 1 <= workers_min <= workers_max <= highest:
            raise InvalidArgument(
                "workers", f"{workers_min} to {workers_max} is not within 1 to {highest}"
            )
        for policy in self._policies:
            policy.workers_min, policy.workers_max = workers_min, workers_max
        self.wake()

    def close(self) -> None:
        """Look no more. To be called before the engine is closed."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the looks --------------------------------------------------------------------------------

    def _is_fixed(self) -> bool:
        """Whether no reading could change anything."""
        return all(
            policy.workers_min == policy.workers_max == workers
            for policy, workers in zip(self._policies, self._engine.workers, strict=True)
        )

    def _remember(self) -> None:
        self._seen_at_s = self._loop.time()
        self._seen = self._engine.statistics().segments

    def _look(self) -> None:
        before, before_s = self._seen, self._seen_at_s
        self._remember()
        elapsed_ns = (self._seen_at_s - before_s) * NS_PER_S
        is_quiet = True
        for segment, (old, new) in enumerate(zip(before, self._seen, strict=True)):
            busy_ns = new.busy_ns - old.busy_ns
            is_least = new.workers == self._policies[segment].workers_min
            is_quiet = is_quiet and is_least and busy_ns == 0 and new.queue_depth == 0
            self._decide(segment, new, find_utilisation(old, new, elapsed_ns))
        self._timer = None if is_quiet else self._loop.call_later(LOOK_INTERVAL_S, self._look)

    def _decide(self, segment: int, load: SegmentLoad, utilisation: float) -> None:
        count, reason = self._policies[segment].decide(
            self._seen_at_s, load.queue_depth, utilisation, load.workers
        )
        if count == load.workers:
            return
        fields = {
            "event": "workers",
            "segment": segment,
            "before": load.workers,
            "after": count,
            "reason": reason,
            "queue_depth": load.queue_depth,
            "utilisation": round(utilisation, 3),
        }
        try:
            self._engine.set_workers(segment, count)
        except RuntimeError as error:  # The system has no more threads; those there are go on.
            fields["event"] = "workers-kept"
            logger.warning(
                "segment %d: stays at %d workers: %s", segment, load.workers, error, extra=fields
            )
            return
        logger.info(
            "segment %d: %d -> %d workers (%s)", segment, load.workers, count, reason, extra=fields
        )
