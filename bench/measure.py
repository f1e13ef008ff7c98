"""From timed rounds to figures: how often, how long by the wall, and how long by the processor.

This module owns what a figure is. It never prints one: that is report.py.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

Prepared = TypeVar("Prepared")


@dataclass(frozen=True, slots=True)
class Round:
    """One timed run: how much was done, how long it took, how long a processor worked on it."""

    work: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number: its median, lowest and highest round, and the goal it has, if any.

    `per_cpu_s` is the median of what was done in one second of processor, all threads counted. On a
    machine that others use too it tells more than the wall does.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int
    per_cpu_s: float | None = None
    goal: float | None = None
    note: str = ""

    @property
    def is_reached(self) -> bool:
        """Whether the median reaches the goal; true where there is none."""
        return self.goal is None or self.median >= self.goal


Tell = Callable[[str], None]
"""Is told in words what is being done."""


def count_rounds(rounds: int, what: str, tell: Tell) -> Iterator[int]:
    """Yield 0 for a round that does not count, and then the numbers of those that do."""
    for number in range(rounds + 1):
        tell(f"{what}: round {number} of {rounds}" if number else f"{what}: warming up")
        yield number


def make_figure(name: str, unit: str, values: Sequence[float], **more: Any) -> Figure:
    """Return the figure that one value a round makes; `more` is what else a Figure has."""
    median, low, high = statistics.median(values), min(values), max(values)
    return Figure(name, unit, median, low, high, len(values), **more)


def make_rate(name: str, unit: str, rounds: Sequence[Round], **more: Any) -> Figure:
    """Return how much was done in a second; `more` is what else a Figure has."""
    rates = [round.work / round.wall_s for round in rounds]
    # A clock that has not moved, as that of a short round may not have, tells nothing.
    cpu_rates = [round.work / round.cpu_s for round in rounds if round.cpu_s > 0]
    per_cpu_s = statistics.median(cpu_rates) if cpu_rates else None
    return make_figure(name, unit, rates, per_cpu_s=per_cpu_s, **more)


def time_once(
    work: int,
    run: Callable[[Prepared], None],
    prepared: Prepared,
    read_cpu_s: Callable[[], float] = time.process_time,
) -> Round:
    """Run once, by the wall and by the processor."""
    cpu_s, wall_s = read_cpu_s(), time.perf_counter()
    run(prepared)
    wall_s, cpu_s = time.perf_counter() - wall_s, read_cpu_s() - cpu_s
    return Round(work, wall_s, cpu_s)


class Meter:
    """Times what a test runs, through pytest-benchmark, and keeps the figures for the report."""

    def __init__(self, benchmark: BenchmarkFixture, figures: list[Figure]) -> None:
        self._benchmark = benchmark
        self._figures = figures

    def time_rounds(
        self,
        work: int,
        prepare: Callable[[], Prepared],
        run: Callable[[Prepared], None],
        *,
        rounds: int,
        warmup_rounds: int = 1,
        clean_up: Callable[[Prepared], None] | None = None,
        read_cpu_s: Callable[[], float] = time.process_time,
    ) -> list[Round]:
        """Run and time `rounds` rounds, after some that do not count. Only `run` is timed.

        `read_cpu_s` tells the seconds of processor so far of whatever does the work.
        """
        timed: list[Round] = []

        def run_timed(prepared: Prepared) -> None:
            timed.append(time_once(work, run, prepared, read_cpu_s))

        self._benchmark.pedantic(  # type: ignore[no-untyped-call]
            run_timed,
            setup=lambda: ((prepare(),), {}),
            teardown=clean_up,
            rounds=rounds,
            warmup_rounds=warmup_rounds,
        )
        return timed[warmup_rounds:]

    def keep(self, figure: Figure) -> None:
        """Put a figure into the report, and into what pytest-benchmark saves."""
        self._figures.append(figure)
        self._benchmark.extra_info[figure.name] = asdict(figure)
