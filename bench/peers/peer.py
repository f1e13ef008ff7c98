"""What a peer is: something that moves money, opened with the same accounts as all the others.

This module owns the names of the peers and the contract that each of them keeps, and how calls are
dealt out to clients that are threads. A peer's module is imported only when it is asked for, since
it may need a library that is not there.
"""

import os
import pwd
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from ..machine import run_on
from ..workloads import Call

PEERS = {
    "sqlite": "sqlite:SqlitePeer",
    "postgres": "postgres:PostgresPeer",
    "redis": "redis:RedisPeer",
    "go": "over_http:GoPeer",
    "service": "over_http:ServicePeer",
    "engine": "engine:EnginePeer",
    "batches": "engine:BatchPeer",
}
"""The module and the class of each peer, in the order of the table."""

Ask = Callable[[Call], bool]
"""Makes one call, and tells whether it was applied (the first time that its key came)."""

FUNDS = 1_000_000
"""What each account holds at the start, in minor units. No account may go below zero."""


class PeerMissing(Exception):
    """The machine lacks a peer; the text says how to install it."""


class PeerFailed(Exception):
    """A peer did not start, or gave an answer that is neither yes nor no."""


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


class Peer(ABC):
    """A peer that is open: its accounts `acct-0` ... hold FUNDS each. Close it, or use `with`.

    Making one raises PeerMissing where the machine lacks what it needs. `asks` has one function for
    each client, and `core` is where the clients run.
    """

    title: ClassVar[str]
    durability: ClassVar[str]
    """What an answer means."""
    is_embedded: ClassVar[bool] = False
    """Whether clients and peer share a process."""
    asks: Sequence[Ask]
    _stack: ExitStack

    def __init__(self, settings: Settings, version: str) -> None:
        self.version = version
        self.core = settings.core if self.is_embedded else settings.load_core

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self.asks)

    def ask(self, call: Call) -> bool:
        """Make one call, and tell whether it was applied (the first time that its key came)."""
        return self.asks[0](call)

    def run(self, calls: Sequence[Call], seconds: float) -> Round:
        """Make calls, as fast as may be, until they or the time are at an end.

        Raises PeerFailed if one of them is refused.
        """
        with run_on(self.core):
            return run_clients(self.asks, calls, seconds, is_embedded=self.is_embedded)

    @abstractmethod
    def read_balances(self) -> Mapping[str, int] | None:
        """Return the balances of all accounts by id; None if the peer tells none.

        Raises PeerFailed if the peer itself finds that its books do not balance.
        """

    def close(self) -> None:
        """End what was started for the peer, and remove what was written."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def run_clients(
    asks: Sequence[Ask], calls: Sequence[Call], seconds: float, *, is_embedded: bool
) -> Round:
    """Deal out calls to clients as one deals cards, and time them until they or the time end.

    `asks` has one function for each client. Raises PeerFailed if a call is refused, and what an
    `ask` raises.
    """
    started, cpu_started_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(len(asks)) as pool:
        running = [
            pool.submit(_run_client, ask, calls[number :: len(asks)], started + seconds)
            for number, ask in enumerate(asks)
        ]
        times_s = [client.result() for client in running]
    seconds = time.perf_counter() - started
    cpu_s = time.process_time() - cpu_started_s
    return Round(
        calls=[
            call
            for number, done in enumerate(times_s)
            for call in calls[number :: len(asks)][: len(done)]
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


def open_peer(name: str, settings: Settings) -> Peer:
    """Open a peer. Raises PeerMissing, saying how to install it, and PeerFailed."""
    module, _, peer = PEERS[name].partition(":")
    try:
        made: Peer = getattr(import_module(f"{__package__}.{module}"), peer)(settings)
    except ModuleNotFoundError as error:
        hint = "pip install '.[peers]', from the root of the project"
        raise PeerMissing(f"needs the Python library {error.name}: {hint}") from error
    return made


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
def make_socket_directory(user: str | None = None) -> Iterator[Path]:
    """Yield a directory for Unix sockets, whose path has to be short: no checkout's is for sure."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        give(Path(name), user)
        yield Path(name)


def give(path: Path, user: str | None) -> None:
    """Let another user own a path, if one is named."""
    if user is not None:
        record = pwd.getpwnam(user)
        os.chown(path, record.pw_uid, record.pw_gid)
