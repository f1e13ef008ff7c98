"""`python -m bench http`: its flags, and the order in which things are measured.

This module owns which part needs what: the closed and the open loop and the profile share servers,
the bulk has one of its own when these are gone. It exits with 1 if a server or a load fails; a goal
that is missed is told, and no failure.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..build import describe_build
from ..load.generators import RATE_MAX, LoadFailed, make_generator, pick_generator
from ..machine import describe_machine, make_scratch, pick_cores
from ..options import (
    accounts_option,
    generator_option,
    go_option,
    json_option,
    pick_names,
    rounds_option,
    seconds_option,
)
from ..processes import ProcessFailed, exit_on_sigterm
from ..report import write_json
from .bulk import ARROW, list_formats, measure_bulk
from .latency import measure_latency, pick_rival
from .profile import take_profile
from .report import Heading, Results, make_data, write_report
from .subjects import DURABLE, Setting, open_subjects
from .throughput import Turns, compare, find_peak, make_rows, run_rounds

THROUGHPUT, LATENCY, BULK, PROFILE = PARTS = ("throughput", "latency", "bulk", "profile")
PROFILE_S = 3.0
"""How long perf looks: for about three thousand samples."""
KEYS_MAX = 100_000_000
"""No run may need more keys, each of which costs a server 64 bytes."""


def read_counts(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Return the numbers of a list such as 64,256."""
    words = value.split(",")
    if not all(word.isascii() and word.isdigit() and 0 < int(word) <= 10_000 for word in words):
        raise click.BadParameter(f"{value!r} is not like 64,256")
    return [int(word) for word in words]


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
    callback=pick_names(PARTS),
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
    parts: list[str],
    is_sampled: bool,
    rounds: int,
    seconds: float,
    **flags: Any,
) -> None:
    """Measure the service over HTTP, in one run, beside a plain handler and the sketch in Go.

    The servers share one core and the load has the other. Ratios are taken within a round, in which
    all are measured seconds apart.
    """
    # wrk rounds up to whole seconds, and the last load is the one that is profiled.
    loads = (rounds + 1) * (len(connections) + 1)
    keys = int(RATE_MAX * (loads * (seconds + 1) + 2 * PROFILE_S))
    if keys > KEYS_MAX:
        raise click.UsageError(f"that may be {keys:,} transfers, of at most {KEYS_MAX:,}")
    measure_and_report(
        lambda setting: measure_all(setting, parts, connections, is_sampled=is_sampled),
        keys=keys,
        rounds=rounds,
        seconds=seconds,
        **flags,
    )


def measure_and_report(
    measure: Callable[[Setting], Results],
    *,
    generator: str | None,
    accounts: int,
    json_path: Path | None,
    **plan: Any,
) -> None:
    """Measure as it is set, and print the report; keep its data where a path is named.

    `plan` has what a `Setting` takes besides.
    """
    machine = describe_machine()  # Before there is any load of our own.
    core, load_core = pick_cores()
    try:
        name = pick_generator(generator)
        with exit_on_sigterm(), make_scratch() as scratch:
            setting = Setting(
                core=core,
                load_core=load_core,
                scratch=scratch,
                accounts=accounts,
                generator=make_generator(name, load_core, accounts),
                tell=lambda what: click.echo(what, err=True),
                **plan,
            )
            results = measure(setting)
    except (LoadFailed, ProcessFailed) as error:
        raise click.ClickException(str(error)) from error
    commit = describe_build().commit
    heading = Heading(machine, commit, name, setting.rounds, setting.seconds)
    click.echo("\n".join(write_report(heading, results)))
    if json_path is not None:
        write_json(json_path, make_data(heading, results))


def measure_all(
    setting: Setting, parts: Sequence[str], connections: Sequence[int], *, is_sampled: bool
) -> Results:
    """Measure all parts that are named. Raises LoadFailed or ProcessFailed."""
    results = Results()
    if {THROUGHPUT, LATENCY, PROFILE} & set(parts):
        measure_shared(results, setting, parts, connections, is_sampled=is_sampled)
    if BULK in parts:
        results.bulk = measure_bulk(setting)
        if ARROW not in list_formats():
            results.notes.append("No Arrow: pyarrow is not installed.")
    if setting.go_binary is None:
        results.notes.append("No Go: name the binary of the sketch with --go.")
    return results


def measure_shared(
    results: Results,
    setting: Setting,
    parts: Sequence[str],
    connections: Sequence[int],
    *,
    is_sampled: bool,
) -> None:
    """Measure what needs the servers of all."""
    with ExitStack() as stack:
        setting.tell("starting the servers")
        subjects = open_subjects(setting, stack)
        turns: Turns = {}
        if THROUGHPUT in parts:
            turns = run_rounds(subjects, setting, connections)
            results.rows, results.ratios = make_rows(subjects, turns), compare(turns)
        if LATENCY in parts:
            rival = pick_rival(subjects)
            # What the rival can do at most has to be known first.
            turns = turns or run_rounds({rival: subjects[rival]}, setting, connections, rounds=1)
            peak = find_peak(turns, rival)
            results.latency = measure_latency(subjects, setting, peak, max(connections))
        if PROFILE in parts:
            setting.tell("profile")
            results.profile = take_profile(
                subjects[DURABLE],
                setting,
                connections[0],
                min(PROFILE_S, setting.seconds),
                is_sampled=is_sampled,
            )
