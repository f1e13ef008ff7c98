"""The command `ledgercore`: `serve` runs a server, `admin` looks after a directory.

This module owns the flags of `serve`, its exit codes and the lines it prints. It never opens a
ledger: the app does.
"""

import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

from ledgercore import __version__

from ..access.key_ring import KeyFileError
from ..app import create_app
from ..chaos.plan import InvalidPlan, check_segments, load_plan
from ..http.certificates import read_certificate
from ..http.listeners import CannotListen, is_loopback, listen
from ..process.signals import ORDERS
from ..runtime.lifecycle import Lifecycle
from ..runtime.open_mode import check_access
from ..server import Server
from ..settings import (
    RANGES,
    InvalidSetting,
    Settings,
    environment_name,
    flag_name,
    is_of_cluster,
)
from ..telemetry.collector import UnusableCollector, parse_address, read_headers
from ..telemetry.milestones import tell_ignored
from ..telemetry.span_encoding import MissingPackage, SpanEncoder
from .offline import admin
from .ready_lines import announce

IGNORED = f"{__name__}.ignored"
"""Where a context has the variables of the environment that were ignored, with their values."""

Body = TypeVar("Body", bound=Callable[..., None])


class SettingRefused(click.ClickException):
    """A setting stops the start, with one line that names it."""

    exit_code = 2

    def __init__(self, name: str, message: str) -> None:
        source = click.get_current_context().get_parameter_source(name)
        is_variable = source is ParameterSource.ENVIRONMENT
        spelled = environment_name(name) if is_variable else flag_name(name)
        super().__init__(f"{spelled}: {message}")


class _SettingOption(click.Option):
    """An option whose variable may be somebody else's, and is ignored then."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        text = super().resolve_envvar_value(ctx)
        if text is None or not is_of_cluster(text):
            return text
        ctx.meta.setdefault(IGNORED, {})[str(self.envvar)] = text
        return None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Durable, idempotent money transfers: a server, and the tools for its data directory."""


def _setting(
    name: str, help_text: str, metavar: str | None = None, default: str | None = None
) -> Callable[[Body], Body]:
    """Return the option of one setting. Its value is checked by Settings, in one place.

    The help shows `default` where the setting is empty by default and that means something.
    """
    value = str(getattr(Settings(), name))
    return click.option(
        flag_name(name),
        cls=_SettingOption,
        envvar=environment_name(name),
        default=value,
        show_default=default or value != "",
        show_envvar=True,
        help=help_text,
        # Its text is read by Settings, so click knows of no number.
        metavar=metavar or ("INTEGER" if name in RANGES else None),
    )


def _switch(name: str, help_text: str) -> Callable[[Body], Body]:
    """Return the option of a setting that is on where it is named, and otherwise off."""
    return click.option(
        flag_name(name),
        envvar=environment_name(name),
        is_flag=True,
        show_envvar=True,
        help=help_text,
        # In the environment it may be spelled in many ways, and what is none of them is an error.
        callback=lambda context, option, is_on: str(int(is_on)),
    )


main.add_command(admin)


