"""The command `ledgercore`: `serve` runs a server, `admin` looks after a directory.

This module owns the flags of `serve`, its exit codes and the lines it prints. It never opens a
ledger: the app does.
"""

import errno
import ipaddress
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

import click

from ledgercore import Engine

from .administration import admin
from .app import LedgerApp, create_app
from .lifecycle import Lifecycle
from .protocol import LedgerProtocol
from .settings import InvalidSetting, Settings, environment_name

BACKLOG = 1024

Body = TypeVar("Body", bound=Callable[..., None])


class SettingRefused(click.ClickException):
    """A setting stops the start, with one line that names it."""

    exit_code = 2

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"--{name.replace('_', '-')}: {message}")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ledgercore")
def main() -> None:
    """Durable, idempotent money transfers: a server, and the tools for its data directory."""


def _setting(name: str, help_text: str, metavar: str | None = None) -> Callable[[Body], Body]:
    """Return the option of one setting. Its value is checked by Settings, in one place."""
    return click.option(
        f"--{name.replace('_', '-')}",
        envvar=environment_name(name),
        default=str(getattr(Settings(), name)),
        show_default=True,
        show_envvar=True,
        help=help_text,
        metavar=metavar,
    )


main.add_command(admin)


@main.command()
@_setting("host", "Address to listen on.")
@_setting("port", "Port to listen on; 0 takes a free one.")
@_setting("data", "Directory of the ledger, made if it is not there.", metavar="DIR")
@_setting("demo_accounts", "Accounts acct-0 ... to open and fund in an empty directory.")
@_setting("demo_funds", "Cents that each of them gets from world.", metavar="CENTS")
@_setting("segments", "Queues, each with its own workers.")
@_setting("workers_min", "Worker threads that each queue has at least.")
@_setting("workers_max", "Worker threads that each queue gets when there is much to do.")
@_setting("queue_size", "Transfers that may wait in each queue; more are refused.")
@_setting("batch_max", "Transfers that one batch may hold.")
@_setting("durability", "sync: an answer means on the disk. memory: no journal.")
@_setting("accounts_max", "Accounts there may be.")
@_setting("keys_max", "Idempotency keys remembered at a time.")
@_setting("keys_reserved", "Keys whose memory is taken at the start; more is taken as needed.")
@_setting("key_ttl_s", "Seconds that a key is remembered at least.")
@_setting("segment_bytes", "Size of a journal file.")
@_setting("snapshot_every", "Journal files between two snapshots; 0 makes none.")
@click.option(
    "--insecure-remote",
    is_flag=True,
    envvar=environment_name("insecure_remote"),
    show_envvar=True,
    help="Listen on an address that others can reach, though nobody is asked who they are.",
)
def serve(insecure_remote: bool, **texts: str) -> None:
    """Serve a ledger over HTTP.

    Prints one line when it is ready. Stops on SIGTERM or SIGINT: answers what is under way, and
    exits with 0. Exits with 1 when the ledger cannot be opened or its journal fails, and with 2
    when a setting is wrong.
    """
    settings = _read_settings(texts)
    if not (insecure_remote or _is_loopback(settings.host)):
        raise SettingRefused(
            "host",
            f"{settings.host} can be reached by others, and this version asks nobody who they are;"
            " --insecure-remote allows it",
        )
    listener = _listen(settings)
    app = create_app(settings)
    lifecycle: Lifecycle = app.ctx.lifecycle
    lifecycle.on_ready = lambda engine: _announce(engine, settings, listener)
    _heed_signals(app)
    app.run(
        sock=listener, backlog=BACKLOG, protocol=LedgerProtocol, single_process=True, motd=False
    )
    sys.exit(0 if lifecycle.failure is None else 1)


def _read_settings(texts: dict[str, str]) -> Settings:
    try:
        return Settings.from_texts(texts)
    except InvalidSetting as error:
        raise SettingRefused(error.name, error.message) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(settings: Settings) -> socket.socket:
    """Take the port before anything else, so that a second server touches no ledger."""
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # From here on the port is taken, whoever else has bound it and not yet listened.
        listener.listen(BACKLOG)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise click.ClickException(f"port {settings.port} of {settings.host} {reason}") from None
    return listener


def _heed_signals(app: LedgerApp) -> None:
    """Lose no signal that comes while the server starts.

    Sanic heeds signals only while its loop runs, and on its way from the port to serving the loop
    stops and runs again. So what Python itself does with a signal is set before, and set once more
    after Sanic has set it to nothing.
    """

    def stop_soon(number: int, frame: FrameType | None) -> None:
        app.ctx.lifecycle.is_stop_wanted = True

    def heed(_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop_soon)

    heed(app)
    app.register_listener(heed, "after_server_start")


def _announce(engine: Engine, settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    note = "" if settings.is_durable else " (no journal: nothing survives this process)"
    numbers = engine.statistics()
    if numbers.recovered_records > 0:
        speed = numbers.recovered_records / numbers.recovery_seconds
        click.echo(
            f"ledgercore: recovered {numbers.recovered_records} records in"
            f" {numbers.recovery_seconds:.3f} s ({speed:,.0f} a second)"
        )
    click.echo(
        f"ledgercore: serving http://{address}:{port} data={settings.data}"
        f" durability={settings.durability}{note} accounts={len(engine.balances)}"
    )
    sys.stdout.flush()
