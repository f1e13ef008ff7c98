"""The settings of a server: one frozen value, checked in one place.

This module owns the names, defaults, ranges and meanings of all settings, and how they are read
from the environment. Those of the ledger are the engine's own options. It never opens, creates or
reads anything else.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ledgercore import AMOUNT_MAX, DURABILITIES, Options, option

from .access.api_keys import BURST_MAX, RATE_MAX
from .access.hosts import read_names
from .access.key_file import FILE_NAME

INTEGER_FORMS = ("number", "string")

# Of what no two programs on the way spell differently, and without an end that might be taken off.
_match_base_path = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+").fullmatch


class InvalidSetting(ValueError):
    """A setting is outside its range. The message is one line that names it.

    It names the flag, unless the setting was `spelled` in another way.
    """

    def __init__(self, name: str, message: str, spelled: str = "") -> None:
        super().__init__(f"{spelled or flag_name(name)}: {message}")
        self.name = name
        self.message = message


@dataclass(frozen=True, slots=True)
class Settings(Options):
    """The settings of one server. They are checked when made, raising InvalidSetting."""

    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(8000, "Port to listen on; 0 takes a free one.", 0, 65_535)
    data: str = option("data", "Directory of the ledger, made if it is not there.")
    demo_accounts: int = option(
        0, "Accounts acct-0 ... to open and fund in an empty directory.", 0, 100_000_000
    )
    demo_funds: int = option(100_000_000, "Cents that each of them gets from world.", 0, AMOUNT_MAX)
    keys_file: str = option("", "File of the API keys.")
    base_path: str = option("", "Path under which a proxy serves this; needs API keys.")
    require_keys: int = option(0, "Do not start without a file of API keys.", 0, 1)
    allow_open: int = option(0, "Start without API keys though this ledger has had some.", 0, 1)
    client_rate: int = option(
        0, "Requests a second that each client may send; 0 is any number.", 0, RATE_MAX
    )
    client_burst: int = option(
        0, "How many of them may come at once; 0 is those of one second.", 0, BURST_MAX
    )
    client_quota: int = option(
        0, "Minor units that each client may move in a window; 0 is any sum.", 0, AMOUNT_MAX
    )
    quota_window_s: int = option(
        86_400, "Seconds of such a window; a restart ends it.", 1, 31_536_000
    )
    global_rate: int = option(
        0, "Requests a second of all clients together; 0 is any number.", 0, RATE_MAX
    )
    global_burst: int = option(
        0, "How many of them may come at once; 0 is those of one second.", 0, BURST_MAX
    )
    request_deadline_ms: int = option(
        0, "Milliseconds within which a transfer is taken, or not at all; 0: any.", 0, 99_999_999
    )
    target_p99_ms: int = option(
        0, "Milliseconds that 99 % of the answers are held to; 0: no such limit.", 0, 60_000
    )
    inflight_min: int = option(
        64, "Transfers in flight that are let in, however slow they are.", 1, 100_000_000
    )
    inflight_max: int = option(
        65_536, "Transfers in flight that are let in at most, with `target_p99_ms`.", 1, 100_000_000
    )
    connections_max: int = option(
        16_384, "Connections that may be open; more are closed at once.", 1, 1_000_000
    )
    allow_host: str = option(
        "",
        "Name to answer to besides those of this machine; may be given again. Without API keys"
        " no other name is answered to; with them any, unless this is given.",
    )
    keep_alive_s: int = option(
        75, "Seconds that a connection may be idle between two requests.", 1, 86_400
    )
    drain_s: int = option(
        0, "Seconds of /readyz 503 before a stop, while requests are still taken.", 0, 3_600
    )
    tls_cert: str = option("", "Certificate chain to serve TLS with, PEM.")
    tls_key: str = option("", "Private key of the certificate, PEM.")
    integers: str = option(
        "number", "Form of integers in answers; string: for clients whose numbers end at 2^53."
    )
    slow_request_ms: int = option(
        1_000, "Milliseconds from which a request is logged as slow; 0: never.", 0, 3_600_000
    )
    log_interval_s: int = option(
        10, "Seconds between two lines about queues and workers; 0: none.", 0, 86_400
    )
    otlp: str = option("", "Collector of traces, by OTLP over HTTP.")
    traces_per_million: int = option(
        1_000, "Requests of a million that are traced by chance.", 0, 1_000_000
    )
    allow_chaos: int = option(0, "Allow fault injection, by `chaos` or over HTTP.", 0, 1)
    chaos: str = option("", "Plan of the faults to inject, JSON; needs `allow_chaos`.")

    def __post_init__(self) -> None:
        for name, (lowest, highest) in RANGES.items():
            _check_range(name, getattr(self, name), lowest, highest)
        _check_text("host", self.host)
        _check_text("data", self.data)
        for name in ("allow_host", "keys_file", "tls_cert", "tls_key", "otlp", "chaos"):
            _check_text(name, getattr(self, name) or "none")
        try:
            read_names(self.allow_host)
        except ValueError as error:
            raise InvalidSetting("allow_host", str(error)) from None
        if self.durability not in DURABILITIES:
            raise InvalidSetting("durability", f"{self.durability!r} is not sync or memory")
        if self.integers not in INTEGER_FORMS:
            raise InvalidSetting("integers", f"{self.integers!r} is not number or string")
        if self.base_path and not _match_base_path(self.base_path):
            raise InvalidSetting("base_path", f"{self.base_path!r} is no path such as /ledger")
        self._check_together()

    def _check_together(self) -> None:
        """Check what no value can be blamed for alone."""
        if self.batch_max > self.queue_size:
            raise InvalidSetting(
                "batch_max", f"{self.batch_max} does not fit in --queue-size {self.queue_size}"
            )
        if self.workers_min > self.workers_max:
            raise InvalidSetting(
                "workers_min", f"{self.workers_min} is more than --workers-max {self.workers_max}"
            )
        if self.keys_reserved > self.keys_max:
            raise InvalidSetting(
                "keys_reserved", f"{self.keys_reserved} is more than --keys-max {self.keys_max}"
            )
        if self.inflight_min > self.inflight_max:
            raise InvalidSetting(
                "inflight_min",
                f"{self.inflight_min} is more than --inflight-max {self.inflight_max}",
            )
        if self.demo_accounts >= self.accounts_max:
            raise InvalidSetting(
                "demo_accounts",
                f"{self.demo_accounts} and world do not fit in --accounts-max {self.accounts_max}",
            )
        if self.demo_accounts * self.demo_funds > AMOUNT_MAX:
            raise InvalidSetting(
                "demo_funds",
                f"{self.demo_funds} for {self.demo_accounts} accounts is more than world can owe",
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidSetting("tls_cert", "--tls-cert and --tls-key go together")
        if self.require_keys and self.allow_open:
            raise InvalidSetting("allow_open", "is refused together with --require-keys")
        if self.chaos and not self.allow_chaos:
            raise InvalidSetting("chaos", "is refused without --allow-chaos")

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> "Settings":
        """Read settings by their names from texts; what is not given has its default."""
        values = {name: _read_value(name, text) for name, text in texts.items()}
        return cls(**values)  # type: ignore[arg-type]  # Each value has its field's type.

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read `LEDGERCORE_<NAME>` for every setting; what is empty counts as not given.

        So does what a cluster sets for a service of this name.
        """
        environment = os.environ if environment is None else environment
        names = {field.name: environment_name(field.name) for field in fields(cls)}
        texts = {name: environment.get(key, "") for name, key in names.items()}
        given = {name: text for name, text in texts.items() if text and not is_of_cluster(text)}
        try:
            return cls.from_texts(given)
        except InvalidSetting as error:
            raise InvalidSetting(error.name, error.message, names[error.name]) from None

    @property
    def keys_path(self) -> Path:
        """The file of the API keys."""
        return Path(self.keys_file) if self.keys_file else Path(self.data, FILE_NAME)

    @property
    def is_durable(self) -> bool:
        """Whether an answer means that the transfer is on the disk."""
        return self.durability == "sync"


