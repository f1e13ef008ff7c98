"""The commands `ledgercore admin ...`: looking after a data directory that nobody serves.

This module owns what these commands print and how they exit. It never reads a file of the
directory itself, and never works beside a running server: the engine's lock sees to that. Only four
groups, modules of their own, differ: `keys` has another file and another lock, and `limits`,
`workers` and `chaos` ask a running server.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click

import ledgercore
from ledgercore import Account, Engine, Inspection, LedgerError, Verification

from .chaos import chaos
from .keys import keys
from .limits import limits
from .printing import json_option, print_json, print_json_array
from .running_server import join_members
from .workers import workers

PAGE = 1000

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

directory_argument = click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
account_argument = click.argument("account_id", metavar="ACCOUNT")


class Limit(click.ParamType[int | None]):
    """A floor or a ceiling: minor units, or `none` for no limit."""

    name = "minor units|none"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        """Return the limit that a text stands for."""
        if value == "none" or value is None:
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor none", parameter, context)


def report_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Turn an error of the ledger into one line on stderr and exit code 1."""

    @wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return command(*arguments, **options)
        except LedgerError as error:
            raise click.ClickException(str(error)) from None

    return run


@click.group()
def admin() -> None:
    """Look after a data directory, or a running server.

    `limits`, `workers` and `chaos` ask a server, and `keys` is for either. The others are for a
    directory that no server holds.
    """


for _group in (keys, limits, workers, chaos):
    admin.add_command(_group)


# -- the journal -----------------------------------------------------------------------------


@admin.command()
@directory_argument
@json_option
@report_errors
def verify(directory: str, is_json: bool) -> None:
    """Replay everything in DIR and check every invariant.

    Prints what was counted and how fast. Exits with 1, and says why, when something is wrong.
    """
    with _show_progress("verifying") as progress:
        verification = ledgercore.verify(directory, progress)
    if is_json:
        print_json({"ok": not verification.violations} | asdict(verification))
    else:
        _print_verification(verification)
    if verification.violations:
        raise click.ClickException("\n".join(verification.violations))
    if not is_json:
        click.echo("ok")


