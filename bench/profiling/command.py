"""`python -m bench profile`: runs the profilers one after the other, and keeps what they made.

This module owns the flags, the order, and the names of the files. Where a profiler may not look,
the others go on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from ledgercore.service.profiling.flame_graph import Panel, draw_flame
from ledgercore.service.profiling.py_spy import SamplingRefused
from ledgercore.service.profiling.stacks import fold, read_stacks

from ..machine import describe_machine, make_scratch
from ..options import connections_option, output_option, seconds_option
from ..report import write_json
from . import runs, summary
from .line_profile import NothingSeen

STAGES = ("dict", "kernel", "batches")
"""From naive to optimised: Python alone, compiled code a transfer at a time, and by thousands."""
TARGETS = (*STAGES, "server", "flame")
PANELS_MAX = 3


def profile(
    name: str, transfers: int | None, seconds: float, connections: int, output: Path
) -> summary.Target:
    """Run a stage or the server, plain and under Scalene, and tell what that shows."""
    path = output / f"{name}.json"
    if name in STAGES:
        speed = runs.time_stage(name, transfers)
        found = runs.profile_stage(name, transfers, path)
    else:
        with make_scratch() as scratch:
            speed = runs.time_server(scratch, seconds, connections)
            found = runs.profile_server(scratch, seconds, connections, path)
    target = summary.Target(name, speed, found)
    _tell(summary.describe_target(target))
    return target


def make_flame(seconds: float, connections: int, output: Path) -> summary.Flame | None:
    """Sample the server under load, and keep the graph and its stacks; None where that may not be.

    Both may be shown to others: they hold no path of this machine.
    """
    graph, folded = output / "flamegraph.svg", output / "flamegraph.folded"
    graph.unlink(missing_ok=True)
    folded.unlink(missing_ok=True)
    try:
        with make_scratch() as scratch:
            text, thread_cpu_s, rate = runs.sample_server(scratch, seconds, connections)
    except SamplingRefused as refusal:
        click.echo(str(refusal))
        return None
    stacks, waits = read_stacks(text)
    flame = summary.sum_up_stacks(stacks, waits, thread_cpu_s, rate)
    panels = [
        Panel(
            f"thread {one.name}: {one.samples:,} samples,"
            f" {one.cpu_percent:.0f} % of the processor time",
            stacks[one.name],
        )
        for one in flame.threads[:PANELS_MAX]
    ]
    note = (
        f"{connections} clients of the simulator, one core, {rate:,.0f} transfers/s while"
        f" sampled at {runs.RATE_HZ} Hz. A box is as wide as its share of its thread's samples,"
        " under its caller."
    )
    title = "POST /transfer, durable: where the server's time goes"
    graph.write_text(draw_flame(title, [note], panels))
    folded.write_text("".join(f"{line}\n" for line in fold(stacks)))
    _tell(summary.describe_flame(flame))
    return flame


def _tell(lines: Iterable[str]) -> None:
    click.echo("\n".join([*lines, ""]))


def profile_all(
    wanted: Sequence[str], transfers: int | None, seconds: float, connections: int, output: Path
) -> dict[str, Any]:
    """Run all that is wanted, tell what each shows, and return it for JSON."""
    machine = describe_machine()
    _tell([machine])
    targets = {
        name: profile(name, transfers, seconds, connections, output)
        for name in wanted
        if name in STAGES
    }
    pairs = list(pairwise(targets.values()))
    for pair in pairs:
        _tell(summary.describe_changes(*pair))
    if "server" in wanted:
        targets["server"] = profile("server", transfers, seconds, connections, output)
    flame = make_flame(seconds, connections, output) if "flame" in wanted else None
    return {
        "machine": machine,
        "targets": {name: summary.list_target(target) for name, target in targets.items()},
        "changes": [summary.list_changes(*pair) for pair in pairs],
        "flame": asdict(flame) if flame else None,
    }


@click.command()
@output_option("build/profile", ("the pages", "profiles", "the graph"))
@click.option(
    "--only", type=click.Choice(TARGETS), multiple=True, help="Leave out what is not named so."
)
@click.option(
    "--transfers",
    type=click.IntRange(min=1),
    help="How many each stage applies; by default ten of its own rounds.",
)
@seconds_option(
    8.0, click.FloatRange(0.1, 60), "How long the server is watched under load, by each profiler."
)
@connections_option(maximum=None)
def main(
    output: Path, only: tuple[str, ...], transfers: int | None, seconds: float, connections: int
) -> None:
    """Profile the stages and the server, line by line, and draw a flame graph of the server."""
    wanted = [name for name in TARGETS if name in only or not only]
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    try:
        report = profile_all(wanted, transfers, seconds, connections, output)
    except (NothingSeen, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    write_json(output / "profile.json", report)
    click.echo(f"kept in {output}: {', '.join(sorted(path.name for path in output.iterdir()))}")
