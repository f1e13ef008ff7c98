"""The commands `ledgercore admin workers ...`: the workers of a running server, asked over HTTP.

This module owns their flags and what they print. It knows no bound of any; the server does.
"""

from typing import Any

import click

from .printing import print_json
from .running_server import ask_server, join_members, pick_given, print_rows, server_options

PATH = "/admin/workers"


@click.group()
def workers() -> None:
    """Show and change how many workers a running server has."""


@workers.command()
@server_options
def show(url: str, key_env: str, is_json: bool) -> None:
    """Print the bounds in force, and what each segment has and has to do."""
    _print_workers(ask_server(url, key_env, "GET", PATH), is_json)


@workers.command("set")
@server_options
@click.option("--workers-min", type=int, help="Workers a segment has at least.")
@click.option("--workers-max", type=int, help="Workers a segment has at most.")
def change(url: str, key_env: str, is_json: bool, **values: int | None) -> None:
    """Change the bounds that are given, and print all of them.

    They hold until the server stops.
    """
    wanted = pick_given(values, "bound")
    _print_workers(ask_server(url, key_env, "PATCH", PATH, wanted), is_json)


def _print_workers(told: dict[str, Any], is_json: bool) -> None:
    if is_json:
        print_json(told)
        return
    segments = told.pop("segments", [])
    rows = {f"segment {number}": join_members(load) for number, load in enumerate(segments)}
    print_rows(told | rows)