@contextmanager
def _show_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback that draws a progress bar, or nothing where stderr is no terminal."""
    with click.progressbar(
        length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def advance(done_bytes: int, total_bytes: int) -> None:
            bar.length = max(total_bytes, 1)
            bar.update(done_bytes - bar.pos)

        yield advance


def _print_verification(verification: Verification) -> None:
    click.echo(f"accounts   {verification.accounts:>15,}")
    click.echo(f"transfers  {verification.transfers:>15,}")
    click.echo(f"refusals   {verification.refusals:>15,}")
    click.echo(f"keys       {verification.keys:>15,}")
    click.echo(f"last LSN   {verification.lsn:>15,}")
    click.echo(f"records    {verification.records:>15,}")
    click.echo(f"seconds    {verification.seconds:>15,.3f}")
    click.echo(f"records/s  {verification.records_per_second:>15,.0f}")
    if verification.torn_bytes:
        click.echo(
            f"torn bytes {verification.torn_bytes:>15,} after the last frame, never answered"
        )
    for asset, total in sorted(verification.sums.items()):
        click.echo(f"sum of {asset}: {total}")


@admin.command()
@directory_argument
@json_option
@report_errors
def inspect(directory: str, is_json: bool) -> None:
    """Show the segments, frames, seal and snapshots of DIR. Changes nothing."""
    inspection = _inspect_ledger(directory)
    if is_json:
        print_json(inspection)
        return
    click.echo(f"ledger {inspection.ledger_id}")
    if inspection.seal is None:
        click.echo("seal: none")
    else:
        click.echo("seal: " + join_members(inspection.seal))
    _print_rows("segments", inspection.segments)
    _print_rows("snapshots", inspection.snapshots)


def _inspect_ledger(directory: str) -> Inspection:
    inspection = ledgercore.inspect(directory)
    if inspection.seal is None and not inspection.segments:
        raise click.ClickException(f"{directory}: there is no ledger here")
    return inspection


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    click.echo(f"{title}: {len(rows)}")
    for row in rows:
        click.echo("  " + join_members(row))


@admin.command()
@directory_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--cut-below-snapshot",
    is_flag=True,
    help="Cut also where a snapshot still holds what came of the damaged file.",
)
@json_option
@report_errors
def repair(directory: str, yes: bool, cut_below_snapshot: bool, is_json: bool) -> None:
    """Cut a damaged journal in DIR back to its last sound frame.

    Transfers that were answered may be lost by this, so restore a copy where there is one. The
    damaged file is kept beside the journal. Where a snapshot still holds what came of the damaged
    file, a cut would lose all that came later, and is made only with --cut-below-snapshot.
    """
    if not yes:
        click.confirm(f"Cut the journal of {directory} where it is damaged?", abort=True, err=True)
    result = ledgercore.repair(directory, cut_below_snapshot=cut_below_snapshot)
    if is_json:
        print_json(result)
        return
    click.echo(result.action)
    if result.kept_as is not None:
        click.echo(f"{result.file}: the damaged file is kept as {result.kept_as}")
    if result.kept_as is not None or result.lsns_lost:
        click.echo(f"last LSN {result.lsn_last}, lost {result.lsns_lost}")


@admin.command()
@directory_argument
@json_option
@report_errors
def compact(directory: str, is_json: bool) -> None:
    """Make a snapshot of DIR, so that the next start reads less.

    It is made from the sealed segments. Prints its path.
    """
    snapshot = ledgercore.compact(directory)
    if is_json:
        print_json({"snapshot": None if snapshot is None else str(snapshot)})
        return
    click.echo("nothing to compact" if snapshot is None else f"snapshot {snapshot}")


# -- accounts --------------------------------------------------------------------------------


@admin.group()
def accounts() -> None:
    """List, show, open and change accounts."""


def _open_existing(directory: str) -> Engine:
    # The engine would make a directory that is not there, and a mistyped name must not.
    _inspect_ledger(directory)
    return ledgercore.open(directory)


def _list_accounts(engine: Engine) -> Iterator[Account]:
    start = 0
    while page := engine.accounts(start, PAGE):
        yield from page
        start += len(page)


def _print_account(account: Account, is_json: bool) -> None:
    if is_json:
        print_json(account)
        return
    floor = "none" if account.floor is None else account.floor
    ceiling = "none" if account.ceiling is None else account.ceiling
    frozen = "  frozen" if account.frozen else ""
    click.echo(
        f"{account.id}  {account.asset}  balance={account.balance}"
        f"  floor={floor}  ceiling={ceiling}{frozen}"
    )


@accounts.command("list")
@directory_argument
@json_option
@report_errors
def list_accounts(directory: str, is_json: bool) -> None:
    """List all accounts of DIR in the order in which they were opened."""
    with _open_existing(directory) as engine:
        if is_json:
            print_json_array(_list_accounts(engine))
            return
        for account in _list_accounts(engine):
            _print_account(account, is_json)


@accounts.command("show")
@directory_argument
@account_argument
@json_option
@report_errors
def show_account(directory: str, account_id: str, is_json: bool) -> None:
    """Show one account of DIR."""
    with _open_existing(directory) as engine:
        _print_account(engine.account(account_id), is_json)


@accounts.command("open")
@directory_argument
@account_argument
@click.option("--asset", required=True, help="What the account holds, such as USD/2.")
@click.option("--floor", type=Limit(), default=0, show_default=True, help="Lowest balance.")
@click.option("--ceiling", type=Limit(), default="none", show_default=True, help="Highest balance.")
@click.option("--frozen", is_flag=True, help="Open it frozen.")
@json_option
@report_errors
def open_account(
    directory: str,
    account_id: str,
    asset: str,
    floor: int | None,
    ceiling: int | None,
    frozen: bool,
    is_json: bool,
) -> None:
    """Open an account in DIR, which is made if it is not there."""
    with ledgercore.open(directory) as engine:
        opened = engine.open_account(
            account_id, asset=asset, floor=floor, ceiling=ceiling, frozen=frozen
        )
        _print_account(opened, is_json)


@accounts.command("change")
@directory_argument
@account_argument
@click.option("--floor", type=Limit(), help="New lowest balance.")
@click.option("--ceiling", type=Limit(), help="New highest balance.")
@click.option("--frozen/--not-frozen", default=None, help="Freeze it, or let it move again.")
@json_option
@click.pass_context
@report_errors
def change_account(
    context: click.Context,
    /,
    directory: str,
    account_id: str,
    is_json: bool,
    **settings: int | bool | None,
) -> None:
    """Change settings of an account in DIR; the others stay."""
    given = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if not given:
        raise click.UsageError("nothing to change is given")
    with _open_existing(directory) as engine:
        changed = engine.change_account(account_id, **given)  # type: ignore[arg-type]
        _print_account(changed, is_json)
