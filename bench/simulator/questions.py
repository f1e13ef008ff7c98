"""Many questions asked one after the other over a few connections, until each has its answer.

This module owns patience: what is refused for a while, and what is lost, is asked again until the
deadline. It is for what surrounds the load, before and after it, and measures nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from ledgercore.client.retries import Backoff, judge_answer, read_retry_after

from ..load.http1 import find_header, split_answer
from ..load.link import Address, Link

Subject = TypeVar("Subject")

TRY_TIMEOUT_S = 5.0
PATIENCE_S = 5.0
"""A server that answers nobody for so long is taken for gone; long enough for a restart."""
_backoff = Backoff(base_s=0.02, cap_s=0.5)


class NoAnswer(Exception):
    """A question had no answer: its connection broke, or its time was up."""


class Answer(NamedTuple):
    """An answer, taken apart."""

    status: int
    head: bytes
    body: bytes


class Asker:
    """Asks one question at a time."""

    def __init__(self, address: Address, timeout_s: float = TRY_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._link = Link(address, self, timeout_s)
        self._answer: asyncio.Future[Answer] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Return the answer to a request; raises NoAnswer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._link.send(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._answer
        except TimeoutError:
            self._link.hang_up()
            raise NoAnswer("timeout") from None

    def take_answer(self, status: int, answer: bytes) -> None:
        """Hand an answer to who waits for it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, *split_answer(answer)))

    def take_failure(self, failure: str, reason: str) -> None:
        """Tell who waits that there is no answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(failure))

    def close(self) -> None:
        """Hang up."""
        self._link.hang_up()


class Series(Generic[Subject]):
    """Questions, each about a subject; `take` is told each answer, in any order."""

    def __init__(
        self,
        address: Address,
        subjects: Iterable[Subject],
        make: Callable[[Subject], bytes],
        take: Callable[[Subject, Answer], None],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._address = address
        self._subjects: Iterator[Subject] = iter(subjects)
        self._make = make
        self._take = take
        self._end_s = self._answered_s = 0.0
        self.unanswered = 0
        """How many subjects have no answer in the end."""

    @property
    def is_over(self) -> bool:
        """Whether there is no time left, or nobody who answers."""
        return time.monotonic() >= min(self._end_s, self._answered_s + self._patience_s)

    async def ask_all(self, *, connections: int, deadline_s: float) -> None:
        """Ask about every subject, and count those for which the time did not suffice."""
        self._answered_s = time.monotonic()
        self._end_s = self._answered_s + deadline_s
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._work())

    async def _work(self) -> None:
        asker = Asker(self._address)
        try:
            for subject in self._subjects:
                answer = await self._insist(asker, subject)
                if answer is None:
                    self.unanswered += 1
                else:
                    self._take(subject, answer)
        finally:
            asker.close()

    async def _insist(self, asker: Asker, subject: Subject) -> Answer | None:
        """Ask until there is an answer that stands, None when the time is up."""
        tries = 0
        while not self.is_over:
            wait_s = 0.0
            try:
                answer = await asker.ask(self._make(subject))
                self._answered_s = time.monotonic()
                if not judge_answer(answer.status, answer.body).is_retryable:
                    return answer
                header = find_header(answer.head, b"retry-after")
                wait_s = read_retry_after(header, time.time()) or 0.0
            except NoAnswer:
                pass
            wait_s += _backoff.delay_s(tries)
            tries += 1
            await asyncio.sleep(min(wait_s, max(self._end_s - time.monotonic(), 0.0)))
        return None
