"""The commands `ledgercore admin chaos ...`: fault injection in a running server.

This module owns how a plan gets from a file to a server, and what is printed. It does no fault, and
knows no range of any; chaos.py and the server do.
"""

from pathlib import Path
from typing import Any

import click
import msgspec

from ..chaos.plan import InvalidPlan, Plan, load_plan
from .printing import print_json
from .running_server import ask_server, join_members, print_rows, server_options

PATH = "/admin/chaos"
OFF = "off"


@click.group()
def chaos() -> None:
    """Show and change the faults that are planned.

    The server has to be started with --allow-chaos.
    """


@chaos.command()
@server_options
def show(url: str, key_env: str, is_json: bool) -> None:
    """Print the faults of the plan in force, and how often each has struck."""
    _print_chaos(ask_server(url, key_env, "GET", PATH), is_json)


@chaos.command("set")
@click.argument("plan", metavar="FILE|off")
@server_options
def change(plan: str, url: str, key_env: str, is_json: bool) -> None:
    """Plan the faults in FILE, and no others; `off` plans none.

    A file of that name is ./off.
    """
    wanted = Plan() if plan == OFF else _read_file(plan)
    told = ask_server(url, key_env, "PUT", PATH, msgspec.to_builtins(wanted))
    _print_chaos(told, is_json)


def _read_file(name: str) -> Plan:
    try:
        return load_plan(Path(name))
    except InvalidPlan as error:
        raise click.ClickException(str(error)) from None


def _print_chaos(told: dict[str, Any], is_json: bool) -> None:
    """Print one line for the seed and for each fault; `off` where there is none."""
    if is_json:
        print_json(told)
        return
    plan: dict[str, Any] = told.get("plan", {})
    struck: dict[str, int] = told.get("struck", {})
    faults = {
        name: join_members(fault | {"struck": struck.get(name)})
        for name, fault in plan.items()
        if isinstance(fault, dict)
    }
    print_rows({"seed": plan.get("seed", 0)} | faults if faults else {"chaos": OFF})
