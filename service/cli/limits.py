"""The commands `ledgercore admin limits ...`: the limits of a running server, asked over HTTP.

This module owns their flags and what they print. It knows no limit's range; the server does.
"""

from typing import Any

import click

from .printing import print_json
from .running_server import ask_server, pick_given, print_rows, server_options

PATH = "/admin/limits"

LIMITS = {
    "client-rate": "Requests a second that each client may send; 0 is any number.",
    "client-burst": "How many of them may come at once; 0 is those of one second.",
    "client-quota": "Minor units that each client may move in a window; 0 is any sum.",
    "quota-window-s": "Seconds of such a window.",
    "global-rate": "Requests a second of all clients together; 0 is any number.",
    "global-burst": "How many of them may come at once; 0 is those of one second.",
    "request-deadline-ms": "Milliseconds within which a transfer is taken, or not at all; 0: any.",
    "target-p99-ms": "Milliseconds that 99 % of the answers are held to; 0: no such limit.",
    "inflight-min": "Transfers in flight that are let in, however slow they are.",
    "inflight-max": "Transfers in flight that are let in at most.",
}


@click.group()
def limits() -> None:
    """Show and change the limits of a running server, until it stops."""


@limits.command()
@server_options
def show(url: str, key_env: str, is_json: bool) -> None:
    """Print the limits in force."""
    _print_limits(ask_server(url, key_env, "GET", PATH), is_json)


@limits.command("set")
@server_options
def change(url: str, key_env: str, is_json: bool, **values: int | None) -> None:
    """Change the limits that are given, and print all of them."""
    wanted = pick_given(values, "limit")
    _print_limits(ask_server(url, key_env, "PATCH", PATH, wanted), is_json)


def _print_limits(told: dict[str, Any], is_json: bool) -> None:
    (print_json if is_json else print_rows)(told)


for _name, _help in LIMITS.items():
    click.option(f"--{_name}", type=int, help=_help)(change)
