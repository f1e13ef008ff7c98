"""The timed rounds: over all stages in turn, on the same core, and what they tell.

What is measured minutes apart on a machine that others use too can differ by half. So a round goes
over every stage, and a ratio compares what was measured within the same second or two. The first
round does not count: it touches memory for the first time, for which the head of
`bench/test_engine.py` says why. Garbage is not collected meanwhile, as in `timeit`, or each stage
would pay for the objects of all others.
"""

import gc
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ledgercore import Status

from ..machine import make_scratch, pick_cores, run_on
from ..measure import Round, time_once
from ..stages import Runner, Stage
from ..workloads import Rows, Workload

Rounds = dict[str, list[Round]]
REFERENCE = "dict"
"""The stage that the others are compared with."""


def find_place(stage: Stage) -> AbstractContextManager[None]:
    """Return what keeps a stage on one core, unless it has cores of its own."""
    return nullcontext() if stage.spread else run_on(pick_cores()[0])


@contextmanager
def open_stage(stage: Stage, workload: Workload, scratch: Path) -> Iterator[Runner]:
    """Open a stage where it is to run, in a directory of its own."""
    directory = scratch / stage.name
    directory.mkdir(parents=True)
    with ExitStack() as stack:
        with find_place(stage):
            runner = stack.enter_context(stage.open(workload, directory))
        yield runner


def time_round(stage: Stage, runner: Runner, rows: Rows) -> Round:
    """Time a stage once."""
    prepared = runner.prepare(rows)
    with find_place(stage):
        return time_once(len(rows), runner.run, prepared, lambda: runner.cpu_s)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect what there is, and then nothing more."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def check_sound(runner: Runner, workload: Workload) -> None:
    """Check the ledger that was measured: its sums and its answers. Raises RuntimeError."""
    if any(status is not Status.APPLIED for status in runner.statuses):
        raise RuntimeError(f"{type(runner).__name__} has refused a transfer")
    balances = runner.balances()
    if sum(balances.values()) != 0 or not set(workload.names()) <= balances.keys():
        raise RuntimeError(f"the balances of {type(runner).__name__} are wrong")


def scale(stages: Sequence[Stage], transfers: int | None) -> dict[str, int]:
    """Return how many transfers make a round of each stage, `transfers` that of the fastest."""
    largest = max(stage.transfers for stage in stages)
    share = 1.0 if transfers is None else transfers / largest
    return {stage.name: max(1, round(stage.transfers * share)) for stage in stages}


def run_rounds(
    stages: Sequence[Stage],
    workload: Workload,
    sizes: dict[str, int],
    rounds: int,
    show: Callable[[], object] = lambda: None,
) -> tuple[Rounds, dict[str, str]]:
    """Time `rounds` rounds of all stages, besides one that does not count.

    `show` is called when a round is over. Returns the rounds and the runners' notes, by
    the stages' names.
    """
    timed: Rounds = {stage.name: [] for stage in stages}
    with make_scratch() as scratch, ExitStack() as stack, without_garbage_collection():
        runners = {
            stage.name: stack.enter_context(open_stage(stage, workload, scratch))
            for stage in stages
        }
        for number in range(rounds + 1):
            rows = workload.transfers(max(sizes.values()), stream=number)
            for stage in stages:
                runner = runners[stage.name]
                timed[stage.name].append(time_round(stage, runner, rows[: sizes[stage.name]]))
            show()
        for runner in runners.values():
            check_sound(runner, workload)
        notes = {name: runner.note for name, runner in runners.items()}
    return {name: counted[1:] for name, counted in timed.items()}, notes


# -- the lines of the comparison ------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Spread:
    """The spread over several rounds: the median, the lowest and the highest value."""

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
