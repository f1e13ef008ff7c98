"""The commands `ledgercore admin limits ...`: the limits of a running server, asked over HTTP.

This module owns what these commands print and how they exit: 1 when the server cannot be asked or
says no, 2 for a wrong flag. It knows no limit's range; the server does.
"""

import os
from typing import Any

import click
import httpx

TIMEOUT_S = 10.0
PATH = "/admin/limits"
KEY_VARIABLE = "LEDGERCORE_CLIENT_KEY"

LIMITS = {
    "client-rate": "Requests a second that each client may send; 0 is any number.",
    "client-burst": "How many of them may come at once; 0 is those of one second.",
    "client-quota": "Minor units that each client may move in a window; 0 is any sum.",
    "quota-window-s": "Seconds of such a window.",
    "global-rate": "Requests a second of all clients together; 0 is any number.",
    "global-burst": "How many of them may come at once; 0 is those of one second.",
    "request-deadline-ms": "Milliseconds within which a transfer is taken, or never; 0: any.",
    "target-p99-ms": "Milliseconds that 99 % of the answers are held to; 0: no such limit.",
    "inflight-min": "Transfers in flight that are let in, however slow they are.",
    "inflight-max": "Transfers in flight that are let in at most.",
}


@click.group()
def limits() -> None:
    """Show and change the limits of a running server, until it stops."""


def _server_options(command: Any) -> Any:
    """Give a command the options that say which server, and by which key it is asked."""
    url = click.option(
        "--url", default="http://127.0.0.1:8000", show_default=True, help="Address of the server."
    )
    key_env = click.option(
        "--key-env",
        default=KEY_VARIABLE,
        show_default=True,
        metavar="NAME",
        # On the command line everybody on the machine could read it.
        help="Variable of the environment that holds the API key, which has the scope admin.",
    )
    return url(key_env(command))


@limits.command()
@_server_options
def show(url: str, key_env: str) -> None:
    """Print the limits in force."""
    _print_limits(_ask(url, key_env, "GET"))


@limits.command("set")
@_server_options
def change(url: str, key_env: str, **values: int | None) -> None:
    """Change the limits that are given, and print all of them."""
    wanted = {name: value for name, value in values.items() if value is not None}
    if not wanted:
        raise click.UsageError("no limit is given")
    _print_limits(_ask(url, key_env, "PATCH", wanted))


for _name, _help in reversed(LIMITS.items()):
    click.option(f"--{_name}", type=int, metavar="N", help=_help)(change)


def _ask(url: str, key_env: str, method: str, body: dict[str, int] | None = None) -> Any:
    key = os.environ.get(key_env)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.request(
            method, url.rstrip("/") + PATH, json=body, headers=headers, timeout=TIMEOUT_S
        )
        told = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise click.ClickException(f"{url} cannot be asked: {error}") from None
    if answer.is_success and isinstance(told, dict):
        return told
    raise click.ClickException(_explain(answer.status_code, told))


def _explain(status: int, told: Any) -> str:
    """Return in one line why a server says no."""
    problem = told if isinstance(told, dict) else {}
    detail = problem.get("detail", "the answer is none of a ledgercore server")
    faults = [
        f"{fault.get('pointer', '').lstrip('/') or 'all'}: {fault.get('detail')}"
        for fault in problem.get("errors", [])
    ]
    return f"{status}: {'; '.join(faults) or detail}"


def _print_limits(told: dict[str, Any]) -> None:
    width = max(map(len, told))
    for name, value in told.items():
        click.echo(f"{name.ljust(width)}  {value}")
