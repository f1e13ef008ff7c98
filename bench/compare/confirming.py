"""A stage that seems slower is measured anew, before anybody is told that it is.

This module owns when a fault of the gate is believed. What else happens on a machine can make one
run slower by half, and seldom three of them; what a change has made slower is so in each.
"""

from collections.abc import Callable, Mapping

from ..stages import STAGES
from ..workloads import Workload
from .gate import find_fault
from .results import REFERENCE, summarize
from .rounds import run_rounds, scale

TIMES = 2
"""How often a stage is measured anew."""
ROUNDS = 15


def find_confirmed_fault(
    name: str,
    ratio: float,
    baseline: dict[str, float],
    measure: Callable[[str], float],
) -> str | None:
    """Return what is wrong with a stage of this ratio, and was each time it was measured anew."""
    fault = find_fault(name, ratio, baseline)
    # To measure a stage anew of which nothing is recorded changes nothing.
    for _ in range(TIMES if name in baseline else 0):
        if fault is None:
            return None
        fault = find_fault(name, measure(name), baseline)
    return fault


def find_confirmed_faults(
    ratios: Mapping[str, float], baseline: dict[str, float], measure: Callable[[str], float]
) -> list[str]:
    """Return what is wrong with each stage, by its name."""
    faults = [
        find_confirmed_fault(name, ratio, baseline, measure) for name, ratio in ratios.items()
    ]
    return [fault for fault in faults if fault is not None]


def measure_ratio(name: str, workload: Workload, transfers: int | None = None) -> float:
    """Return a stage's ratio to the pure-Python stage, both in turn, by processor time."""
    stages = [STAGES[REFERENCE], STAGES[name]]
    timed, notes = run_rounds(stages, workload, scale(stages, transfers), ROUNDS)
    ratio = summarize(stages, timed, notes)[1].cpu_ratio
    if ratio is None:
        raise RuntimeError(f"the rounds of {name} are too short for the clock of the processor")
    return ratio.median
