"""What puts load on a server: wrk where it is installed, and the project's own generator else.

This module owns the choice, and how the own one is asked. Of wrk it knows the name.
"""

import shutil
from collections.abc import Sequence
from functools import partial

from ..servers import run_load_process
from .loads import Generator, Load, LoadFailed
from .wrk import run_wrk

WRK, OWN = "wrk", "own"
CREATED = "201"


def pick_generator(name: str | None) -> str:
    """Return which generator to use: the one that is named, or else wrk if it is there.

    Raises LoadFailed where wrk is named, and not there.
    """
    is_there = shutil.which("wrk") is not None
    if name == WRK and not is_there:
        raise LoadFailed("wrk is not installed; --generator own needs nothing")
    return name or (WRK if is_there else OWN)


def make_generator(name: str, core: int, accounts: int, headers: Sequence[str] = ()) -> Generator:
    """Return the generator of this name, kept on a core, for transfers between so many accounts.

    `headers` are lines such as `Name: value` that each request has besides its own.
    """
    return partial(run_wrk if name == WRK else run_own, core, accounts, headers=headers)


def run_own(
    core: int,
    accounts: int,
    url: str,
    connections: int,
    seconds: float,
    headers: Sequence[str] = (),
) -> Load:
    """Run `bench.load` to its end. Raises LoadFailed."""
    flags: tuple[str, ...] = (
        f"--connections={connections}",
        f"--seconds={seconds}",
        f"--accounts={accounts}",
    )
    flags += tuple(f"--header={line}" for line in headers)
    try:
        told = run_load_process(core, url, *flags)
    except RuntimeError as error:
        raise LoadFailed(str(error)) from None
    if told["lost"] or told["statuses"] != {CREATED: told["requests"]}:
        raise LoadFailed(f"{url} did not apply all: {told['statuses']}, {told['lost']} lost")
    return Load(
        told["requests"], told["seconds"], told["p50_ms"], told["p99_ms"], told["cpu_share"]
    )
