"""What a stage is: one way to apply the same transfers, opened, used and closed as any other.

This module owns that interface. It never measures, and knows no stage.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledgercore import Status

from ..workloads import Call, Rows, Workload


class Runner(ABC):
    """A stage that is open: its accounts are there, and funded as its workload says."""

    @abstractmethod
    def prepare(self, rows: Rows) -> Any:
        """Return transfers, rows of TRANSFER, in the stage's own form. This is never timed."""

    @abstractmethod
    def run(self, prepared: Any) -> None:
        """Apply all of them, and return when each has its outcome. This is what is timed."""

    @property
    @abstractmethod
    def statuses(self) -> list[Status]:
        """What became of each transfer of the last run, in the order of its rows."""

    @abstractmethod
    def balances(self) -> dict[str, int]:
        """Return every account's balance in minor units, by id."""

    @property
    def cpu_s(self) -> float:
        """The seconds of processor that the stage has had so far, all of its threads counted."""
        return time.process_time()

    @property
    def note(self) -> str:
        """What should be known of the last run besides its time; may be empty."""
        return ""


class CallRunner(Runner):
    """A stage that makes one call a transfer, to its `transfer`."""

    transfer: Callable[[str, str, int, str], Status]

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._statuses: list[Status] = []

    def prepare(self, rows: Rows) -> list[Call]:
        return self._workload.spell(rows)

    def run(self, prepared: list[Call]) -> None:
        transfer = self.transfer
        self._statuses = [transfer(*call) for call in prepared]

    @property
    def statuses(self) -> list[Status]:
        return self._statuses


@dataclass(frozen=True, slots=True)
class Stage:
    """One way to apply transfers, and what has to be known to measure it beside the others.

    `promise` says what an outcome means. `transfers` is how many make a round: fewer where each
    takes longer. A stage that is `spread` finds its own cores, and is not kept on one.
    """

    name: str
    title: str
    promise: str
    transfers: int
    open: Callable[[Workload, Path], AbstractContextManager[Runner]]
    spread: bool = False
