"""Waiting for a condition: the only loop of the tests that polls, and it has a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE_S = 30.0
POLL_INTERVAL_S = 0.005

Result = TypeVar("Result")


def wait_until(
    condition: Callable[[], Result | None], what: str, deadline_s: float = DEADLINE_S
) -> Result:
    """Return the first true result of the condition; fail when the deadline passes without one."""
    end = time.monotonic() + deadline_s
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s in vain for {what}")
        time.sleep(POLL_INTERVAL_S)
    return result
