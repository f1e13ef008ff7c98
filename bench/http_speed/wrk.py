"""wrk as the generator: how it is started, and how strictly what it prints is read.

This module owns the flags of wrk and the line that transfers.lua ends with. All requests are made
before the clock starts, so there is a bound to what it can send: who reaches it has measured
nothing, and is told so.
"""

import math
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..machine import run_on
from .loads import Load, LoadFailed

SCRIPT = Path(__file__).with_name("transfers.lua")
RATE_MAX = 180_000
"""More requests a second than this are not got ready."""
GRACE_S = 60.0
"""How long wrk may take besides its load: to make the requests, and to end."""
TAG_BYTES = 8


class Errors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many connections and requests came to each sort of a bad end; `status` is above 399."""

    connect: int
    read: int
    write: int
    status: int
    timeout: int


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
    """Run wrk with one thread on a core, for a whole number of seconds. Raises LoadFailed.

    `headers` are lines of each request besides its own. Whoever looks at the processes of the
    machine can read them, so a key among them is one of a ledger that ends with the run.
    """
    whole_s = math.ceil(seconds)
    count = RATE_MAX * whole_s
    flags = ("-t1", f"-c{connections}", f"-d{whole_s}s", f"--script={SCRIPT}")
    arguments = (str(count), str(accounts), secrets.token_hex(TAG_BYTES), *headers)
    return run_command(core, ("wrk", *flags, url, "--", *arguments), count, whole_s + GRACE_S)


def run_command(core: int, command: tuple[str, ...], count: int, deadline_s: float) -> Load:
    """Run a command of wrk to its end, and read what it prints."""
    try:
        with run_on(core):
            ended = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s)
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"wrk did not come to an end in {deadline_s:.0f} s") from None
    if ended.returncode != 0:
        raise LoadFailed(f"wrk failed: {(ended.stderr or ended.stdout).strip()}")
    return read_output(ended.stdout, count)


def read_output(text: str, count: int) -> Load:
    """Return the load that wrk has made of `count` requests. Raises LoadFailed.

    Whatever was not answered with success, or answered although it had not been got ready, makes
    the whole load worthless.
    """
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise LoadFailed(f"wrk wrote {len(lines)} lines of JSON, and not one: {text!r}")
    try:
        told = msgspec.json.decode(lines[0], type=Told)
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
