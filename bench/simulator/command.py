"""The command `python -m bench simulate`: its flags, what it writes, and its exit codes.

0: all is well. 1: the run could not be made, or the server did not keep its promise. 2: a flag is
wrong. 130: interrupted. This module owns nothing else.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec
import uvloop
from rich.console import Console

from .coordinator import Coordinator, Run
from .output import format_summary, write_table
from .patterns import ARRIVALS, PATTERNS
from .plan import INTENTS_MAX, Plan
from .server_facts import SimulationFailed
from .summary import summarize
from .workload import read_mix, split_mix

TRANSFERS = 10_000
INTERRUPTED = 130
SUFFIXES = (".png", ".svg")


def _read_url(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme == "http" and parts.hostname is not None and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise click.BadParameter(f"{value!r} is not like http://127.0.0.1:8000")
    if parts.path not in ("", "/") or parts.query:
        raise click.BadParameter("it names a server, and no path on it")
    return value.rstrip("/")


def _read_mix(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> dict[str, float] | None:
    try:
        return None if value is None else read_mix(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _read_plot(
    context: click.Context, parameter: click.Parameter, value: Path | None
) -> Path | None:
    if value is not None and value.suffix not in SUFFIXES:
        raise click.BadParameter(f"the name ends in {' or '.join(SUFFIXES)}")
    return value


Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_above_zero = click.FloatRange(0, min_open=True)
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Plan)}


def _plan_option(
    flag: str, type: Any, help: str, *aliases: str, envvar: str | None = None
) -> Callable[[Command], Command]:
    """Return the option for one field of the plan, which says what its default is."""
    name = flag.removeprefix("--").replace("-", "_")
    return click.option(
        flag, *aliases, name, type=type, default=_DEFAULTS[name], help=help, envvar=envvar
    )


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    }
)
@click.argument("url", callback=_read_url)
# How much.
@_plan_option("--clients", click.IntRange(1, 20_000), "How many at a time.")
@_plan_option(
    "--transfers", click.IntRange(1, INTENTS_MAX), f"How many to ask for.  [default: {TRANSFERS}]"
)
@_plan_option("--seconds", click.FloatRange(0, 86_400, min_open=True), "Or for how long.")
@_plan_option("--processes", click.IntRange(1, 64), "How many make the load.")
# When.
@_plan_option("--rate", _above_zero, "Open loop: so many arrive a second.")
@_plan_option("--arrivals", click.Choice(ARRIVALS), "How they arrive.")
@_plan_option("--pattern", click.Choice(PATTERNS), "Of the rate, or of active clients.")
@_plan_option("--burst", click.FloatRange(1, 1000), "Factor of a spike or overload.")
@_plan_option("--think-ms", click.FloatRange(0), "Mean pause in the closed loop.")
@_plan_option("--queue-max", click.IntRange(1), "Arrivals that may wait.")
# What.
@_plan_option("--accounts", click.IntRange(2, 1_000_000), "acct-0 ... to choose from.")
@_plan_option(
    "--zipf", click.FloatRange(0, 10), "Exponent of hot accounts; 0: all are alike.", "--skew"
)
@_plan_option("--amount-max", click.IntRange(1, 2**32 - 2), "Of one transfer, in minor units.")
@_plan_option("--seed", click.IntRange(0), "Of all that is drawn.")
# Who.
@click.option("--impolite", type=click.FloatRange(0, 1), default=0.0,
              help="Share that hammers, reuses keys, disconnects or sends nonsense.")  # fmt: skip
@click.option("--mix", callback=_read_mix, help="The shares one by one: polite=0.8,hammer=0.2")
@_plan_option("--attempts-max", click.IntRange(1, 1000), "Tries of a polite client.")
@_plan_option("--deadline-s", _above_zero, "Over all tries of an intent.")
@_plan_option("--try-timeout-s", _above_zero, "Of one try.")
@_plan_option("--run-deadline-s", _above_zero, "When a run of --transfers is cut short.")
@_plan_option("--patience-s", _above_zero, "How long checks wait for a silent server.")
@_plan_option("--key", str, "Sent as a bearer token.", envvar="LEDGERCORE_CLIENT_KEY")
@_plan_option("--secret", str, "Signs every request.", envvar="LEDGERCORE_CLIENT_SECRET")
# Then.
@click.option("--no-check", is_flag=True, help="Ask nothing again, and no audit.")
@click.option("--shared", is_flag=True, help="Others use the ledger: compare no balances.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--csv", "csv_path", type=_FILE, help="Write every request into a file.")
@click.option("--plot", "plot_path", type=_FILE, callback=_read_plot, help="Draw: .png or .svg")
@click.option("--quiet", is_flag=True, help="Show nothing while it lasts.")
def main(
    url: str,
    impolite: float,
    mix: dict[str, float] | None,
    no_check: bool,
    shared: bool,
    as_json: bool,
    csv_path: Path | None,
    plot_path: Path | None,
    quiet: bool,
    **flags: Any,
) -> None:
    """Put the load of many clients on the server at URL, and check what it answered.

    Without --rate the loop is closed: each client waits for its answer. Accounts that are not
    there are opened, and funded from world.
    """
    if mix is not None and impolite:
        raise click.UsageError("--impolite and --mix say the same; give one of them")
    plan = make_plan(url=url, mix=mix or split_mix(impolite), **flags)
    console = None if quiet else Console(stderr=True)
    coordinator = Coordinator(plan, console, is_checking=not no_check, is_shared=shared)
    try:
        run = uvloop.run(coordinator.run())
    except SimulationFailed as failure:
        raise click.ClickException(str(failure)) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise SystemExit(INTERRUPTED) from None
    is_ok = report(run, as_json=as_json, csv_path=csv_path, plot_path=plot_path)
    if run.is_interrupted:
        raise SystemExit(INTERRUPTED)
    if not is_ok:
        raise SystemExit(1)


def make_plan(**flags: Any) -> Plan:
    """Return the plan that the flags make. Raises UsageError for flags that contradict."""
    transfers, seconds, rate = flags["transfers"], flags["seconds"], flags["rate"]
    if transfers is not None and seconds is not None:
        raise click.UsageError("give --transfers or --seconds, and not both")
    if transfers is None and seconds is None:
        flags["transfers"] = TRANSFERS
    if rate is None and flags["arrivals"] != "poisson":
        raise click.UsageError("--arrivals goes with --rate: a closed loop has no schedule")
    if rate is not None and flags["think_ms"]:
        raise click.UsageError("--think-ms is for the closed loop, without --rate")
    if flags["processes"] > flags["clients"]:
        raise click.UsageError("there are more --processes than --clients")
    plan = Plan(run=f"sim-{secrets.token_hex(8)}", **flags)
    if rate is not None and rate * plan.offering_s * plan.shape.mean > INTENTS_MAX:
        raise click.UsageError(f"that would be more than {INTENTS_MAX:,} arrivals")
    return plan


def report(run: Run, *, as_json: bool, csv_path: Path | None, plot_path: Path | None) -> bool:
    """Print the summary, write the files, and tell whether the run was sound."""
    summary = summarize(run)
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    else:
        click.echo("\n".join(format_summary(summary)))
    if csv_path is not None:
        write_table(run, csv_path)
    if plot_path is not None:
        # Charts take a second to import, which is of no use to those who want none.
        from .plot import draw_run

        draw_run(run, summary, plot_path)
    return summary.ok


if __name__ == "__main__":
    main()
