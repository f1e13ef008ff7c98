"""Clients as threads: each has a connection of its own, asks, waits, and asks again.

This module owns how calls are dealt out and timed. It never knows who answers them.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..workloads import Call
from .peer import PeerFailed, Round

Ask = Callable[[Call], bool]


def run_clients(
    asks: Sequence[Ask], calls: Sequence[Call], seconds: float, *, is_embedded: bool
) -> Round:
    """Deal out calls to clients as one deals cards, and time them until they or the time end.

    `asks` has one function for each client. Raises PeerFailed if a call is refused, and what an
    `ask` raises.
    """
    started, cpu_started_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(len(asks)) as pool:
        running = [
            pool.submit(_run_client, ask, calls[number :: len(asks)], started + seconds)
            for number, ask in enumerate(asks)
        ]
        times_s = [client.result() for client in running]
    seconds = time.perf_counter() - started
    cpu_s = time.process_time() - cpu_started_s
    return Round(
        calls=[
            call
            for number, done in enumerate(times_s)
            for call in calls[number :: len(asks)][: len(done)]
        ],
        seconds=seconds,
        latencies_s=[time_s for done in times_s for time_s in done],
        load_share=None if is_embedded else cpu_s / seconds,
    )


def _run_client(ask: Ask, calls: Sequence[Call], end: float) -> list[float]:
    """Return how long each call took that was made before the end."""
    clock = time.perf_counter
    times_s = []
    asked = clock()
    for call in calls:
        if asked >= end:
            break
        if not ask(call):
            raise PeerFailed(f"refused, though the money was there: {call}")
        answered = clock()
        times_s.append(answered - asked)
        asked = answered
    return times_s
