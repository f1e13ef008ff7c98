"""`python -m bench peers`: the same money moved by others, side by side with ledgercore.

This module owns the flags and the files that are written.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from ..machine import ROOT, describe_machine, make_scratch, pick_cores
from ..options import accounts_option
from .comparison import Plan, compare_peers
from .finding import PEERS, open_peers
from .peer import PeerFailed, Settings
from .table import format_table, make_report

TRANSFERS_MAX = 20_000_000
"""In all rounds of one peer, so that memory and disk suffice."""
GO_HELP = (
    "A program that keeps the contract of the sketch in Go. It is started with `-addr HOST:PORT"
    " -wal FILE -accounts N -procs N`, and has to serve POST /transfer there: {from, to, amount},"
    " the key in Idempotency-Key, between acct-0 ... acct-N-1, which hold 1,000,000 each; 201 means"
    " applied, 422 refused."
)
go_option = click.option(
    "--go",
    "go_binary",
    type=click.Path(exists=True, dir_okay=False, executable=True, path_type=Path),
    help=GO_HELP,
)
"""The flag for the sketch in Go, of every command that puts it beside the service."""


@click.command()
@click.option(
    "--peer",
    "names",
    multiple=True,
    type=click.Choice(list(PEERS)),
    help="Which to compare; more than once for more than one. All of them if none is named.",
)
@go_option
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600, min_open=True),
    default=1.0,
    show_default=True,
    help="A round of one peer ends then, or with its transfers.",
)
@click.option(
    "--transfers",
    type=click.IntRange(1, 1_000_000),
    default=262_144,
    show_default=True,
    help="In a round of one peer, at most.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Rounds over all peers, after one that does not count.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 1000),
    default=64,
    show_default=True,
    help="At a time, each waiting for its answer.",
)
@accounts_option
@click.option("--seed", default=1, show_default=True, help="Of the transfers.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "build" / "peers",
    show_default="build/peers",
    help="Where peers.json and peers.md are written.",
)
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
    plan = Plan(rounds, transfers, seconds, seed)
    machine = describe_machine()
    core, load_core = pick_cores()
    with heed_sigterm(), make_scratch() as scratch, ExitStack() as stack:
        settings = Settings(accounts, clients, in_all, core, load_core, scratch, go_binary)
        try:
            wanted = [name for name in PEERS if name in names or not names]
            peers, missing = open_peers(wanted, settings, stack)
            rows = compare_peers(peers, accounts, plan, lambda what: click.echo(what, err=True))
        except PeerFailed as error:
            raise click.ClickException(str(error)) from error
    report = json.dumps(make_report(rows, missing, machine, plan, accounts), indent=2)
    table = format_table(rows, missing, machine, plan, accounts)
    output.mkdir(parents=True, exist_ok=True)
    (output / "peers.json").write_text(report + "\n")
    (output / "peers.md").write_text(table)
    click.echo(report if as_json else table, nl=as_json)


@contextmanager
def heed_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an error would, so that what it started is ended too."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
