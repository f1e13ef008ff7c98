"""`python -m bench.profiling.target STAGE`: applies a fixed number of transfers by one stage.

It prints how long that took, by the wall and by the processor, as one line of JSON. Under Scalene
only the transfers themselves are profiled: not the imports, not the opening of accounts, and not
what makes the transfers ready.
"""

import json
import time
from contextlib import AbstractContextManager, nullcontext

import click

from bench.machine import make_scratch
from bench.stages import STAGES
from bench.workloads import Workload

ACCOUNTS = 10_000
ROUNDS = 10
"""How many of a stage's own rounds are done where nobody says how many transfers."""


def plan_rounds(transfers: int, round_transfers: int) -> list[int]:
    """Return how many transfers each round has: all together `transfers`, none above the limit."""
    whole, rest = divmod(transfers, round_transfers)
    return [round_transfers] * whole + ([rest] if rest else [])


def watch() -> AbstractContextManager[None]:
    """Return the block in which Scalene looks; it has to run already."""
    from scalene.scalene_profiler import enable_profiling  # type: ignore[import-untyped]

    block: AbstractContextManager[None] = enable_profiling()
    return block


@click.command()
@click.argument("stage", type=click.Choice(list(STAGES)))
@click.option("--transfers", type=click.IntRange(min=1), help="How many; by default ten rounds.")
@click.option("--profiled", is_flag=True, help="Switch Scalene on for the transfers.")
def main(stage: str, transfers: int | None, profiled: bool) -> None:
    """Apply transfers by STAGE, after a small round that does not count."""
    found = STAGES[stage]
    total = transfers or found.transfers * ROUNDS
    workload = Workload(ACCOUNTS)
    with make_scratch() as scratch, found.open(workload, scratch) as runner:
        runner.run(runner.prepare(workload.transfers(min(total, 1_000), stream=0)))
        # All are made ready first: were Scalene switched off in between, it would charge its last
        # sample to what comes then. No key comes twice.
        sizes = plan_rounds(total, found.transfers)
        prepared = [
            runner.prepare(workload.transfers(size, stream))
            for stream, size in enumerate(sizes, start=1)
        ]
        wall_s, cpu_s = time.perf_counter(), runner.cpu_s
        with watch() if profiled else nullcontext():
            for one in prepared:
                runner.run(one)
        wall_s, cpu_s = time.perf_counter() - wall_s, runner.cpu_s - cpu_s
    click.echo(json.dumps({"transfers": total, "wall_s": wall_s, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
