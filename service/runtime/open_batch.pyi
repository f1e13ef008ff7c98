"""The types of open_batch.pyx. The docstrings there are its reference."""

import asyncio

from ledgercore import Submission

from ..admission.admission import Charge
from ..engine_port import EnginePort

class OpenBatch:
    segment: int
    submission: Submission | None
    waiters: list[Waiter]
    def __init__(self, segment: int) -> None: ...

class OpenBatches:
    of_segments: list[OpenBatch]
    def __init__(self, engine: EnginePort) -> None: ...

class Waiter:
    def fail(self, error: Exception) -> None: ...

class FutureWaiter(Waiter):
    future: asyncio.Future[Submission]
    def __init__(
        self,
        future: asyncio.Future[Submission],
        charge: Charge | None = None,
        is_of_all: bool = False,
    ) -> None: ...
    def fail(self, error: Exception) -> None: ...

def deliver(submission: Submission, waiters: list[Waiter], is_look_up: bool = False) -> None: ...
def refund(submission: Submission, waiters: list[Waiter]) -> None: ...
