"""How load changes over a run: the formula of each pattern, its integral, and the inverse of that.

With the run's progress x from 0 to 1, the rate of the open loop is `rate * f(x)`, and the share of
clients that are active in the closed loop is `f(x) / max f`. With the burst factor b:

    steady    f(x) = 1
    ramp      f(x) = x
    spike     f(x) = b where 0.45 <= x < 0.55, else 1
    sawtooth  f(x) = 4x mod 1
    overload  f(x) = b where 0.5 <= (4x mod 1) < 0.7, else 1

This module owns the formulas. It knows no clock and no rate.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Piece = tuple[float, float, float, float]
"""A straight line: from x, to x, and the factor at either end."""

TEETH = 4
BURSTS = 4
BURST_START, BURST_STOP = 0.5, 0.7
SPIKE_START, SPIKE_STOP = 0.45, 0.55
PATTERNS = ("steady", "ramp", "spike", "sawtooth", "overload")


@dataclass(frozen=True)
class Pattern:
    """A factor over the progress of a run, made of straight lines without a gap between them."""

    pieces: tuple[Piece, ...]

    @property
    def mean(self) -> float:
        """The integral of the factor over the whole run."""
        return float(self._sums()[-1])

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

    def integrate(self, progress: Floats) -> Floats:
        """Return the integral of the factor from 0 to each moment, shape of `progress`."""
        starts, slopes, firsts = self._lines()
        index = np.clip(np.searchsorted(starts, progress, side="right") - 1, 0, len(starts) - 1)
        along = progress - starts[index]
        result: Floats = self._sums()[index] + along * (firsts[index] + slopes[index] * along / 2)
        return result

    def invert(self, sums: Floats) -> Floats:
        """Return the moments at which the integral has these values, shape of `sums`."""
        starts, slopes, firsts = self._lines()
        totals = self._sums()
        index = np.clip(np.searchsorted(totals, sums, side="right") - 1, 0, len(starts) - 1)
        rest = np.maximum(sums - totals[index], 0.0)
        first, slope = firsts[index], slopes[index]
        # The root of slope/2 d^2 + first d = rest, in the form that holds for a slope of 0 too.
        below = first + np.sqrt(np.maximum(first * first + 2 * slope * rest, 0.0))
        along = np.divide(2 * rest, below, out=np.zeros_like(rest), where=below > 0)
        result: Floats = starts[index] + along
        return result

    def _lines(self) -> tuple[Floats, Floats, Floats]:
        table = np.array(self.pieces)
        slopes = (table[:, 3] - table[:, 2]) / (table[:, 1] - table[:, 0])
        return table[:, 0], slopes, table[:, 2]

    def _sums(self) -> Floats:
        """Return the integral up to the start of each piece, and up to the end."""
        table = np.array(self.pieces)
        areas = (table[:, 1] - table[:, 0]) * (table[:, 2] + table[:, 3]) / 2
        return np.concatenate([[0.0], np.cumsum(areas)])


def make_pattern(name: str, burst: float = 3.0) -> Pattern:
    """Return the pattern of this name; `burst` is the factor of a spike or an overload."""
    if name == "ramp":
        return Pattern(((0.0, 1.0, 0.0, 1.0),))
    if name == "sawtooth":
        return Pattern(tuple((n / TEETH, (n + 1) / TEETH, 0.0, 1.0) for n in range(TEETH)))
    if name == "spike":
        return _make_bursts([(SPIKE_START, SPIKE_STOP)], burst)
    if name == "overload":
        bursts = [((n + BURST_START) / BURSTS, (n + BURST_STOP) / BURSTS) for n in range(BURSTS)]
        return _make_bursts(bursts, burst)
    if name == "steady":
        return _make_bursts([], burst)
    raise ValueError(f"{name!r} is not a pattern")


def _make_bursts(bursts: list[tuple[float, float]], factor: float) -> Pattern:
    pieces: list[Piece] = []
    at = 0.0
    for start, stop in bursts:
        pieces += [(at, start, 1.0, 1.0), (start, stop, factor, factor)]
        at = stop
    return Pattern((*pieces, (at, 1.0, 1.0, 1.0)))
