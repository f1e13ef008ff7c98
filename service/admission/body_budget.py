"""The memory budget of request bodies and of answers that are not read yet.

This module owns that bound, who has taken what of it, and how a long body is read within it. It
never looks at what a body says.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sanic.http import Http

from ..wire.bulk import BODY_BYTES_MAX
from ..wire.problems import NOT_STORED, PAYLOAD_TOO_LARGE, QUEUE_FULL, RETRY_AFTER_S, Problem
from ..wire.sanic_types import AnyRequest
from .drain_rate import DrainMeter
from .unread_answers import Unread

BYTES_UNDER_WAY_MAX = 4 * BODY_BYTES_MAX
"""How much of all bodies, of what was read from them, and of answers that nobody has read yet may
be in memory; a request beyond that is told to come again."""
SKIP_S = 10.0
"""How long what is left of a refused body is read on, so that the client reads why."""
_COPIES = 2
"""How often a body is in memory: as it came, and whole, or as text."""
_TEXT_COPIES = 4
"""How much more a text takes than its body, at the most, where that is not ASCII."""


class Holding:
    """What one request has taken of the budget."""

    def __init__(self, budget: "BodyBudget") -> None:
        self._budget = budget
        self._taken = 0

    def acquire(self, count: int) -> None:
        """Take bytes. Raises the problem `queue-full` where there are not so many left."""
        self._budget.acquire(count)
        self._taken += count

    def acquire_at_most(self, count: int) -> None:
        """Take bytes, or all that there are where that is less. Raises as `acquire`."""
        self.acquire(min(count, self._budget.bytes_max - self._taken))

    def check(self, count: int) -> None:
        """Raise as `acquire`, and take nothing."""
        self._budget.check(count)

    def release(self) -> None:
        """Give back all that was taken."""
        self._budget.release(self._taken)
        self._taken = 0


class BodyBudget:
    """How many bytes of bodies are under way, bounded over all requests of a server.

    Answers that are `unread` count as well, so that no more of them are made while they are many.
    """

    def __init__(
        self,
        bytes_max: int = BYTES_UNDER_WAY_MAX,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        unread: Unread | None = None,
    ) -> None:
        self._left = self.bytes_max = bytes_max
        self._clock_ns = clock_ns
        self._drain = DrainMeter(clock_ns)
        self._unread = unread or Unread()

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """Yield what takes bytes from the budget; all of them are given back at the end."""
        holding = Holding(self)
        try:
            yield holding
        finally:
            holding.release()

    def check(self, count: int) -> None:
        """Raise the problem `queue-full` where there are not so many bytes left."""
        if count > self._left - self._unread.bytes:
            wait_s = self._drain.find_wait_s(self.bytes_max - self._left, RETRY_AFTER_S)
            raise Problem(
                QUEUE_FULL,
                f"Too many bodies are under way. {NOT_STORED}; try again in {wait_s} s.",
                headers={"retry-after": str(wait_s)},
            )

    def acquire(self, count: int) -> None:
        """Take bytes. Raises as `check`."""
        self.check(count)
        self._left -= count

    def release(self, count: int) -> None:
        """Give bytes back that were taken."""
        self._left += count
        self._drain.add(count, self._clock_ns())


async def read_body(request: AnyRequest, holding: Holding) -> bytes:
    """Return a body as it comes in; refused as soon as it is too long, or there is no room for it.

    What is left of it is read then, for a bounded while and without keeping it, so that the answer
    arrives, and the connection is good for another request. Sanic would read it after the answer,
    and close the connection (sanic_protocol.py sees to that end).
    """
    stream = request.stream
    assert isinstance(stream, Http)
    too_long = Problem(PAYLOAD_TOO_LARGE, f"The body is longer than {BODY_BYTES_MAX} bytes.")
    if (stream.request_bytes or 0) > BODY_BYTES_MAX:
        raise too_long  # As its head says already.
    body = bytearray()
    try:
        # What is announced is not taken yet: who announces much and sends little would hold it.
        holding.check(_COPIES * int(request.headers.get("content-length", 0)))
        while part := await stream.read():
            if len(body) + len(part) > BODY_BYTES_MAX:
                raise too_long
            holding.acquire(_COPIES * len(part))
            body += part
        if not body.isascii():
            holding.acquire_at_most((_TEXT_COPIES - 1) * len(body))
    except Problem:
        holding.release()
        body.clear()
        # Who waits to be asked for the body is not asked.
        if not stream.expecting_continue:
            await skip_rest(stream)
        raise
    return bytes(body)


async def skip_rest(stream: Http) -> None:
    """Read what is left of a body, as much as one may be, and drop it."""
    left = BODY_BYTES_MAX
    with suppress(TimeoutError):
        async with asyncio.timeout(SKIP_S):
            while left > 0 and (part := await stream.read()):
                left -= len(part)
