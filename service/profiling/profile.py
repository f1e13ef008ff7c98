"""A profile: stacks and the weight of each, from any profiler.

This module owns what a profile is. It takes none, and writes none in any format.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..units import NS_PER_S
from .stacks import Stack, Stacks


@dataclass(frozen=True, slots=True)
class Measure:
    """What a number of a row counts, and its unit, in pprof's words."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Row:
    """A stack of a thread, the outer frame first, and a number for each measure of the profile."""

    thread: str
    stack: Stack
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile. `shown` is the measure that a picture is drawn by; `note` names the profiler."""

    title: str
    note: str
    measures: tuple[Measure, ...]
    rows: Sequence[Row]
    shown: int
    seconds: float = 0.0
    period: int = 0
    """How much of the last measure is between two looks; 0 where nobody looked at intervals."""

    @property
    def stacks(self) -> Stacks:
        """The stacks and what is shown of them, by thread; those that have none left out."""
        stacks: Stacks = {}
        for row in self.rows:
            if row.values[self.shown] > 0:
                seen = stacks.setdefault(row.thread, Counter())
                seen[row.stack] += row.values[self.shown]
        return stacks


SAMPLES = Measure("samples", "count")
CPU = Measure("cpu", "nanoseconds")


def make_cpu_profile(stacks: Stacks, note: str, seconds: float, rate_hz: int) -> Profile:
    """Return the profile that samples at a rate make, each of them of one period."""
    period_ns = NS_PER_S // rate_hz
    rows = [
        Row(thread, stack, (count, count * period_ns))
        for thread, seen in stacks.items()
        for stack, count in seen.items()
    ]
    return Profile("CPU time", note, (SAMPLES, CPU), rows, 0, seconds, period_ns)