RANGES = Settings.ranges()
"""The lowest and the highest value of each whole number."""
_MEANINGS = Settings.meanings()


def describe(name: str) -> str:
    """Return what a setting means, with the flags of those that it names."""
    return re.sub(r"`(\w+)`", lambda found: flag_name(found[1]), _MEANINGS[name])


def flag_name(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def environment_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"LEDGERCORE_{name.upper()}"


def is_of_cluster(text: str) -> bool:
    """Return whether a variable holds the address of a service, as clusters and containers set it.

    For a service called `ledgercore` they set LEDGERCORE_PORT=tcp://10.96.0.12:8000 in every
    container; no setting has such a value.
    """
    return text.partition("://")[0] in ("tcp", "udp", "sctp") and "://" in text


def _read_value(name: str, text: str) -> str | int:
    if name not in RANGES:
        return text
    # int() alone would also take " 8", "+8", "8_0" and the digits of other scripts.
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise InvalidSetting(name, f"{text!r} is not a whole number")
    return int(text)


def _check_range(name: str, value: object, lowest: int, highest: int) -> None:
    if type(value) is not int:
        raise InvalidSetting(name, f"{value!r} is not a whole number")
    if not lowest <= value <= highest:
        raise InvalidSetting(name, f"{value} is not between {lowest} and {highest}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidSetting(name, f"{value!r} is not a name")
