"""The gate: no stage may become slower than it was, measured by the pure-Python stage beside it.

This module owns what is recorded, when it is undercut, and when that is believed. Speeds of another
day or machine say little, but a stage's ratio to the pure-Python stage of the same run says much,
so that is what is kept in `bench/baseline.json`. It is the ratio by processor time: a slow disk or
a busy machine does not change what a transfer costs, and doing more work for each does. Another
sort of processor may: what is recorded is the lowest of several runs, on a quiet machine and on a
busy one. What else happens on a machine can make one run slower by half, and seldom three of them,
so a stage that seems slower is measured anew before anybody is told.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from ..machine import ROOT
from ..stages import STAGES
from ..workloads import Workload
from .rounds import REFERENCE, StageResult, run_rounds, scale, summarize

BASELINE = ROOT / "bench" / "baseline.json"
SLOWDOWN_MAX = 0.2
RECORD_COMMAND = "python -m bench compare --record"
TIMES = 2
"""How often a stage is measured anew."""
ROUNDS = 15


def read_baseline(path: Path = BASELINE) -> dict[str, float]:
    """Return the recorded ratios by the names of the stages; none if nothing was recorded."""
    if not path.exists():
        return {}
    ratios: dict[str, float] = json.loads(path.read_text())
    return ratios


def record_baseline(results: Iterable[StageResult], path: Path = BASELINE) -> None:
    """Record each stage's ratio if it is lower than what is recorded.

    So to record several runs, also on a busy machine, is to keep what all of them reached. To raise
    the bar, delete the file first.
    """
    ratios = read_baseline(path)
    for result in results:
        if result.name != REFERENCE and result.cpu_ratio is not None:
            ratio = float(f"{result.cpu_ratio.median:.3g}")
            ratios[result.name] = min(ratio, ratios.get(result.name, ratio))
    path.write_text(json.dumps(ratios, indent=2) + "\n")


def find_limit(name: str, baseline: dict[str, float]) -> float | None:
    """Return the lowest ratio of a stage that passes, or None where nothing is recorded."""
    recorded = baseline.get(name)
    return None if recorded is None else (1 - SLOWDOWN_MAX) * recorded


def find_fault(name: str, ratio: float, baseline: dict[str, float]) -> str | None:
    """Return what is wrong with a stage of this ratio to the reference, or None."""
    limit = find_limit(name, baseline)
    if limit is None:
        return f"{name}: no ratio is recorded for this stage; record one with `{RECORD_COMMAND}`"
    if ratio >= limit:
        return None
    recorded = baseline[name]
    return (
        f"{name}: {ratio:.3g} times the pure-Python stage by processor time, where {recorded:.3g}"
        f" was recorded: {1 - ratio / recorded:.0%} slower, and {SLOWDOWN_MAX:.0%} is allowed"
    )


def find_confirmed_fault(
    name: str, ratio: float, baseline: dict[str, float], measure: Callable[[str], float]
) -> str | None:
    """Return what is wrong with a stage of this ratio, and was each time it was measured anew."""
    fault = find_fault(name, ratio, baseline)
    # To measure a stage anew of which nothing is recorded changes nothing.
    for _ in range(TIMES if name in baseline else 0):
        if fault is None:
            return None
        fault = find_fault(name, measure(name), baseline)
    return fault


def measure_ratio(name: str, workload: Workload, transfers: int | None = None) -> float:
    """Return a stage's ratio to the pure-Python stage, both in turn, by processor time."""
    stages = [STAGES[REFERENCE], STAGES[name]]
    timed, notes = run_rounds(stages, workload, scale(stages, transfers), ROUNDS)
    ratio = summarize(stages, timed, notes)[1].cpu_ratio
    if ratio is None:
        raise RuntimeError(f"the rounds of {name} are too short for the clock of the processor")
    return ratio.median
