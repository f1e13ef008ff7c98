"""The types of delivery.pyx. The docstrings there are its reference."""

import asyncio

from ledgercore import Submission

from .connection import Connection

def deliver(
    submission: Submission,
    waiters: list[asyncio.Future[Submission] | Connection],
    is_look_up: bool = False,
) -> None: ...
def give_back(
    submission: Submission, waiters: list[asyncio.Future[Submission] | Connection]
) -> None: ...
