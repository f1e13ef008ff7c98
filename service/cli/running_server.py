"""What the commands share that ask a running server: which one, by which key, and what it says.

This module owns the options, the request, and how a command exits: 1 when the server cannot be
asked or says no. It knows no address and no range of any value; commands and the server do.
"""

import os
from collections.abc import Mapping
from typing import Any

import click
import httpx

from ledgercore.client.loopback import make_options

from .printing import json_option

TIMEOUT_S = 10.0
KEY_VARIABLE = "LEDGERCORE_CLIENT_KEY"


def server_options(command: Any) -> Any:
    """Give a command the options that say which server, and by which key it is asked; and `--json`.

    What it prints as JSON is what the server says.
    """
    url = click.option(
        "--url",
        default="http://127.0.0.1:8000",
        show_default=True,
        metavar="URL",
        help="Address of the server.",
    )
    key_env = click.option(
        "--key-env",
        default=KEY_VARIABLE,
        show_default=True,
        metavar="NAME",
        # On the command line everybody on the machine could read it.
        help="Variable of the environment that holds the API key, which has the scope admin.",
    )
    return url(key_env(json_option(command)))


def ask_server(
    url: str, key_env: str, method: str, path: str, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the object that a server answers with. Raises ClickException, of one line."""
    key = os.environ.get(key_env)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.request(
            method,
            url.rstrip("/") + path,
            json=body,
            headers=headers,
            timeout=TIMEOUT_S,
            **make_options(url),
        )
        told = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise click.ClickException(f"{url} cannot be asked: {error}") from None
    if answer.is_success and isinstance(told, dict):
        return told
    raise click.ClickException(_explain(answer.status_code, told))


def _explain(status: int, told: Any) -> str:
    """Return in one line why a server has refused a request."""
    problem = told if isinstance(told, dict) else {}
    detail = problem.get("detail", "the answer is none of a ledgercore server")
    faults = [
        f"{fault.get('pointer', '').lstrip('/') or 'all'}: {str(fault.get('detail')).rstrip('.')}"
        for fault in problem.get("errors", [])
    ]
    return f"{status}: {'; '.join(faults) or detail}"


def pick_given(values: Mapping[str, int | None], what: str) -> dict[str, int]:
    """Return the values that were given. Raises UsageError where none was, which exits with 2."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise click.UsageError(f"no {what} is given")
    return given


def print_rows(told: Mapping[str, Any]) -> None:
    """Print names and values, one pair a line."""
    width = max(map(len, told), default=0)
    for name, value in told.items():
        click.echo(f"{name.ljust(width)}  {value}")


def join_members(members: Mapping[str, Any]) -> str:
    """Return names and values in one line."""
    return "  ".join(f"{name}={value}" for name, value in members.items() if value is not None)
