"""The commands `ledgercore admin keys ...`: API keys, changed also while a server runs.

This module owns what these commands print and how they exit. It never knows how a key is made or
kept, and never asks a running server: that one sees the file change.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..access.api_keys import Credential, Scope
from ..access.key_file import (
    FILE_NAME,
    KeyFileError,
    accept_file,
    create_key,
    find_state,
    list_keys,
    read_file,
    revoke_key,
)
from ..access.key_mark import has_mark
from ..settings import InvalidSetting, Settings, environment_name
from .printing import json_option, print_json
from .running_server import print_rows

COLUMNS = ("id", "name", "scope", "signed", "rate", "burst", "quota", "created")

Body = TypeVar("Body", bound=Callable[..., None])


def _file_options(command: Body) -> Body:
    """Give a command the options that say which file it is about, and `--json`."""
    data = click.option(
        "--data",
        envvar=environment_name("data"),
        default=Settings().data,
        show_default=True,
        show_envvar=True,
        metavar="DIR",
        help=f"Directory of the ledger; its keys are in DIR/{FILE_NAME}.",
    )
    keys_file = click.option(
        "--keys-file",
        envvar=environment_name("keys_file"),
        show_envvar=True,
        metavar="FILE",
        help="The file of the keys, where it is elsewhere.",
    )
    return data(keys_file(json_option(command)))


def _find_file(data: str, keys_file: str | None) -> Path:
    """Return the file that is meant. What is on the command line overrules the environment."""
    context = click.get_current_context()
    given = [
        name
        for name in ("data", "keys_file")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if len(given) > 1:
        raise click.UsageError("--data and --keys-file exclude each other")
    if keys_file is not None and given != ["data"]:
        if not keys_file:
            raise click.UsageError("--keys-file: '' is not a name")
        return Path(keys_file)
    try:
        return Path(Settings(data=data).data, FILE_NAME)
    except InvalidSetting as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _report_errors() -> Iterator[None]:
    """Exit with 2 for what can be no key, and with 1 for what the file says or is."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except KeyFileError as error:
        raise click.ClickException(str(error)) from None


@click.group()
def keys() -> None:
    """Create, list and revoke API keys.

    A running server sees the change within a second.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    required=True,
    type=click.Choice([scope.label for scope in Scope]),
    help="What the key allows; each scope includes those before it.",
)
@click.option("--signed", is_flag=True, help="Every request has to be signed, with a secret.")
@click.option("--rate", type=float, help="Requests a second; 0 is no limit.")
@click.option("--burst", type=int, help="Requests that may come at once.")
@click.option("--quota", type=int, help="Minor units a window; 0 is no limit.")
@_file_options
def create(
    name: str,
    scope: str,
    signed: bool,
    data: str,
    keys_file: str | None,
    is_json: bool,
    **limits: Any,
) -> None:
    """Make a key for the client NAME, and print its token.

    Nothing can show the token again. Limits that are not given are the server's. Idempotency keys
    belong to NAME, so to replace a key make another with the same NAME, and revoke the old one by
    its ID.
    """
    path = _find_file(data, keys_file)
    with _report_errors():
        new = create_key(path, name, Scope[scope.upper()], is_signed=signed, **limits)
    told = {
        "id": new.credential.id,
        "name": new.credential.client,
        "scope": new.credential.scope.label,
        "token": new.token,
    }
    if new.secret is not None:
        told["secret"] = new.secret
    (print_json if is_json else print_rows)(told)
    click.echo(f"Keep the token: it is shown this once, and {path} has only its hash.", err=True)
    if new.secret is not None:
        click.echo(
            f"Keep the secret: it is shown this once. {path} has it as it is, since an HMAC cannot"
            " be checked against a hash, so let nobody else read that file or its copies.",
            err=True,
        )


@keys.command("list")
@_file_options
def list_all(data: str, keys_file: str | None, is_json: bool) -> None:
    """List all keys, the oldest first. Neither token nor secret is shown."""
    path = _find_file(data, keys_file)
    with _report_errors():
        credentials = list_keys(path)
        is_there = find_state(path) is not None
        is_marked = not is_there and path.name == FILE_NAME and has_mark(path.parent)
    if is_marked:
        click.echo(f"{path}: it is not there, but was, so no server starts without it", err=True)
    elif not is_there:
        click.echo(f"{path}: there is no such file, so nobody is asked for a key", err=True)
    elif not credentials:
        click.echo(f"{path}: there is no key, so every request is refused", err=True)
    if is_json or credentials:
        _print_keys(credentials, is_json)


def _print_keys(credentials: Sequence[Credential], is_json: bool) -> None:
    if is_json:
        print_json([_make_members(key) for key in credentials])
    else:
        _print_table([COLUMNS, *map(_make_row, credentials)])


def _make_members(key: Credential) -> dict[str, Any]:
    """Return a key as JSON has it. A limit of null is the server's."""
    return {
        "id": key.id,
        "name": key.client,
        "scope": key.scope.label,
        "signed": key.is_signed,
        "rate": key.rate,
        "burst": key.burst,
        "quota": key.quota,
        "created_at": key.created_at,
    }


def _make_row(key: Credential) -> tuple[str, ...]:
    limits = ["-" if limit is None else f"{limit:.15g}" for limit in (key.rate, key.burst)]
    quota = "-" if key.quota is None else str(key.quota)
    signed = "yes" if key.is_signed else "no"
    return key.id, key.client, key.scope.label, signed, *limits, quota, key.created_at


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


@keys.command()
@click.argument("name_or_id", metavar="NAME|ID")
@_file_options
def revoke(name_or_id: str, data: str, keys_file: str | None, is_json: bool) -> None:
    """Revoke the key with this ID, or all keys of the client NAME.

    When the last key goes, the server refuses every request, and after a restart too. For an open
    server remove the file, and start the server with --allow-open.
    """
    path = _find_file(data, keys_file)
    with _report_errors():
        revoked = revoke_key(path, name_or_id)
        is_last = not list_keys(path)
    if is_json:
        print_json({"revoked": revoked})
    else:
        for key_id in revoked:
            click.echo(f"revoked {key_id}")
    if is_last:
        click.echo(f"{path}: no key is left, so every request is refused", err=True)


@keys.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@_file_options
def accept(yes: bool, data: str, keys_file: str | None, is_json: bool) -> None:
    """Take a file of keys that was changed by hand.

    It is shown before. The file has a checksum, so that a damaged one lets nobody in. An editor
    leaves the old one there, and this puts the new one in its place. Do it only where you know what
    was changed.
    """
    path = _find_file(data, keys_file)
    with _report_errors():
        file = read_file(path, is_trusted=True)
        if file is None:
            raise KeyFileError(f"{path}: there is no such file")
        _print_keys(file.credentials, is_json)
        if not yes:
            click.confirm(f"Take these keys as those of {path}?", abort=True, err=True)
        accept_file(path, file.state)
    click.echo(f"{path}: accepted", err=True)
