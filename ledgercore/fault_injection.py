"""Faults injected into an engine on request, to test how it handles them.

This module owns which faults there are. It never breaks a promise: a sync that
is told to fail stops the engine as a disk that fails does, and no transfer goes with a worker that
ends. What stalls a segment is `Engine.stall`.
"""

from .executor import Executor
from .validation import check_range
from .workers import Workers

DELAY_MAX_MS = 60_000
ERRNO_MAX = 4095


class FaultInjection:
    """The faults of one engine, at its `fault_injection`. Safe in all threads."""

    def __init__(self, executor: Executor, workers: Workers) -> None:
        self._executor = executor
        self._workers = workers
        self._inline_max = executor.inline_max

    def inject_sync_fault(self, *, delay_ms: int = 0, error: int = 0) -> None:
        """Let the journal's next sync begin so much later, and fail with this errno.

        It replaces what was asked for before and has not happened: without arguments, the next
        sync is as it should be. One that fails stops the engine for good. In memory nothing is
        synced, and nothing happens. Raises InvalidArgument.
        """
        delay_ms = check_range("delay_ms", delay_ms, 0, DELAY_MAX_MS)
        self._executor.inject_sync_fault(delay_ms, check_range("error", error, 0, ERRNO_MAX))

    def leave_to_workers(self, is_left: bool = True) -> None:
        """Send all submissions through the workers, or apply small ones inline as usual."""
        self._executor.inline_max = 0 if is_left else self._inline_max

    def replace_worker(self, segment: int) -> None:
        """Let one worker of a segment end once it has finished its batch, and another begin.

        Raises InvalidArgument, EngineClosed, and RuntimeError where no thread can be started.
        """
        self._workers.replace(segment)
