"""`python -m bench cost`: its flags, and the order in which things are measured.

This module owns nothing else. It exits with 1 if a server or a load fails; a goal that is missed is
told, and no failure.
"""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from ..compare.build import describe_build
from ..http_speed.generators import OWN, WRK, make_generator, pick_generator
from ..http_speed.loads import LoadFailed
from ..http_speed.ratios import Comparison, Ratio, make_ratio
from ..http_speed.results import Results
from ..http_speed.subjects import Setting
from ..http_speed.throughput import Row, Tell, Turns, make_rows, run_rounds
from ..http_speed.writing import Heading, make_data, write_report
from ..http_speed.wrk import RATE_MAX
from ..machine import describe_machine, make_scratch, pick_cores
from ..options import accounts_option, json_option
from ..peers.command import heed_sigterm
from .variants import GOALS, TITLES, dispatch, open_variants

CORE_SHARE_MIN = 0.7
"""A durable server waits for its disk now and then, and has about so much of a core of its own."""


@click.command()
@click.option(
    "--connections",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Clients at a time.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 30),
    default=7,
    show_default=True,
    help="Rounds over all variants, besides one that does not count.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 10),
    default=3.0,
    show_default=True,
    help="Of load on one variant in one round; wrk takes whole seconds.",
)
@click.option("--generator", type=click.Choice([WRK, OWN]), help="  [default: wrk if there]")
@accounts_option
@json_option
def main(
    connections: int,
    rounds: int,
    seconds: float,
    generator: str | None,
    accounts: int,
    json_path: Path | None,
) -> None:
    """Measure what the service's own care costs a transfer, with parts of it on and off.

    The variants share one core and the load has the other. Ratios are taken within a round, in
    which all are measured seconds apart.
    """
    machine = describe_machine()  # Before there is any load of our own.
    core, load_core = pick_cores()
    keys = int(RATE_MAX * (rounds + 1) * (seconds + 1))
    try:
        name = pick_generator(generator)
        with heed_sigterm(), make_scratch() as scratch:
            setting = Setting(core, load_core, scratch, accounts, keys)
            results = measure_cost(
                setting, name, connections, rounds, seconds, lambda what: click.echo(what, err=True)
            )
    except (LoadFailed, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    heading = Heading(machine, describe_build().commit, name, rounds, seconds)
    click.echo("\n".join(write_report(heading, results)))
    if json_path is not None:
        json_path.write_text(json.dumps(make_data(heading, results), indent=2) + "\n")


def measure_cost(
    setting: Setting, generator: str, connections: int, rounds: int, seconds: float, tell: Tell
) -> Results:
    """Measure all variants, and compare them. Raises LoadFailed, RuntimeError."""
    with ExitStack() as stack:
        tell("starting the servers")
        variants = open_variants(list(TITLES), setting, stack)
        os.sync()
        load = dispatch(
            {
                variant.url: make_generator(
                    generator, setting.load_core, setting.accounts, variant.headers
                )
                for variant in variants.values()
            }
        )
        turns = run_rounds(variants, load, [connections], rounds, seconds, tell)
        results = Results(make_rows(variants, turns), compare_variants(turns, connections))
    results.notes += find_doubts(results.rows)
    return results


def find_doubts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence where the ratios by the wall tell more of the machine than of the service.

    Servers that do not have their core, under a load that is not at its limit, share it.
    """
    share = min(row.core_share for row in rows)
    if share >= CORE_SHARE_MIN or any(row.is_load_limit for row in rows):
        return []
    told = f"A server had only {share:.0%} of its core: others were on it, or the disk was slow."
    return [f"{told} Ratios by the wall say little."]


def compare_variants(turns: Turns, connections: int) -> list[Ratio]:
    """Return the ratio of each pair that has a goal."""
    return [
        make_ratio(
            Comparison(upper, lower, {}),
            connections,
            turns[upper, connections],
            turns[lower, connections],
            goal,
        )
        for (upper, lower), goal in GOALS.items()
    ]
