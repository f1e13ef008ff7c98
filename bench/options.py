"""The options that several commands of the bench have in common: one wording, one range."""

from pathlib import Path

import click

accounts_option = click.option(
    "--accounts",
    type=click.IntRange(2, 1_000_000),
    default=10_000,
    show_default=True,
    help="Accounts that pay each other.",
)

json_option = click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write all figures into a file too.",
)
