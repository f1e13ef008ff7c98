"""How many times one server is as fast as another, round by round, beside the goal.

This module owns what is compared with what, and the goals of the project. A ratio compares what was
measured seconds apart in the same round, so that what else happens on the machine hits both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..measure import Figure, make_figure
from .subjects import DURABLE, GO_LOG, GO_MEMORY, MEMORY, PLAIN_NAME
from .throughput import Turn, Turns

REACHED, MISSED = "reached", "MISSED"


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
        by_wall = _judge(self.by_wall)
        if self.by_cpu is None or _judge(self.by_cpu) == by_wall:
            return by_wall
        return f"{by_wall} by the wall, {_judge(self.by_cpu)} by CPU"


def _judge(figure: Figure) -> str:
    return REACHED if figure.is_reached else MISSED


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
