"""Calls that block, in threads, and how many of them there may be.

This module owns the threads, the bound, and what is told beyond it. It never knows what a call
does, and never stops one: it runs to its end, whoever stops waiting for it.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ..admission.drain_rate import DrainMeter
from ..wire.problems import RETRY_AFTER_S, Busy

THREADS = 4
CALLS_MAX = 256
"""How many calls may be under way; what goes beyond is refused at once."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class BlockingCalls:
    """The blocking calls of one server. Belongs to one event loop and is used only in it."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._threads = ThreadPoolExecutor(THREADS, "ledgercore-blocking")
        self._under_way: set[asyncio.Future[Any]] = set()
        self._drain_rate = DrainMeter(clock_ns)
        self._shared: dict[object, asyncio.Task[Any]] = {}

    async def call(
        self,
        function: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Run a blocking call in a thread. Raises Busy where too many are under way."""
        if len(self._under_way) >= CALLS_MAX:
            wait_s = self._drain_rate.find_wait_s(len(self._under_way), RETRY_AFTER_S)
            raise Busy(f"{CALLS_MAX} blocking calls are under way", wait_s)
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._threads, partial(function, *arguments, **options))
        self._under_way.add(call)
        call.add_done_callback(self._end)
        return await asyncio.shield(call)

    async def call_shared(
        self,
        function: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Do as `call`. Who asks for the same while it runs gets the result of that one."""
        key = function, arguments, tuple(sorted(options.items()))
        running = self._shared.get(key)
        if running is None:
            running = asyncio.create_task(self.call(function, *arguments, **options))
            self._shared[key] = running
            running.add_done_callback(lambda _: self._shared.pop(key))
        result: Result = await asyncio.shield(running)
        return result

    def _end(self, call: asyncio.Future[Any]) -> None:
        self._under_way.discard(call)
        self._drain_rate.add(1, self._clock_ns())

    async def drain(self) -> None:
        """Return once what is under way now has ended."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def close(self) -> None:
        """Begin no more calls, and wait for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)
