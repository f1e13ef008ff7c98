"""`python -m bench peers`: the same money moved by others, side by side with ledgercore.

This module owns the flags, the words of the table, and the files that are written.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..load.loops import CPU_SHARE_MAX
from ..machine import describe_machine, make_scratch, pick_cores
from ..options import (
    accounts_option,
    as_json_option,
    connections_option,
    go_option,
    output_option,
    rounds_option,
    seconds_option,
    seed_option,
)
from ..processes import ProcessFailed, exit_on_sigterm
from ..report import Columns, format_markdown, format_ms, make_cells, write_json
from .comparison import Plan, Row, compare_peers
from .peer import PEERS, PeerFailed, Settings, open_peers

TRANSFERS_MAX = 20_000_000
"""In all rounds of one peer, so that memory and disk suffice."""

FIGURES: Columns[Row] = {
    "peer": lambda row: row.title,
    "transfers/s": lambda row: f"{row.rate:,.0f}",
    "lowest to highest": lambda row: f"{min(row.rates):,.0f} to {max(row.rates):,.0f}",
    "p50": lambda row: format_ms(row.p50_ms),
    "p99": lambda row: format_ms(row.p99_ms),
    "clients": lambda row: str(row.clients),
    "load": lambda row: "inside" if row.load_share is None else f"{row.load_share:.0%}",
}
MEANINGS: Columns[Row] = {
    "peer": lambda row: row.title,
    "version": lambda row: row.version,
    "what an answer means": lambda row: row.durability,
}


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
@as_json_option
def main(
    names: tuple[str, ...],
    go_binary: Path | None,
    clients: int,
    output: Path,
    as_json: bool,
    **flags: Any,
) -> None:
    """Compare ledgercore with other ways to move money, as far as this machine has them.

    SQLite, PostgreSQL and Redis are set up so that an answer means "on the disk", each in a
    directory of its own, with the same accounts. All make the same transfers, in rounds that go
    over each in turn; then the balances of each are compared with those of a ledger in plain
    Python. A server has one core and its clients another, where there are two.
    """
    plan = Plan(**flags)
    in_all = (plan.rounds + 1) * plan.transfers
    if in_all > TRANSFERS_MAX:
        raise click.UsageError(f"{in_all:,} transfers in all rounds, of at most {TRANSFERS_MAX:,}")
    machine = describe_machine()
    core, load_core = pick_cores()
    with exit_on_sigterm(), make_scratch() as scratch, ExitStack() as stack:
        settings = Settings(plan.accounts, clients, in_all, core, load_core, scratch, go_binary)
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


def make_report(
    rows: Sequence[Row], missing: Mapping[str, str], machine: str, plan: Plan
) -> dict[str, Any]:
    """Return all that is known, as what JSON can hold."""
    return {
        "machine": machine,
        "plan": asdict(plan),
        "peers": [{**asdict(row), "rate": row.rate} for row in rows],
        "missing": dict(missing),
    }


def format_table(rows: Sequence[Row], missing: Mapping[str, str], machine: str, plan: Plan) -> str:
    """Return the report as Markdown, which can be read as it is too."""
    figures = format_markdown(make_cells(FIGURES, rows))
    meanings = format_markdown(make_cells(MEANINGS, rows), left=len(MEANINGS))
    size = f"{plan.accounts:,} accounts; {plan.rounds} rounds of at most {plan.seconds:g} s each"
    bound = f"and of at most {plan.transfers:,} transfers; seed {plan.seed}"
    said = [f"{machine}.", f"{size}, {bound}."]
    busy = [row.title for row in rows if (row.load_share or 0) > CPU_SHARE_MAX]
    if busy:
        said.append(f"The load may be what limits: {'; '.join(busy)}.")
    checked = sum(row.checked for row in rows)
    said.append(
        f"All balances are right, and so are {checked:,} answers to calls that cannot be paid or"
        " were made before."
    )
    said += [f"{name}: not found; {how}." for name, how in missing.items()]
    return "\n".join([*figures, "", *meanings, "", *said, ""])
