"""When requests arrive in the open loop, whatever the server does: a schedule made beforehand.

This module owns the schedule. It holds no clock and sends nothing.
"""

import numpy as np

from .patterns import Floats, Pattern

ARRIVALS = ("poisson", "even")


def find_duration_s(pattern: Pattern, rate: float, transfers: int) -> float:
    """Return how long a run is that is expected to bring so many arrivals."""
    return transfers / (rate * pattern.mean)


def schedule_arrivals(
    pattern: Pattern,
    rate: float,
    *,
    seconds: float,
    transfers: int | None,
    process: str,
    random: np.random.Generator,
) -> Floats:
    """Return the moments of arrival in seconds from the start, ascending, shape (arrivals,).

    Both processes are first made for a rate of one and then mapped through the inverse of the
    integrated rate, which makes them follow any pattern (Lewis and Shedler, Simulation of
    Nonhomogeneous Poisson Processes, 1979). Given a number of transfers, the Poisson process is
    the one that has just so many: they are independent and uniform.
    """
    total = rate * seconds * pattern.mean
    if process == "even":
        count = round(total) if transfers is None else transfers
        sums = (np.arange(count) + 0.5) * (total / max(count, 1))
    elif transfers is None:
        sums = np.sort(random.uniform(0.0, total, random.poisson(total)))
    else:
        sums = np.sort(random.uniform(0.0, total, transfers))
    moments: Floats = pattern.invert(np.asarray(sums / (rate * seconds), np.float64)) * seconds
    return moments
