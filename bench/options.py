"""The options that several commands of the bench have in common: one wording each.

Where a default or a range is a command's own, it names it.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

WRK, OWN = "wrk", "own"
"""The generators of a closed loop; see load/generators.py."""

Option = Callable[[Any], Any]

accounts_option = click.option(
    "--accounts",
    type=click.IntRange(2, 1_000_000),
    default=10_000,
    show_default=True,
    help="Accounts that pay each other: acct-0 ...",
)

seed_option = click.option(
    "--seed", default=1, show_default=True, help="Of the choice of transfers."
)

generator_option = click.option(
    "--generator",
    type=click.Choice([WRK, OWN]),
    help="Of the closed loop.  [default: wrk if there]",
)

port_option = click.option(
    "--port", default=0, show_default=True, help="Port of 127.0.0.1; 0 takes a free one."
)

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print all figures as JSON, and nothing else."
)

json_option = click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write all figures into a file too.",
)

go_option = click.option(
    "--go",
    "go_binary",
    type=click.Path(exists=True, dir_okay=False, executable=True, path_type=Path),
    help=(
        "A program that keeps the contract of the sketch in Go. It is started with `-addr"
        " HOST:PORT -wal FILE -accounts N -procs N`, and has to serve POST /transfer there: {from,"
        " to, amount}, the key in Idempotency-Key, between acct-0 ... acct-N-1, which hold"
        " 1,000,000 each; 201 means applied, 422 refused."
    ),
)


def connections_option(
    name: str = "--connections", maximum: int | None = 10_000, default: int = 64
) -> Option:
    """Return the option for how many clients there are."""
    return click.option(
        name,
        type=click.IntRange(1, maximum),
        default=default,
        show_default=True,
        help="Clients at a time, each waiting for its answer.",
    )


def rounds_option(default: int, maximum: int | None, of: str) -> Option:
    """Return the option for how often is measured; `of` says what one round goes over."""
    return click.option(
        "--rounds",
        type=click.IntRange(1, maximum),
        default=default,
        show_default=True,
        help=f"Rounds over all {of}, besides one that does not count.",
    )


def seconds_option(default: float, span: click.FloatRange, what: str) -> Option:
    """Return the option for how long something lasts, which `what` says."""
    return click.option("--seconds", type=span, default=default, show_default=True, help=what)


def output_option(default: str, files: Sequence[str]) -> Option:
    """Return the option for the directory in which files are kept."""
    return click.option(
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(default),
        show_default=True,
        help=f"Where {', '.join(files)} go.",
    )


def pick_names(known: Collection[str]) -> Callable[[Any, Any, str | None], list[str]]:
    """Return the callback of an option that names some of what is known, as in `one,other`."""

    def pick(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
        names = list(known) if value is None else value.split(",")
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
        return names

    return pick