@main.command()
@_setting("host", "Address to listen on.", metavar="ADDRESS")
@_setting("port", "Port to listen on; 0 takes a free one.")
@_setting("data", "Directory of the ledger, made if it is not there.", metavar="DIR")
@_setting("demo_accounts", "Accounts acct-0 ... to open and fund in an empty directory.")
@_setting("demo_funds", "Cents that each of them gets from world.", metavar="CENTS")
@_setting("segments", "Queues, each with its own workers.")
@_setting("workers_min", "Worker threads that each queue has at least.")
@_setting("workers_max", "Worker threads that each queue gets when there is much to do.")
@_setting("queue_size", "Transfers that may wait in each queue; more are refused.")
@_setting("batch_max", "Transfers that one batch may hold.")
@_setting(
    "durability", "sync: an answer means on the disk. memory: no journal.", metavar="sync|memory"
)
@_setting("accounts_max", "Accounts there may be.")
@_setting(
    "keys_max",
    "Idempotency keys held at most, up to 200 bytes each. A key is held for one to two times"
    " --key-ttl-s, so this is twice as many as come in that time.",
)
@_setting("keys_reserved", "Keys whose memory is taken at the start; more is taken as needed.")
@_setting("key_ttl_s", "Seconds that a key is remembered at least.")
@_setting("segment_bytes", "Bytes of a journal file.")
@_setting(
    "snapshot_every",
    "Journal files between two snapshots, each by a process with tables of its own; 0 is none.",
)
@_setting("scrub_interval_s", "Seconds between two readings of all that is sealed; 0: never.")
@_setting("scrub_bytes_per_s", "Bytes a second that such a reading takes at most.")
@_setting("instruments", "1: count and time what the server does. 0: do neither.")
@_setting("keys_file", "File of the API keys.", metavar="FILE", default="DIR/api-keys.json")
@_setting("base_path", "Path under which a proxy serves this; needs API keys.", metavar="PATH")
@_switch("require_keys", "Do not start without a file of API keys.")
@_switch("allow_open", "Start without API keys though this ledger has had some.")
@_setting("client_rate", "Requests a second that each client may send; 0 is any number.")
@_setting("client_burst", "How many of them may come at once; 0 is those of one second.")
@_setting("client_quota", "Minor units that each client may move in a window; 0 is any sum.")
@_setting("quota_window_s", "Seconds of such a window; a restart ends it.")
@_setting("global_rate", "Requests a second of all clients together; 0 is any number.")
@_setting("global_burst", "How many of them may come at once; 0 is those of one second.")
@_setting(
    "request_deadline_ms", "Milliseconds within which a transfer is taken, or not at all; 0: any."
)
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
@_setting("keep_alive_s", "Seconds that a connection may be idle between two requests.")
@_setting("drain_s", "Seconds of /readyz 503 before a stop, while requests are still taken.")
@_setting("tls_cert", "Certificate chain to serve TLS with, PEM.", metavar="FILE")
@_setting("tls_key", "Private key of the certificate, PEM.", metavar="FILE")
@_setting(
    "integers",
    "Form of integers in answers; string: for clients whose numbers end at 2^53.",
    metavar="number|string",
)
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

    Prints one line when it is ready. Stops on SIGTERM or SIGINT, after --drain-s: answers what is
    under way, and exits with 0; a second signal ends --drain-s. Reads the certificate and the keys
    again on SIGHUP. Exits with 1 when the ledger cannot be opened or its journal fails, and with 2
    when a setting is wrong.
    """
    settings = _read_settings(texts)
    _check_keys(settings)
    _check_chaos(settings)
    _check_collector(settings)
    listeners = _listen(settings)
    app = create_app(settings)
    for variable, text in click.get_current_context().meta.get(IGNORED, {}).items():
        tell_ignored(variable, text)
    lifecycle: Lifecycle = app.ctx.lifecycle
    lifecycle.on_ready = lambda engine: announce(lifecycle, engine, listeners)
    ORDERS.heed()
    try:
        server = Server(app, listeners, partial(read_certificate, settings), ORDERS)
    except InvalidSetting as error:
        raise SettingRefused(error.name, error.message) from None
    server.run()
    sys.exit(0 if lifecycle.failure is None else 1)


def _read_settings(texts: dict[str, str]) -> Settings:
    try:
        return Settings.from_texts(texts)
    except InvalidSetting as error:
        raise SettingRefused(error.name, error.message) from None


def _check_keys(settings: Settings) -> None:
    """Let nobody serve others without keys."""
    try:
        keys = check_access(settings)
    except InvalidSetting as error:
        raise SettingRefused(error.name, error.message) from None
    except KeyFileError as error:
        raise click.ClickException(str(error)) from None
    if keys.is_empty and not is_loopback(settings.host):
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


def _listen(settings: Settings) -> list[socket.socket]:
    """Take the port before anything else, so that a second server touches no ledger."""
    try:
        return listen(settings.host, settings.port)
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
