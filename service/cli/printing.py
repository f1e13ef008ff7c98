"""The output of the commands of `ledgercore admin`: lines, or JSON.

This module owns the flag for JSON and its form: one value, on stdout, and nothing else there. What
is said besides, and every error, is on stderr in both forms, and the exit code is the same.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
import msgspec

Body = TypeVar("Body", bound=Callable[..., None])


def json_option(command: Body) -> Body:
    """Give a command the flag `--json`, as `is_json`."""
    return click.option(
        "--json", "is_json", is_flag=True, help="Print one JSON value, for programs."
    )(command)


def print_json(value: Any) -> None:
    """Print a value, which may be a dataclass or hold some."""
    click.echo(msgspec.json.encode(value))


def print_json_array(values: Iterable[Any]) -> None:
    """Print values as one array, without holding all of them at once."""
    before = b"["
    for value in values:
        click.echo(before + msgspec.json.encode(value), nl=False)
        before = b",\n"
    click.echo(b"]" if before != b"[" else b"[]")
