"""What a peer is: something that moves money, opened with the same accounts as all the others.

This module owns the contract that every peer keeps. It starts nothing and measures nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from ..workloads import Call

FUNDS = 1_000_000
"""What each account holds at the start, in minor units. No account may go below zero."""
DEADLINE_S = 60.0
"""No single wait for a peer is longer."""


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

    Making one raises PeerMissing where the machine lacks what it needs.
    """

    title: ClassVar[str]
    durability: ClassVar[str]
    """What an answer means."""
    version: str
    clients: int
    _stack: ExitStack

    @abstractmethod
    def run(self, calls: Sequence[Call], seconds: float) -> Round:
        """Make calls, as fast as may be, until they or the time are at an end.

        Raises PeerFailed if one of them is refused.
        """

    @abstractmethod
    def ask(self, call: Call) -> bool:
        """Make one call, and tell whether it was applied (the first time that its key came)."""

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
