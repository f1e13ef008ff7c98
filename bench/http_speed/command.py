"""`python -m bench http`: its flags, and the order in which things are measured.

This module owns nothing else. It exits with 1 if a server or a load fails; a goal that is missed is
told, and no failure.
"""

from pathlib import Path

import click

from ..build import describe_build
from ..load.generators import RATE_MAX, LoadFailed, make_generator, pick_generator
from ..machine import describe_machine, make_scratch, pick_cores
from ..options import (
    accounts_option,
    generator_option,
    go_option,
    json_option,
    rounds_option,
    seconds_option,
)
from ..processes import ProcessFailed, heed_sigterm
from ..report import write_json
from .report import Heading, make_data, write_report
from .results import PARTS, PROFILE_S, Plan, measure_all
from .subjects import Setting

KEYS_MAX = 100_000_000
"""No run may need more keys, each of which costs a server 64 bytes."""


def read_counts(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Return the numbers of a list such as 64,256."""
    words = value.split(",")
    if not all(word.isascii() and word.isdigit() and 0 < int(word) <= 10_000 for word in words):
        raise click.BadParameter(f"{value!r} is not like 64,256")
    return [int(word) for word in words]


def read_parts(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """Return the parts that are named."""
    words = value.split(",")
    for word in words:
        if word not in PARTS:
            raise click.BadParameter(f"{word!r} is none of {', '.join(PARTS)}")
    return words


@click.command()
@click.option(
    "--connections",
    callback=read_counts,
    default="64,256",
    show_default=True,
    help="Clients at a time; each number is measured. The profile is of the first.",
)
@rounds_option(3, 100, "servers")
@seconds_option(
    3.0, click.FloatRange(0.1, 30), "Of load on one server in one round; wrk takes whole seconds."
)
@go_option
@generator_option
@click.option(
    "--only",
    "parts",
    callback=read_parts,
    default=",".join(PARTS),
    show_default=True,
    help="Leave out what is not named.",
)
@click.option(
    "--profile/--no-profile",
    "is_sampled",
    default=True,
    show_default=True,
    help="Let perf look at the durable service, where it may.",
)
@accounts_option
@json_option
def main(
    connections: list[int],
    rounds: int,
    seconds: float,
    go_binary: Path | None,
    generator: str | None,
    parts: list[str],
    is_sampled: bool,
    accounts: int,
    json_path: Path | None,
) -> None:
    """Measure the service over HTTP, in one run, beside a plain handler and the sketch in Go.

    The servers share one core and the load has the other. Ratios are taken within a round, in which
    all are measured seconds apart.
    """
    plan = Plan(parts, connections, rounds, seconds, is_sampled)
    keys = count_keys(plan)
    if keys > KEYS_MAX:
        raise click.UsageError(f"that may be {keys:,} transfers, of at most {KEYS_MAX:,}")
    # Before there is any load of our own.
    machine = describe_machine()
    core, load_core = pick_cores()
    try:
        name = pick_generator(generator)
        with heed_sigterm(), make_scratch() as scratch:
            setting = Setting(core, load_core, scratch, accounts, keys, go_binary)
            load = make_generator(name, load_core, accounts)
            results = measure_all(plan, setting, load, lambda what: click.echo(what, err=True))
    except (LoadFailed, ProcessFailed) as error:
        raise click.ClickException(str(error)) from error
    heading = Heading(machine, describe_build().commit, name, rounds, seconds)
    click.echo("\n".join(write_report(heading, results)))
    if json_path is not None:
        write_json(json_path, make_data(heading, results))


def count_keys(plan: Plan) -> int:
    """Return how many transfers one server may be asked for: by each load, the most that can be."""
    loads = (plan.rounds + 1) * (len(plan.connections) + 1)
    # wrk rounds up to whole seconds, and the last load is the one that is profiled.
    return int(RATE_MAX * (loads * (plan.seconds + 1) + 2 * PROFILE_S))
