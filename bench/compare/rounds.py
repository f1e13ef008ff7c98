"""The timed rounds: over all stages in turn, with the same transfers, on the same core.

What is measured minutes apart on a machine that others use too can differ by half. So a round goes
over every stage, and a ratio compares what was measured within the same second or two. The first
round does not count: it touches memory for the first time, for which the head of
`bench/test_engine.py` says why. Garbage is not collected meanwhile, as in `timeit`, or each stage
would pay for the objects of all others.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from ledgercore import Status

from ..machine import make_scratch, pick_cores, run_on
from ..measure import Round, time_once
from ..stages import Runner, Stage
from ..workloads import Rows, Workload

Rounds = dict[str, list[Round]]


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
    """See to it that what was measured was a ledger. Raises RuntimeError."""
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
