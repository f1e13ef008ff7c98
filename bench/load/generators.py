"""What puts load on a server: wrk where it is installed, and the closed loop of our own else.

This module owns the choice, how each is run as a process and how strictly its output is read, and
what is known of a load once it is over. One that was not answered with success throughout is no
figure. wrk has all requests made before the clock starts, so there is a bound to what it can send:
who reaches it has measured nothing, and is told so.
"""

import json
import math
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..options import OWN, WRK
from ..processes import ProcessFailed, python, run_successfully
from .loops import CPU_SHARE_MAX

CREATED = "201"
SCRIPT = Path(__file__).with_name("transfers.lua")
RATE_MAX = 180_000
"""More requests a second than this are not got ready for wrk."""
GRACE_S = 60.0
"""How long wrk may take besides its load: to make the requests, and to end."""
TAG_BYTES = 8


class LoadFailed(Exception):
    """A load was not what it was meant to be; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load that is over, all of it answered with success.

    `cpu_share` is how much of its core the generator had.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_share: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def is_bottleneck(self) -> bool:
        return self.cpu_share > CPU_SHARE_MAX


Generator = Callable[[str, int, float, Sequence[str]], Load]
"""Puts load on a URL, over so many connections, for so many seconds; the last are lines such as
`Name: value` that each request has besides its own. Raises LoadFailed."""


def pick_generator(name: str | None) -> str:
    """Return which generator to use: the one that is named, or else wrk if it is there.

    Raises LoadFailed where wrk is named, and not there.
    """
    is_there = shutil.which("wrk") is not None
    if name == WRK and not is_there:
        raise LoadFailed("wrk is not installed; --generator own needs nothing")
    return name or (WRK if is_there else OWN)


def make_generator(name: str, core: int, accounts: int) -> Generator:
    """Return the generator of this name, kept on a core, for transfers between so many accounts.

    Whoever looks at the processes of the machine can read the lines of the head that it is given,
    so a key among them is one of a ledger that ends with the run.
    """
    return partial(run_wrk if name == WRK else run_own, core, accounts)


# -- our own --------------------------------------------------------------------------------------
def run_load_process(core: int, url: str, *flags: str) -> dict[str, Any]:
    """Run `bench.load` to its end, and return the result that it prints. Raises ProcessFailed."""
    told = run_successfully("the load generator", python("bench.load", url, *flags), core=core)
    result: dict[str, Any] = json.loads(told)
    return result


def run_own(
    core: int,
    accounts: int,
    url: str,
    connections: int,
    seconds: float,
    headers: Sequence[str] = (),
) -> Load:
    """Run our own generator to its end. Raises LoadFailed."""
    flags = [f"--connections={connections}", f"--seconds={seconds}", f"--accounts={accounts}"]
    try:
        told = run_load_process(core, url, *flags, *(f"--header={line}" for line in headers))
    except ProcessFailed as error:
        raise LoadFailed(str(error)) from None
    if told["lost"] or told["statuses"] != {CREATED: told["requests"]}:
        raise LoadFailed(f"{url} did not apply all: {told['statuses']}, {told['lost']} lost")
    figures = ("requests", "seconds", "p50_ms", "p99_ms", "cpu_share")
    return Load(**{name: told[name] for name in figures})


# -- wrk ------------------------------------------------------------------------------------------
class Errors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many connections and requests came to each sort of a bad end; `status` is above 399."""

    connect: int
    read: int
    write: int
    status: int
    timeout: int


class WrkSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line of transfers.lua. `cpu_s` is without what it took to make the requests."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    cpu_s: float
    is_exhausted: bool
    errors: Errors


def run_wrk(
    core: int,
    accounts: int,
    url: str,
    connections: int,
    seconds: float,
    headers: Sequence[str] = (),
) -> Load:
    """Run wrk with one thread on a core, for a whole number of seconds. Raises LoadFailed."""
    whole_s = math.ceil(seconds)
    count = RATE_MAX * whole_s
    flags = ("-t1", f"-c{connections}", f"-d{whole_s}s", f"--script={SCRIPT}")
    arguments = (str(count), str(accounts), secrets.token_hex(TAG_BYTES), *headers)
    return run_command(core, ("wrk", *flags, url, "--", *arguments), count, whole_s + GRACE_S)


def run_command(core: int, command: Sequence[str], count: int, deadline_s: float) -> Load:
    """Run a command of wrk to its end, and read what it prints."""
    try:
        told = run_successfully("wrk", command, core=core, deadline_s=deadline_s)
    except ProcessFailed as error:
        raise LoadFailed(str(error)) from None
    return read_output(told, count)


def read_output(text: str, count: int) -> Load:
    """Return the load that wrk has made of `count` requests. Raises LoadFailed.

    Whatever was not answered with success, or answered although it had not been got ready, makes
    the whole load worthless.
    """
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise LoadFailed(f"wrk wrote {len(lines)} lines of JSON, and not one: {text!r}")
    try:
        told = msgspec.json.decode(lines[0], type=WrkSummary)
    except msgspec.MsgspecError as error:
        raise LoadFailed(f"wrk wrote {lines[0]!r}: {error}") from None
    bad = {name: number for name, number in msgspec.structs.asdict(told.errors).items() if number}
    if bad:
        raise LoadFailed(f"wrk met errors: {bad}")
    if told.is_exhausted or told.requests > count:
        raise LoadFailed(f"the {count:,} requests that were got ready did not last")
    if not told.requests or told.duration_us <= 0:
        raise LoadFailed("wrk had no answer")
    seconds = told.duration_us / 1e6
    return Load(
        requests=told.requests,
        seconds=seconds,
        p50_ms=told.p50_us / 1e3,
        p99_ms=told.p99_us / 1e3,
        cpu_share=told.cpu_s / seconds,
    )
