"""Waiting for another process: the one loop of the benchmarks that polls; it has a deadline."""

import time
from collections.abc import Callable

POLL_INTERVAL_S = 0.02
DEADLINE_S = 60.0


def wait_until(is_over: Callable[[], bool], explain: Callable[[], Exception]) -> None:
    """Return once `is_over` says so; raises what `explain` returns where it does not in time."""
    end = time.monotonic() + DEADLINE_S
    while not is_over():
        if time.monotonic() > end:
            raise explain()
        time.sleep(POLL_INTERVAL_S)  # Another process tells of itself only to who looks.
