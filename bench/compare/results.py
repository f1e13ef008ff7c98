"""From the rounds of all stages to the lines of the comparison.

This module owns what is compared and how. It never measures, and never says how it is shown.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..measure import Round
from ..stages import Stage

REFERENCE = "dict"
"""The stage that the others are compared with."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds told: the value in the middle, the lowest and the highest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StageResult:
    """One line of the comparison.

    `rate` is in transfers a second by the clock on the wall, `cpu_rate` in transfers a second of
    processor, all threads of the stage counted. `ratio` and `cpu_ratio` say how many times the
    pure-Python stage's that is, each taken within a round. Those of the processor are None where
    the rounds are too short for its clock.
    """

    name: str
    title: str
    promise: str
    transfers: int
    rate: Spread
    ratio: Spread
    cpu_rate: Spread | None
    cpu_ratio: Spread | None
    note: str
    rounds: tuple[Round, ...]


def summarize(
    stages: Sequence[Stage], timed: dict[str, list[Round]], notes: dict[str, str]
) -> list[StageResult]:
    """Return the line of each stage. The reference is among them."""
    return [
        _make_line(stage, timed[stage.name], timed[REFERENCE], notes[stage.name])
        for stage in stages
    ]


def _make_line(stage: Stage, rounds: list[Round], reference: list[Round], note: str) -> StageResult:
    rate = _spread(round.work / round.wall_s for round in rounds)
    ratio = _spread(compare_rates(rounds, reference))
    assert rate is not None and ratio is not None
    return StageResult(
        stage.name,
        stage.title,
        stage.promise,
        rounds[0].work,
        rate,
        ratio,
        _spread(round.work / round.cpu_s for round in rounds if round.cpu_s > 0),
        _spread(compare_cpu_rates(rounds, reference)),
        note,
        tuple(rounds),
    )


def compare_rates(rounds: Sequence[Round], reference: Sequence[Round]) -> list[float]:
    """Return, round by round, how many times as much was done in a second."""
    return [
        (upper.work / upper.wall_s) / (lower.work / lower.wall_s)
        for upper, lower in zip(rounds, reference, strict=True)
    ]


def compare_cpu_rates(rounds: Sequence[Round], reference: Sequence[Round]) -> list[float]:
    """Return, round by round, how many times as much was done in a second of processor.

    A round in which the processor's clock has not moved tells nothing, and is left out.
    """
    return [
        (upper.work / upper.cpu_s) / (lower.work / lower.cpu_s)
        for upper, lower in zip(rounds, reference, strict=True)
        if upper.cpu_s > 0 and lower.cpu_s > 0
    ]


def _spread(values: Iterable[float]) -> Spread | None:
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found)) if found else None
