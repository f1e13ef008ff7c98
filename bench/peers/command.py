"""`python -m bench peers`: the same money moved by others, side by side with ledgercore.

This module owns the flags and the files that are written.
"""

import json
from contextlib import ExitStack
from pathlib import Path

import click

from ..machine import describe_machine, make_scratch, pick_cores
from ..options import (
    accounts_option,
    connections_option,
    go_option,
    output_option,
    rounds_option,
    seconds_option,
    seed_option,
)
from ..processes import ProcessFailed, heed_sigterm
from ..report import write_json
from .comparison import Plan, compare_peers
from .peer import PEERS, PeerFailed, Settings, open_peers
from .report import format_table, make_report

TRANSFERS_MAX = 20_000_000
"""In all rounds of one peer, so that memory and disk suffice."""


@click.command()
@click.option(
    "--peer",
    "names",
    multiple=True,
    type=click.Choice(list(PEERS)),
    help="Which to compare; more than once for more than one. All of them if none is named.",
)
@go_option
@seconds_option(
    1.0,
    click.FloatRange(0, 600, min_open=True),
    "A round of one peer ends then, or with its transfers.",
)
@click.option(
    "--transfers",
    type=click.IntRange(1, 1_000_000),
    default=262_144,
    show_default=True,
    help="In a round of one peer, at most.",
)
@rounds_option(5, 1000, "peers")
@connections_option("--clients", 1000)
@accounts_option
@seed_option
@output_option("build/peers", ("peers.json", "peers.md"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def main(
    names: tuple[str, ...],
    go_binary: Path | None,
    seconds: float,
    transfers: int,
    rounds: int,
    clients: int,
    accounts: int,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Compare ledgercore with other ways to move money, as far as this machine has them.

    SQLite, PostgreSQL and Redis are set up so that an answer means "on the disk", each in a
    directory of its own, with the same accounts. All make the same transfers, in rounds that go
    over each in turn; then the balances of each are compared with those of a ledger in plain
    Python. A server has one core and its clients another, where there are two.
    """
    in_all = (rounds + 1) * transfers
    if in_all > TRANSFERS_MAX:
        raise click.UsageError(f"{in_all:,} transfers in all rounds, of at most {TRANSFERS_MAX:,}")
    plan = Plan(rounds, transfers, seconds, seed, accounts)
    machine = describe_machine()
    core, load_core = pick_cores()
    with heed_sigterm(), make_scratch() as scratch, ExitStack() as stack:
        settings = Settings(accounts, clients, in_all, core, load_core, scratch, go_binary)
        try:
            wanted = [name for name in PEERS if name in names or not names]
            peers, missing = open_peers(wanted, settings, stack)
            rows = compare_peers(peers, plan, lambda what: click.echo(what, err=True))
        except (PeerFailed, ProcessFailed) as error:
            raise click.ClickException(str(error)) from error
    report = make_report(rows, missing, machine, plan)
    table = format_table(rows, missing, machine, plan)
    write_json(output / "peers.json", report)
    (output / "peers.md").write_text(table)
    click.echo(json.dumps(report, indent=2) if as_json else table, nl=as_json)
