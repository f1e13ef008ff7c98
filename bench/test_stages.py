"""Each stage as a benchmark, and the gate: none may become slower than it was.

Each round times the pure-Python stage and, right after it, the stage in question, so that what else
happens on the machine hits both. The gate looks at the ratio of the two by processor time. What
pytest-benchmark saves and compares is the stage in question alone.
"""

from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .compare.gate import find_confirmed_fault, find_limit, measure_ratio, read_baseline
from .compare.rounds import (
    REFERENCE,
    check_sound,
    compare_cpu_rates,
    find_place,
    open_stage,
    time_round,
    without_garbage_collection,
)
from .measure import Figure, Meter, Round, make_figure, make_rate
from .stages import STAGES
from .workloads import Workload

ROUNDS = 7
WORKLOAD = Workload(10_000)


@pytest.mark.parametrize("name", STAGES)
def test_stage(name: str, meter: Meter, benchmark: BenchmarkFixture, scratch: Path) -> None:
    stage = STAGES[name]
    benchmark.group = f"stages, {stage.promise}"
    before, after, note = time_pairs(name, meter, scratch / name)
    meter.keep(make_rate(f"{name}: {stage.title}", "transfers/s", after, note=note))
    if name != REFERENCE:
        ratio = compare(name, before, after)
        meter.keep(ratio)
        fault = find_confirmed_fault(
            name, ratio.median, read_baseline(), lambda name: measure_ratio(name, WORKLOAD)
        )
        if fault is not None:
            pytest.fail(fault, pytrace=False)


def time_pairs(name: str, meter: Meter, scratch: Path) -> tuple[list[Round], list[Round], str]:
    """Return the rounds of the pure-Python stage and those of this one, taken in turn."""
    reference, stage = STAGES[REFERENCE], STAGES[name]
    before: list[Round] = []
    with (
        without_garbage_collection(),
        open_stage(reference, WORKLOAD, scratch / "before") as dicts,
        open_stage(stage, WORKLOAD, scratch / "after") as runner,
    ):

        def prepare() -> Any:
            rows = WORKLOAD.transfers(max(reference.transfers, stage.transfers), len(before))
            before.append(time_round(reference, dicts, rows[: reference.transfers]))
            return runner.prepare(rows[: stage.transfers])

        with find_place(stage):
            after = meter.time_rounds(
                stage.transfers, prepare, runner.run, rounds=ROUNDS, read_cpu_s=lambda: runner.cpu_s
            )
        check_sound(runner, WORKLOAD)
        return before[1:], after, runner.note


def compare(name: str, before: list[Round], after: list[Round]) -> Figure:
    """Return the ratio of the two stages, with the least that passes for its goal."""
    ratios = compare_cpu_rates(after, before)
    limit = find_limit(name, read_baseline())
    return make_figure(f"{name} : {REFERENCE}, by processor time", "", ratios, goal=limit)
