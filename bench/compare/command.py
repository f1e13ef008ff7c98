"""`python -m bench compare`: every stage in one run, as a table, a chart and data.

This module owns the flags. What it prints can be read by people, or with --json by programs.
"""

import json
import sys
from pathlib import Path

import click

from ..build import describe_build
from ..machine import describe_machine
from ..options import (
    accounts_option,
    as_json_option,
    output_option,
    pick_names,
    rounds_option,
    seed_option,
)
from ..stages import STAGES
from ..workloads import Workload
from .chart import draw_comparison
from .gate import find_confirmed_fault, measure_ratio, read_baseline, record_baseline
from .report import Setting, keep, make_data, write_text
from .rounds import REFERENCE, StageResult, run_rounds, scale, summarize


@click.command()
@output_option("build/compare", ("compare.json", ".md", ".png", ".svg"))
@click.option(
    "--stages", "names", callback=pick_names(STAGES), help="Only these, as in dict,kernel,journal."
)
@rounds_option(11, None, "stages")
@click.option(
    "--transfers",
    type=click.IntRange(min=1),
    help="Size of the largest round; slower stages get fewer.  [default: about a minute in all]",
)
@accounts_option
@seed_option
@click.option("--record", is_flag=True, help="Lower bench/baseline.json to what is measured.")
@click.option(
    "--gate",
    is_flag=True,
    help="Fail if a stage is slower than bench/baseline.json allows, also when measured anew.",
)
@as_json_option
def main(
    output: Path,
    names: list[str],
    rounds: int,
    transfers: int | None,
    accounts: int,
    seed: int,
    record: bool,
    gate: bool,
    as_json: bool,
) -> None:
    """Time the same transfers through every stage, interleaved, from a dict to the service.

    A stage is as fast as its ratio to the pure-Python stage says, which is always measured with it.
    """
    machine = describe_machine()  # Before there is any load of our own.
    workload = Workload(accounts, seed)
    stages = [stage for name, stage in STAGES.items() if name in {REFERENCE, *names}]
    with click.progressbar(length=rounds + 1, label="rounds", file=sys.stderr) as bar:
        timed, notes = run_rounds(
            stages, workload, scale(stages, transfers), rounds, lambda: bar.update(1)
        )
    results = summarize(stages, timed, notes)
    setting = Setting(machine, describe_build(), accounts, seed, rounds)
    keep(output, setting, results)
    charts = [output / "compare.png", output / "compare.svg"]
    draw_comparison(results, f"{machine}, commit {setting.build.commit}", charts)
    if record:
        record_baseline(results)
    if as_json:
        click.echo(json.dumps(make_data(setting, results), indent=2))
    else:
        click.echo("\n".join([*write_text(setting, results), ""]))
        click.echo(f"{output}: compare.json, compare.md, compare.png, compare.svg")
    if gate:
        check_slower(results, workload, transfers)


def check_slower(results: list[StageResult], workload: Workload, transfers: int | None) -> None:
    """Tell which stages are slower than is allowed, and exit with 1 if there are any."""
    baseline = read_baseline()
    faults = [
        find_confirmed_fault(
            result.name,
            result.cpu_ratio.median,
            baseline,
            lambda name: measure_ratio(name, workload, transfers),
        )
        for result in results
        if result.name != REFERENCE and result.cpu_ratio is not None
    ]
    found = [fault for fault in faults if fault is not None]
    for fault in found:
        click.echo(fault, err=True)
    if found:
        sys.exit(1)
