"""The fallback profiler where py-spy is not allowed: a thread that samples the other threads.

This module owns that thread. It sees Python frames only, and sees them where the interpreter lets
go of its lock; so meanwhile it is made to do that more often, or else most of an event loop's time
would seem to go where it waits for events. Each stack is charged with the processor time that its
thread has had since the last look, by the system's count, so that whoever waits counts for nothing.
Functions that take less than some 0.1 ms between two waits are hardly seen: their time is told, but
at the wait.
"""

import asyncio
import sys
import threading
from collections import Counter

from ..units import NS_PER_S
from .proc import read_thread
from .python_frames import list_frames
from .stacks import Stacks, clean_stack

RATE_HZ = 100
SWITCH_INTERVAL_S = 0.00005
"""How soon a thread that runs lets this one look; unasked it is 5 ms, longer than a request."""


class ThreadSampler:
    """Samples all Python threads of this process but its own, from `start` to `stop`."""

    def __init__(self, rate_hz: int) -> None:
        self.stacks: Stacks = {}
        self._period_ns = NS_PER_S // rate_hz
        self._usual_interval_s = sys.getswitchinterval()
        self._seen_ns: dict[int, int] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="profiler")

    def start(self) -> None:
        """Begin to look."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._look()  # What the threads have had so far belongs to nobody.
        self._thread.start()

    def stop(self) -> None:
        """Look no more; `stacks` is whole when this returns, which takes a look at the most."""
        self._is_over.set()
        self._thread.join()
        sys.setswitchinterval(self._usual_interval_s)

    def _run(self) -> None:
        while not self._is_over.wait(self._period_ns / NS_PER_S):
            self._look()

    def _look(self) -> None:
        frames = sys._current_frames()
        for thread in threading.enumerate():
            frame, native_id = frames.get(thread.ident or 0), thread.native_id
            if frame is None or native_id is None or thread is self._thread:
                continue
            if count := self._charge(native_id):
                stack = clean_stack(list_frames(frame))
                self.stacks.setdefault(thread.name, Counter())[stack] += count

    def _charge(self, native_id: int) -> int:
        """Return how many periods a thread has used up since it was last charged."""
        facts = read_thread(native_id)
        if facts is None:
            return 0
        seen_ns = self._seen_ns.setdefault(native_id, facts.cpu_ns)
        count = (facts.cpu_ns - seen_ns) // self._period_ns
        self._seen_ns[native_id] = seen_ns + count * self._period_ns
        return count


async def sample_threads(seconds: float, rate_hz: int = RATE_HZ) -> Stacks:
    """Sample the Python threads of this process for a time, or until it is cancelled."""
    sampler = ThreadSampler(rate_hz)
    sampler.start()
    try:
        await asyncio.sleep(seconds)
    finally:
        sampler.stop()
    return sampler.stacks
