"""What a peer is: something that moves money, opened with the same accounts as all the others.

This module owns the names of the peers and the contract that each of them keeps, and how calls are
dealt out to clients that are threads. A peer's module is imported only when it is asked for, since
it may need a library that is not there.
"""

import os
import pwd
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..machine import run_on
from ..workloads import Call

PEERS = {
    "sqlite": "sqlite",
    "postgres": "postgres",
    "redis": "redis",
    "go": "over_http",
    "service": "over_http",
    "engine": "engine",
    "batches": "engine",
}
"""The module of each peer, in the order of the table; it is opened by `open_` and its name."""

FUNDS = 1_000_000
"""What each account holds at the start, in minor units. No account may go below zero."""

Ask = Callable[[Call], bool]
"""Makes one call, and tells whether it was applied (the first time that its key came)."""


class PeerMissing(Exception):
    """The machine lacks a peer; the text says how to install it."""


class PeerFailed(Exception):
    """A peer gave an answer that is neither applied nor refused, or a wrong one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How all peers are set up.

    The server of a peer is kept on `core` and its clients on `load_core`; what runs inside the
    caller's process, as a library does, is kept on `core` with its callers. `scratch` is an empty
    directory on the disk that is measured. `transfers` is how many there may be in all rounds.
    """

    accounts: int
    clients: int
    transfers: int
    core: int
    load_core: int
    scratch: Path
    go_binary: Path | None = None

    @property
    def names(self) -> list[str]:
        """The ids of the accounts."""
        return [f"acct-{number}" for number in range(self.accounts)]


@dataclass(frozen=True, slots=True)
class Round:
    """One timed run: the calls that were answered, all of them applied, and how long it took.

    `latencies_s` has one number for each call that a client waited for. `load_share` is the share
    of a processor that the clients took; None where they share the process with the peer.
    """

    calls: Sequence[Call]
    seconds: float
    latencies_s: Sequence[float]
    load_share: float | None


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that is open: its accounts `acct-0` ... hold FUNDS each.

    `durability` says what an answer means. `run` makes calls, as fast as may be, until they or so
    many seconds are at an end; it raises PeerFailed if one of them is refused. `read_balances`
    returns those of all accounts by id, None if the peer tells none; it raises PeerFailed if the
    peer itself finds that its books do not balance.
    """

    title: str
    durability: str
    version: str
    clients: int
    ask: Ask
    run: Callable[[Sequence[Call], float], Round]
    read_balances: Callable[[], Mapping[str, int] | None]


def run_clients(
    asks: Sequence[Ask], core: int, calls: Sequence[Call], seconds: float, *, is_embedded: bool
) -> Round:
    """Deal out calls to clients in turn, and time them until the calls or the time end.

    `asks` has one function for each client, all of which are kept on a core. Raises PeerFailed if a
    call is refused, and what an `ask` raises.
    """
    started, cpu_started_s = time.perf_counter(), time.process_time()
    hands = [calls[number :: len(asks)] for number in range(len(asks))]
    with run_on(core), ThreadPoolExecutor(len(asks)) as pool:
        running = [
            pool.submit(_run_client, ask, hand, started + seconds)
            for ask, hand in zip(asks, hands, strict=True)
        ]
        times_s = [client.result() for client in running]
    seconds = time.perf_counter() - started
    cpu_s = time.process_time() - cpu_started_s
    return Round(
        calls=[
            call for hand, done in zip(hands, times_s, strict=True) for call in hand[: len(done)]
        ],
        seconds=seconds,
        latencies_s=[time_s for done in times_s for time_s in done],
        load_share=None if is_embedded else cpu_s / seconds,
    )


def _run_client(ask: Ask, calls: Sequence[Call], end: float) -> list[float]:
    """Return how long each call took that was made before the end."""
    clock = time.perf_counter
    times_s = []
    asked = clock()
    for call in calls:
        if asked >= end:
            break
        if not ask(call):
            raise PeerFailed(f"refused, though the money was there: {call}")
        answered = clock()
        times_s.append(answered - asked)
        asked = answered
    return times_s


def open_peer(name: str, settings: Settings) -> AbstractContextManager[Peer]:
    """Return the block in which a peer is open.

    Raises PeerMissing, saying how to install it, here or as the block begins, and there PeerFailed
    and ProcessFailed.
    """
    try:
        module = import_module(f"{__package__}.{PEERS[name]}")
    except ModuleNotFoundError as error:
        hint = "pip install '.[peers]', from the root of the project"
        raise PeerMissing(f"needs the Python library {error.name}: {hint}") from error
    opened: AbstractContextManager[Peer] = getattr(module, f"open_{name}")(settings)
    return opened


def open_peers(
    names: Iterable[str], settings: Settings, stack: ExitStack
) -> tuple[dict[str, Peer], dict[str, str]]:
    """Open the peers that are there; return them, and how to install each of the others."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = stack.enter_context(open_peer(name, settings))
        except PeerMissing as error:
            missing[name] = str(error)
    return found, missing


@contextmanager
def make_directory(place: Path | None = None, user: str | None = None) -> Iterator[Path]:
    """Yield a directory that belongs to a user, if one is named.

    Unless a place is given, its path is short, as that of a Unix socket has to be.
    """
    with tempfile.TemporaryDirectory(prefix="peer-", dir=place) as name:
        if user is not None:
            record = pwd.getpwnam(user)
            os.chown(name, record.pw_uid, record.pw_gid)
        yield Path(name)
