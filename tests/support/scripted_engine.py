"""A batcher whose engine and whose charges do what a test tells them, and remember the rest.

This module owns those stand-ins; batcher_fixtures.py joins them. It asserts nothing of a batcher.
"""

import asyncio
import os
from typing import Any

from ledgercore import TransferRequest
from ledgercore.service.admission.admission import Client
from ledgercore.service.admission.in_flight import InFlight
from ledgercore.service.admission.limiter import Limiter

CLIENT = Client("", None, Limiter().find_client(""))


class ScriptedSubmission:
    """A submission that remembers what it was given, and answers with its own indices."""

    def __init__(self, rows_max: int) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.deadlines: list[tuple[int, int | None]] = []
        self.failed = False
        self.late_count = 0
        self._rows_max = rows_max

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_full(self) -> bool:
        return len(self.rows) == self._rows_max

    def add(self, *row: Any) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def limit_time(self, deadline_ns: int, index: int | None = None) -> None:
        self.deadlines.append((deadline_ns, index))

    segment_hash = 0


class ScriptedEngine:
    """An engine that takes or refuses as it is told, and completes when it is told."""

    batch_max = 4
    segments = 2

    def __init__(self) -> None:
        self.taken: list[tuple[int, ScriptedSubmission]] = []
        self.barriers: list[tuple[int | None, ScriptedSubmission]] = []
        self.error: Exception | None = None
        self.failure: str | None = None
        self.is_queueing = False
        self._done: list[ScriptedSubmission] = []
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK)

    def segment_of(self, source: str) -> int:
        return len(source) % 2

    def new_submission(self) -> ScriptedSubmission:
        return ScriptedSubmission(self.batch_max)

    def submit(self, submission: ScriptedSubmission, segment: int = 0) -> bool:
        if self.error:
            raise self.error
        self.taken.append((segment, submission))
        return self.is_queueing

    def barrier(self, lsn: int | None = None) -> ScriptedSubmission:
        if self.error:
            raise self.error
        submission = self.new_submission()
        self.barriers.append((lsn, submission))
        return submission

    def fileno(self) -> int:
        return self._eventfd

    def complete(self, submission: ScriptedSubmission, failed: bool = False) -> None:
        submission.failed = failed
        self._done.append(submission)
        os.eventfd_write(self._eventfd, 1)

    def completed(self) -> list[ScriptedSubmission]:
        os.eventfd_read(self._eventfd)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        os.close(self._eventfd)


class ScriptedCharge:
    """A charge that remembers of which rows it was settled, and how often it was given back."""

    client = CLIENT

    def __init__(self) -> None:
        self.completed: list[tuple[Any, int | None]] = []
        self.refunded = 0

    def refund_unmoved(self, submission: Any, index: int | None = None) -> None:
        self.completed.append((submission, index))

    def refund(self) -> None:
        self.refunded += 1


CHARGE: Any = ScriptedCharge()
"""For tests that do not look at the money."""


class ScriptedAdmission:
    """An admission that only counts what is in flight."""

    def __init__(self) -> None:
        self.in_flight = InFlight()


def request_of(number: int, source: str = "ab") -> TransferRequest:
    return TransferRequest(f"k-{number}", source, "bob", 250, None)


async def turn() -> None:
    """Let what is due run: the requests, and then the flush at the end of their turn."""
    for _ in range(3):
        await asyncio.sleep(0)


async def start(*requests: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(request) for request in requests]
    await turn()
    return tasks
