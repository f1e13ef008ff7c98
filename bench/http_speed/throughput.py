"""The closed loop: every server in turn, at each number of connections, round by round.

This module owns what a turn is, how turns become rows and ratios, and the goals of the project. A
ratio compares what was measured seconds apart in the same round, so that what else happens on the
machine hits both.
"""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..load.generators import Generator, Load
from ..measure import Figure, make_figure
from ..report import format_verdict
from .subjects import DURABLE, GO_LOG, GO_MEMORY, MEMORY, PLAIN_NAME, Subject

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """One server under load once, and the processor time that it had meanwhile."""

    load: Load
    user_s: float
    system_s: float

    @property
    def cpu_us(self) -> float:
        """The microseconds of processor that a request took."""
        return (self.user_s + self.system_s) / self.load.requests * 1e6

    @property
    def cpu_share(self) -> float:
        """How much of its core the server had."""
        return (self.user_s + self.system_s) / self.load.seconds


Turns = Mapping[tuple[str, int], Sequence[Turn]]
"""The turns that count, by the name of the server and the number of connections."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a server at a number of connections: medians over the rounds.

    Microseconds of processor are those of one request; `load_share` is the largest share of its
    core that the generator had, and `core_share` the median of what the server had of its own: well
    below all of it, with a generator that is not at its limit, somebody else was on that core.
    """

    title: str
    name: str
    connections: int
    rate: Figure
    p50_ms: float
    p99_ms: float
    user_us: float
    system_us: float
    core_share: float
    load_share: float
    is_load_limit: bool

    @property
    def cpu_us(self) -> float:
        """The microseconds of processor of one request."""
        return self.user_us + self.system_us


def run_rounds(
    subjects: Mapping[str, Subject],
    generator: Generator,
    connections: Sequence[int],
    rounds: int,
    seconds: float,
    tell: Tell,
) -> Turns:
    """Load every server in turn, `rounds` times besides once that does not count."""
    turns: dict[tuple[str, int], list[Turn]] = {
        (name, count): [] for count in connections for name in subjects
    }
    for number in range(rounds + 1):
        tell(f"closed loop: round {number} of {rounds}" if number else "closed loop: warming up")
        # There and back, so that none is always the one that comes after a certain other.
        for name, count in list(turns)[:: -1 if number % 2 else 1]:
            turns[name, count].append(take_turn(subjects[name], generator, count, seconds))
    return {key: timed[1:] for key, timed in turns.items()}


def take_turn(subject: Subject, generator: Generator, connections: int, seconds: float) -> Turn:
    """Load one server once."""
    # Nobody is to wait for the disk because of what the one before left to be written.
    os.sync()
    before = subject.cpu_times
    load = generator(subject.url, connections, seconds, subject.headers)
    after = subject.cpu_times
    return Turn(load, after.user_s - before.user_s, after.system_s - before.system_s)


def make_rows(subjects: Mapping[str, Subject], turns: Turns) -> list[Row]:
    """Return a row for each server at each number of connections."""
    return [
        _make_row(subjects[name], connections, timed)
        for (name, connections), timed in turns.items()
    ]


def _make_row(subject: Subject, connections: int, timed: Sequence[Turn]) -> Row:
    requests = [turn.load.requests for turn in timed]
    return Row(
        title=subject.title,
        name=subject.name,
        connections=connections,
        rate=make_figure(subject.title, "requests/s", [turn.load.rate for turn in timed]),
        p50_ms=statistics.median(turn.load.p50_ms for turn in timed),
        p99_ms=statistics.median(turn.load.p99_ms for turn in timed),
        user_us=sum(turn.user_s for turn in timed) / sum(requests) * 1e6,
        system_us=sum(turn.system_s for turn in timed) / sum(requests) * 1e6,
        core_share=statistics.median(turn.cpu_share for turn in timed),
        load_share=max(turn.load.cpu_share for turn in timed),
        is_load_limit=any(turn.load.is_bottleneck for turn in timed),
    )


def find_peak(turns: Turns, name: str) -> float:
    """Return the requests a second of a server at the number of connections that suits it best."""
    return max(
        statistics.median(turn.load.rate for turn in timed)
        for (subject, _), timed in turns.items()
        if subject == name
    )


# -- ratios ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Comparison:
    """Two servers, and the goals of their ratio by the number of connections."""

    upper: str
    lower: str
    goals: Mapping[int, float]


COMPARISONS = (
    Comparison(DURABLE, PLAIN_NAME, {64: 4.0, 256: 4.0}),
    Comparison(MEMORY, PLAIN_NAME, {64: 4.0, 256: 4.0}),
    Comparison(DURABLE, GO_LOG, {64: 4.0, 256: 3.0}),
    Comparison(MEMORY, GO_MEMORY, {64: 3.0}),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio by the wall and by processor time; the latter is None if its clock has not moved.

    Where the generator may have been the limit of the faster server, the wall shows too little.
    """

    name: str
    connections: int
    by_wall: Figure
    by_cpu: Figure | None
    is_load_limit: bool

    @property
    def verdict(self) -> str:
        """Whether the goal is reached, by each of the clocks; empty where there is none."""
        if self.by_wall.goal is None:
            return ""
        by_wall = format_verdict(self.by_wall.is_reached)
        if self.by_cpu is None or self.by_cpu.is_reached == self.by_wall.is_reached:
            return by_wall
        return f"{by_wall} by the wall, {format_verdict(self.by_cpu.is_reached)} by CPU"


def compare(turns: Turns) -> list[Ratio]:
    """Return every ratio whose two servers were measured, at each number of connections."""
    ratios = []
    for comparison in COMPARISONS:
        for (name, connections), upper in turns.items():
            lower = turns.get((comparison.lower, connections))
            if name == comparison.upper and lower is not None:
                goal = comparison.goals.get(connections)
                ratios.append(make_ratio(comparison, connections, upper, lower, goal))
    return ratios


def make_ratio(
    comparison: Comparison,
    connections: int,
    upper: Sequence[Turn],
    lower: Sequence[Turn],
    goal: float | None,
) -> Ratio:
    """Return the ratio of two servers from their turns, which are of the same rounds."""
    name = f"{comparison.upper} : {comparison.lower}"
    pairs = list(zip(upper, lower, strict=True))
    by_wall = [one.load.rate / other.load.rate for one, other in pairs]
    # A round in which the processor's clock has not moved tells nothing.
    by_cpu = [other.cpu_us / one.cpu_us for one, other in pairs if one.cpu_us and other.cpu_us]
    return Ratio(
        name,
        connections,
        make_figure(name, "", by_wall, goal=goal),
        make_figure(name, "", by_cpu, goal=goal) if by_cpu else None,
        any(turn.load.is_bottleneck for turn in upper),
    )
