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

from ledgercore import DURABILITIES, __version__

from ..access.key_ring import KeyFileError
from ..app import create_app
from ..chaos.plan import InvalidPlan, check_segments, load_plan
from ..http.certificates import read_certificate
from ..http.listeners import CannotListen, is_loopback, listen
from ..process.signals import SIGNALS
from ..runtime.lifecycle import Lifecycle
from ..runtime.open_mode import check_access
from ..server import Server
from ..settings import (
    INTEGER_FORMS,
    RANGES,
    InvalidSetting,
    Settings,
    describe,
    environment_name,
    flag_name,
    is_of_cluster,
)
from ..telemetry.collector import UnusableCollector, parse_address, read_headers
from ..telemetry.lifecycle_log import log_ignored
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
    """An option whose environment variable is ignored where a cluster has set it."""

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
    name: str, metavar: str | None = None, default: str | None = None, meaning: str | None = None
) -> Callable[[Body], Body]:
    """Return the option of one setting. Its value is checked by Settings, in one place.

    The help shows `default` where the setting is empty by default and that means something, and
    `meaning` where the setting means more to a server than to a ledger.
    """
    value = str(getattr(Settings(), name))
    return click.option(
        flag_name(name),
        cls=_SettingOption,
        envvar=environment_name(name),
        default=value,
        show_default=default or value != "",
        show_envvar=True,
        help=meaning or describe(name),
        # Its text is read by Settings, so click knows of no number.
        metavar=metavar or ("INTEGER" if name in RANGES else None),
    )


def _switch(name: str) -> Callable[[Body], Body]:
    """Return the option of a setting that is on where it is named, and otherwise off."""
    return click.option(
        flag_name(name),
        envvar=environment_name(name),
        is_flag=True,
        show_envvar=True,
        help=describe(name),
        # In the environment it may be spelled in many ways, and what is none of them is an error.
        callback=lambda context, option, is_on: str(int(is_on)),
    )


main.add_command(admin)


@main.command()
@_setting("host", metavar="ADDRESS")
@_setting("port")
@_setting("data", metavar="DIR")
@_setting("demo_accounts")
@_setting("demo_funds", metavar="CENTS")
@_setting("segments")
@_setting("workers_min")
@_setting("workers_max")
@_setting("queue_size")
@_setting("batch_max")
@_setting("durability", metavar="|".join(DURABILITIES))
@_setting("accounts_max")
@_setting("keys_max")
@_setting("keys_reserved")
@_setting("key_ttl_s")
@_setting("segment_bytes")
@_setting("snapshot_every")
@_setting("scrub_interval_s")
@_setting("scrub_bytes_per_s")
@_setting("instruments", meaning="1: count and time what the server does. 0: do neither.")
@_setting("keys_file", metavar="FILE", default="DIR/api-keys.json")
@_setting("base_path", metavar="PATH")
@_switch("require_keys")
@_switch("allow_open")
@_setting("client_rate")
@_setting("client_burst")
@_setting("client_quota")
@_setting("quota_window_s")
@_setting("global_rate")
@_setting("global_burst")
@_setting("request_deadline_ms")
@_setting("target_p99_ms")
@_setting("inflight_min")
@_setting("inflight_max")
@_setting("connections_max")
@click.option(
    "--allow-host",
    envvar=environment_name("allow_host"),
    multiple=True,
    callback=lambda _context, _option, names: ",".join(names),
    show_envvar=True,
    metavar="NAME",
    help=describe("allow_host"),
)
@_setting("keep_alive_s")
@_setting("drain_s")
@_setting("tls_cert", metavar="FILE")
@_setting("tls_key", metavar="FILE")
@_setting("integers", metavar="|".join(INTEGER_FORMS))
@_setting("slow_request_ms")
@_setting("log_interval_s")
@_setting("otlp", metavar="URL")
@_setting("traces_per_million")
@_switch("accept_clock")
@_switch("allow_chaos")
@_setting("chaos", metavar="FILE")
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
        log_ignored(variable, text)
    lifecycle: Lifecycle = app.ctx.lifecycle
    lifecycle.on_ready = lambda engine: announce(lifecycle, engine, listeners)
    SIGNALS.install()
    try:
        server = Server(app, listeners, partial(read_certificate, settings), SIGNALS)
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
    """Raise SettingRefused where other machines would be served without keys."""
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
    """Raise SettingRefused where traces cannot be exported."""
    try:
        if settings.otlp:
            parse_address(settings.otlp)
            read_headers()
            SpanEncoder("ledgercore")
    except (UnusableCollector, MissingPackage) as error:
        raise SettingRefused("otlp", str(error)) from None


def _listen(settings: Settings) -> list[socket.socket]:
    """Bind the port before anything else, so that a second server touches no ledger."""
    try:
        return listen(settings.host, settings.port)
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
