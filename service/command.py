"""The command `ledgercore`: `serve` runs a server, `admin` looks after a directory.

This module owns the flags of `serve`, its exit codes and the lines it prints. It never opens a
ledger: the app does.
"""

import errno
import ipaddress
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

import click

from ledgercore import Engine, __version__

from .administration import admin
from .app import LedgerApp, create_app
from .chaos import InvalidPlan, check_segments, load_plan
from .collector import UnusableCollector, parse_address, read_headers
from .credentials import KeyFileError
from .lifecycle import Lifecycle
from .milestones import tell_started
from .open_mode import check_access
from .settings import InvalidSetting, Settings, environment_name
from .span_encoding import MissingPackage, SpanEncoder

BACKLOG = 1024

Body = TypeVar("Body", bound=Callable[..., None])


class SettingRefused(click.ClickException):
    """A setting stops the start, with one line that names it."""

    exit_code = 2

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"--{name.replace('_', '-')}: {message}")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
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


def _switch(name: str, help_text: str) -> Callable[[Body], Body]:
    """Return the option of a setting that is on where it is named, and otherwise off."""
    return click.option(
        f"--{name.replace('_', '-')}",
        envvar=environment_name(name),
        is_flag=True,
        show_envvar=True,
        help=help_text,
        # In the environment it may be spelled in many ways, and what is none of them is an error.
        callback=lambda context, option, is_on: str(int(is_on)),
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
@_setting(
    "keys_max",
    "Idempotency keys held at most, up to 200 bytes each. A key is held for one to two times"
    " --key-ttl-s, so this is twice as many as come in that time.",
)
@_setting("keys_reserved", "Keys whose memory is taken at the start; more is taken as needed.")
@_setting("key_ttl_s", "Seconds that a key is remembered at least.")
@_setting("segment_bytes", "Size of a journal file.")
@_setting("snapshot_every", "Journal files between two snapshots; 0 makes none.")
@_setting("scrub_interval_s", "Seconds between two readings of all that is sealed; 0: never.")
@_setting("scrub_bytes_per_s", "Bytes a second that such a reading takes at most.")
@_setting("instruments", "1: count and time what the server does. 0: see what that costs.")
@_setting("keys_file", "File of the API keys.  [default: DIR/api-keys.json]", metavar="FILE")
@_switch("require_keys", "Do not start without a file of API keys.")
@_switch("allow_open", "Start without API keys though this ledger has had some.")
@_setting("client_rate", "Requests a second that each client may send; 0 is any number.")
@_setting("client_burst", "How many of them may come at once; 0 is those of one second.")
@_setting("client_quota", "Minor units that each client may move in a window; 0 is any sum.")
@_setting("quota_window_s", "Seconds of such a window; a restart ends it.")
@_setting("global_rate", "Requests a second of all clients together; 0 is any number.")
@_setting("global_burst", "How many of them may come at once; 0 is those of one second.")
@_setting("request_deadline_ms", "Milliseconds within which a transfer is taken, or never; 0: any.")
@_setting("target_p99_ms", "Milliseconds that 99 % of the answers are held to; 0: no such limit.")
@_setting("inflight_min", "Transfers in flight that are let in, however slow they are.")
@_setting("inflight_max", "Transfers in flight that are let in at most, with --target-p99-ms.")
@_setting("connections_max", "Connections that may be open; more are closed at once.")
@click.option(
    "--allow-host",
    envvar=environment_name("allow_host"),
    multiple=True,
    callback=lambda _context, _option, names: ",".join(names),
    show_envvar=True,
    metavar="NAME",
    help="Name to answer to besides those of this machine; may be given again. Without API keys"
    " no other name is answered to; with them any, unless this is given.",
)
@_setting("tls_cert", "Certificate chain to serve TLS with, PEM.", metavar="FILE")
@_setting("tls_key", "Private key of the certificate, PEM.", metavar="FILE")
@_setting("integers", "number: as JSON numbers in answers. string: for clients that end at 2^53.")
@_setting("slow_request_ms", "Milliseconds from which a request is logged as slow; 0: never.")
@_setting("log_interval_s", "Seconds between two lines about queues and workers; 0: none.")
@_setting("otlp", "Collector of traces, by OTLP over HTTP.", metavar="URL")
@_setting("traces_per_million", "Requests of a million that are traced by chance.")
@_switch(
    "accept_clock",
    "Believe the clock, though it is a day or more behind what was logged, or was set ahead.",
)
@_switch("allow_chaos", "Let things go wrong on purpose, by --chaos or over HTTP.")
@_setting("chaos", "Plan of what is to go wrong, JSON; needs --allow-chaos.", metavar="FILE")
def serve(**texts: str) -> None:
    """Serve a ledger over HTTP.

    Prints one line when it is ready. Stops on SIGTERM or SIGINT: answers what is under way, and
    exits with 0. Exits with 1 when the ledger cannot be opened or its journal fails, and with 2
    when a setting is wrong.
    """
    settings = _read_settings(texts)
    _check_keys(settings)
    _check_chaos(settings)
    _check_collector(settings)
    listener = _listen(settings)
    app = create_app(settings)
    lifecycle: Lifecycle = app.ctx.lifecycle
    lifecycle.on_ready = lambda engine: _announce(lifecycle, engine, listener)
    _heed_signals(app)
    app.run(
        sock=listener,
        backlog=BACKLOG,
        single_process=True,
        motd=False,
        ssl=_read_certificate(settings),
    )
    sys.exit(0 if lifecycle.failure is None else 1)


def _read_settings(texts: dict[str, str]) -> Settings:
    try:
        return Settings.from_texts(texts)
    except InvalidSetting as error:
        raise SettingRefused(error.name, error.message) from None


def _read_certificate(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingRefused("tls_cert", f"cannot be used: {error}") from None
    return context


def _check_keys(settings: Settings) -> None:
    """Let nobody serve others without keys."""
    try:
        keys = check_access(settings)
    except InvalidSetting as error:
        raise SettingRefused(error.name, error.message) from None
    except KeyFileError as error:
        raise click.ClickException(str(error)) from None
    if keys.is_empty and not _is_loopback(settings.host):
        raise SettingRefused(
            "host",
            f"{settings.host} can be reached by others, and there are no API keys to tell them"
            " apart by; `ledgercore admin keys create` makes one",
        )


def _check_chaos(settings: Settings) -> None:
    """Read the plan once before anything else, so that a wrong one touches no ledger."""
    try:
        if settings.chaos:
            check_segments(load_plan(Path(settings.chaos)), settings.segments)
    except InvalidPlan as error:
        raise SettingRefused("chaos", str(error)) from None


def _check_collector(settings: Settings) -> None:
    """Say at once where traces cannot go, or that what sends them is not installed."""
    try:
        if settings.otlp:
            parse_address(settings.otlp)
            read_headers()
            SpanEncoder("ledgercore")
    except (UnusableCollector, MissingPackage) as error:
        raise SettingRefused("otlp", str(error)) from None


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


def _announce(lifecycle: Lifecycle, engine: Engine, listener: socket.socket) -> None:
    settings = lifecycle.settings
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
    if lifecycle.admission.is_open:
        click.echo("ledgercore: no API keys: everybody on this machine may do everything")
    scheme = "https" if settings.tls_cert else "http"
    click.echo(
        f"ledgercore: serving {scheme}://{address}:{port} data={settings.data}"
        f" durability={settings.durability}{note} accounts={len(engine.balances)}"
    )
    sys.stdout.flush()
    tell_started(settings, f"{scheme}://{address}:{port}")
