"""`python -m bench compare`: every stage in one run, as a table, a chart and data.

This module owns the flags. What it prints can be read by people, or with --json by programs.
"""

import json
import sys
from pathlib import Path

import click

from ..build import describe_build
from ..machine import describe_machine
from ..stages import STAGES, Stage
from ..workloads import Workload
from .chart import draw_comparison
from .confirming import find_confirmed_faults, measure_ratio
from .gate import read_baseline, record_baseline
from .results import REFERENCE, StageResult, summarize
from .rounds import run_rounds, scale
from .writing import Setting, keep, make_data, write_text

ACCOUNTS = 10_000
ROUNDS = 11


def pick_stages(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> list[Stage]:
    """Return the stages that are named, and the one that they are compared with."""
    names = list(STAGES) if value is None else value.split(",")
    for name in names:
        if name not in STAGES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(STAGES)}")
    return [stage for name, stage in STAGES.items() if name in {REFERENCE, *names}]


@click.command()
@click.option(
    "--output",
    default=Path("build/compare"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where compare.json, .md, .png and .svg go.",
)
@click.option("--stages", callback=pick_stages, help="Only these, as in dict,kernel,journal.")
@click.option(
    "--rounds",
    default=ROUNDS,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often each stage is timed; once more does not count.",
)
@click.option(
    "--transfers",
    type=click.IntRange(min=1),
    help="Size of the largest round; slower stages get fewer.  [default: about a minute in all]",
)
@click.option(
    "--accounts", default=ACCOUNTS, show_default=True, type=click.IntRange(min=2), help="How many."
)
@click.option("--seed", default=1, show_default=True, help="Of the choice of transfers.")
@click.option("--record", is_flag=True, help="Lower bench/baseline.json to what is measured.")
@click.option(
    "--gate",
    is_flag=True,
    help="Fail if a stage is slower than bench/baseline.json allows, also when measured anew.",
)
@click.option("--json", "is_json", is_flag=True, help="Print the data, and nothing else.")
def main(
    output: Path,
    stages: list[Stage],
    rounds: int,
    transfers: int | None,
    accounts: int,
    seed: int,
    record: bool,
    gate: bool,
    is_json: bool,
) -> None:
    """Time the same transfers through every stage, interleaved, from a dict to the service.

    A stage is as fast as its ratio to the pure-Python stage says, which is always measured with it.
    """
    # Before there is any load of our own.
    machine = describe_machine()
    workload = Workload(accounts, seed)
    results = measure(stages, workload, rounds, transfers)
    setting = Setting(machine, describe_build(), accounts, seed, rounds)
    keep(output, setting, results)
    charts = [output / "compare.png", output / "compare.svg"]
    draw_comparison(results, f"{machine}, commit {setting.build.commit}", charts)
    if record:
        record_baseline(results)
    if is_json:
        click.echo(json.dumps(make_data(setting, results), indent=2))
    else:
        for line in [*write_text(setting, results), ""]:
            click.echo(line)
        click.echo(f"{output}: compare.json, compare.md, compare.png, compare.svg")
    if gate:
        check_slower(results, workload, transfers)


def measure(
    stages: list[Stage], workload: Workload, rounds: int, transfers: int | None
) -> list[StageResult]:
    """Run all rounds, telling on a terminal how far they are."""
    sizes = scale(stages, transfers)
    with click.progressbar(length=rounds + 1, label="rounds", file=sys.stderr) as bar:
        timed, notes = run_rounds(stages, workload, sizes, rounds, lambda: bar.update(1))
    return summarize(stages, timed, notes)


def check_slower(results: list[StageResult], workload: Workload, transfers: int | None) -> None:
    """Tell which stages are slower than is allowed, and exit with 1 if there are any."""
    ratios = {
        result.name: result.cpu_ratio.median
        for result in results
        if result.name != REFERENCE and result.cpu_ratio is not None
    }
    faults = find_confirmed_faults(
        ratios, read_baseline(), lambda name: measure_ratio(name, workload, transfers)
    )
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        sys.exit(1)
