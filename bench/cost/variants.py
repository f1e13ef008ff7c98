"""The variants of the service that are compared, and what each is asked with.

This module owns their flags, headers and goals, and how they are started: all durable, all on one
core, all alive at once. It never measures.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..http_speed.loads import Generator, Load
from ..http_speed.subjects import Setting, Subject, describe_demo
from ..servers import SERVICE, Server, create_key

BARE, GUARDED, UNWATCHED = "bare", "guarded", "unwatched"
GOALS = {(GUARDED, BARE): 0.93, (BARE, UNWATCHED): 0.97}
"""Of the throughput of the second, the first is to have so much."""

NO_INSTRUMENTS = "--instruments=0"
GUARDS = ("--client-rate=1000000", "--global-rate=1000000", "--request-deadline-ms=10000")
"""Limits that are looked at with each request, and that no request here comes near."""
TIMEOUT_HEADER = "X-Request-Timeout-Ms: 5000"

TITLES = {
    BARE: "nothing on",
    GUARDED: "API key, client and global limit, deadline",
    UNWATCHED: f"nothing on, {NO_INSTRUMENTS}",
}


@dataclass(frozen=True, slots=True)
class Variant(Subject):
    """A service that is up, and the lines that each request to it has in its head."""

    headers: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return TITLES[self.name]


def open_variants(names: Sequence[str], setting: Setting, stack: ExitStack) -> dict[str, Variant]:
    """Start variants for as long as the stack lasts, and return them by name."""
    return {name: _open_variant(name, setting, stack) for name in names}


def _open_variant(name: str, setting: Setting, stack: ExitStack) -> Variant:
    data = setting.scratch / name
    flags = [f"--data={data}", *describe_demo(setting)]
    headers: tuple[str, ...] = ()
    if name == GUARDED:
        flags += GUARDS
        token = create_key(data, "shop", "--scope=transfer")["token"]
        headers = (f"Authorization: Bearer {token}", TIMEOUT_HEADER)
    elif name == UNWATCHED:
        flags.append(NO_INSTRUMENTS)
    log = setting.scratch / f"{name}.log"
    server = stack.enter_context(Server(setting.core, *SERVICE, *flags, log=log))
    return Variant(name, server.url, server.process.pid, headers)


def dispatch(generators: dict[str, Generator]) -> Generator:
    """Return the generator that puts on each URL the load of its own."""

    def load(url: str, connections: int, seconds: float) -> Load:
        return generators[url](url, connections, seconds)

    return load
