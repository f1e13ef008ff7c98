"""How load changes over a run, and when requests arrive in the open loop.

With the run's progress x from 0 to 1, the rate of the open loop is `rate * f(x)`, and the share of
clients that are active in the closed loop is `f(x) / max f`. With the burst factor b:

    steady    f(x) = 1
    ramp      f(x) = x
    spike     f(x) = b where 0.45 <= x < 0.55, else 1
    sawtooth  f(x) = 4x mod 1
    overload  f(x) = b where 0.5 <= (4x mod 1) < 0.7, else 1

This module owns the formulas and the schedule of arrivals, which is made beforehand. It knows no
clock, and sends nothing.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Piece = tuple[float, float, float, float]
"""A straight line: from x, to x, and the factor at either end."""

PATTERNS = ("steady", "ramp", "spike", "sawtooth", "overload")
ARRIVALS = ("poisson", "even")
RAMPS = {"ramp": 1, "sawtooth": 4}
"""Patterns that rise from 0 to 1, and how often."""
BURSTS = {
    "steady": [],
    "spike": [(0.45, 0.55)],
    "overload": [((n + 0.5) / 4, (n + 0.7) / 4) for n in range(4)],
}
"""Patterns of a steady 1 and of bursts, and when those begin and end."""


@dataclass(frozen=True)
class Pattern:
    """A factor over the progress of a run, made of straight lines without a gap between them."""

    pieces: tuple[Piece, ...]

    @property
    def mean(self) -> float:
        """The integral of the factor over the whole run."""
        return sum(_area(piece) for piece in self.pieces)

    @property
    def peak(self) -> float:
        """The highest factor."""
        return max(max(first, last) for _, _, first, last in self.pieces)

    def factor(self, progress: float) -> float:
        """Return the factor at a moment of the run; that of the nearest one outside of it."""
        for start, stop, first, last in self.pieces:
            if progress < stop:
                return first + (last - first) * max(progress - start, 0.0) / (stop - start)
        return self.pieces[-1][3]

    def invert(self, sums: Floats) -> Floats:
        """Return the moments at which the integral from 0 has these values, shape of `sums`."""
        starts, stops, firsts, lasts = np.array(self.pieces).T
        totals = np.cumsum([0.0, *map(_area, self.pieces)])
        index = np.clip(np.searchsorted(totals, sums, side="right") - 1, 0, len(starts) - 1)
        rest = np.maximum(sums - totals[index], 0.0)
        first, slope = firsts[index], ((lasts - firsts) / (stops - starts))[index]
        # The root of slope/2 d^2 + first d = rest, in the form that holds for a slope of 0 too.
        below = first + np.sqrt(np.maximum(first * first + 2 * slope * rest, 0.0))
        along = np.divide(2 * rest, below, out=np.zeros_like(rest), where=below > 0)
        result: Floats = starts[index] + along
        return result


def make_pattern(name: str, burst: float = 3.0) -> Pattern:
    """Return the pattern of this name; `burst` is the factor of a spike or an overload."""
    if name in RAMPS:
        edges = np.linspace(0.0, 1.0, RAMPS[name] + 1).tolist()
        return Pattern(tuple((start, stop, 0.0, 1.0) for start, stop in pairwise(edges)))
    if name not in BURSTS:
        raise ValueError(f"{name!r} is not a pattern")
    pieces: list[Piece] = []
    at = 0.0
    for start, stop in BURSTS[name]:
        pieces += [(at, start, 1.0, 1.0), (start, stop, burst, burst)]
        at = stop
    return Pattern((*pieces, (at, 1.0, 1.0, 1.0)))


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
    else:
        count = random.poisson(total) if transfers is None else transfers
        sums = np.sort(random.uniform(0.0, total, count))
    return pattern.invert(np.asarray(sums / (rate * seconds), np.float64)) * seconds


def _area(piece: Piece) -> float:
    start, stop, first, last = piece
    return (stop - start) * (first + last) / 2
