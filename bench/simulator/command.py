"""The command `python -m bench simulate`: its flags, what it writes, and its exit codes.

0: all is well. 1: the run could not be made, or the server did not keep its promise. 2: a flag is
wrong. 130: interrupted. This module owns nothing else.
"""

import asyncio
import json
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
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


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_above_zero = click.FloatRange(0, min_open=True)


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    }
)
@click.argument("url", callback=_read_url)
# How much.
@click.option("--clients", type=click.IntRange(1, 20_000), default=100, help="How many at a time.")
@click.option(
    "--transfers",
    type=click.IntRange(1, INTENTS_MAX),
    help=f"How many to ask for.  [default: {TRANSFERS}]",
)
@click.option("--seconds", type=click.FloatRange(0, 86_400, min_open=True), help="Or for how long.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, help="How many make the load.")
# When.
@click.option("--rate", type=_above_zero, help="Open loop: so many arrive a second.")
@click.option("--arrivals", type=click.Choice(ARRIVALS), default="poisson", help="How they arrive.")
@click.option(
    "--pattern",
    type=click.Choice(PATTERNS),
    default="steady",
    help="Of the rate, or of active clients.",
)
@click.option(
    "--burst", type=click.FloatRange(1, 1000), default=3.0, help="Factor of a spike or overload."
)
@click.option(
    "--think-ms", type=click.FloatRange(0), default=0.0, help="Mean pause in the closed loop."
)
@click.option("--queue-max", type=click.IntRange(1), default=1000, help="Arrivals that may wait.")
# What.
@click.option(
    "--accounts", type=click.IntRange(2, 1_000_000), default=1000, help="acct-0 ... to choose from."
)
@click.option("--zipf", "--skew", "zipf", type=click.FloatRange(0, 10), default=0.0,
              help="Exponent of hot accounts; 0: all are alike.")  # fmt: skip
@click.option(
    "--amount-max",
    type=click.IntRange(1, 2**32 - 2),
    default=100,
    help="Of one transfer, in minor units.",
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Of all that is drawn.")
# Who.
@click.option("--impolite", type=click.FloatRange(0, 1), default=0.0,
              help="Share that hammers, reuses keys, disconnects or sends nonsense.")  # fmt: skip
@click.option("--mix", callback=_read_mix, help="The shares one by one: polite=0.8,hammer=0.2")
@click.option(
    "--attempts-max", type=click.IntRange(1, 1000), default=6, help="Tries of a polite client."
)
@click.option("--deadline-s", type=_above_zero, default=10.0, help="Over all tries of an intent.")
@click.option("--try-timeout-s", type=_above_zero, default=5.0, help="Of one try.")
@click.option(
    "--run-deadline-s",
    type=_above_zero,
    default=600.0,
    help="When a run of --transfers is cut short.",
)
@click.option(
    "--patience-s", type=_above_zero, default=5.0, help="How long checks wait for a silent server."
)
@click.option("--key", envvar="LEDGERCORE_CLIENT_KEY", help="Sent as a bearer token.")
@click.option("--secret", envvar="LEDGERCORE_CLIENT_SECRET", help="Signs every request.")
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
