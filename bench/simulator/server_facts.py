"""What is read from a server beside the load: accounts, balances, audit, metrics.

This module owns those questions and their patience: where a question is asked until it has its
answer, what is refused for a while and what is lost is asked again until the deadline. It measures
nothing.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from ledgercore.client.retries import Backoff, judge_answer, read_retry_after

from ..load.http1 import find_header, split_answer
from ..load.link import Address, Link
from .plan import Plan
from .requests import RequestMaker

Subject = TypeVar("Subject")
Balances = npt.NDArray[np.int64]

PAGE = 1000
TRY_TIMEOUT_S = 5.0
GET_TIMEOUT_S = 10.0
AUDIT_TIMEOUT_S = 120.0
METRICS_TIMEOUT_S = 2.0
PATIENCE_S = 5.0
"""A server that answers nobody for so long is taken for gone; long enough for a restart."""
CONNECTIONS = 32
DEADLINE_S = 30.0
QUESTIONS_PER_S = 500.0
"""The slowest server that can be asked everything: the deadline grows with the questions."""
_backoff = Backoff(base_s=0.02, cap_s=0.5)


class SimulationFailed(Exception):
    """The run cannot be made, or not to its end; the message is one line that says why."""


class NoAnswer(Exception):
    """A question had no answer: its connection broke, or its time was up."""


class Answer(NamedTuple):
    """An answer, taken apart."""

    status: int
    head: bytes
    body: bytes


class Audit(msgspec.Struct):
    """What the server says of its own books."""

    ok: bool
    sums: dict[str, int] = {}
    violations: list[Any] = []


class Metrics(msgspec.Struct):
    """What the server tells of its queue and its workers; None for what it does not tell."""

    queue_depth: float | None = None
    active_workers: float | None = None


class _Account(msgspec.Struct):
    id: str
    balance: int


class _Page(msgspec.Struct):
    accounts: list[_Account]
    next: str | None = None


class Asker:
    """Asks one question at a time. Close it at the end."""

    def __init__(self, address: Address) -> None:
        self._link = Link(address, self, TRY_TIMEOUT_S)
        self._answer: asyncio.Future[Answer] | None = None

    async def ask(self, request: bytes, timeout_s: float = TRY_TIMEOUT_S) -> Answer:
        """Return the answer to a request; raises NoAnswer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._link.send(request)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise NoAnswer("timeout") from None
        finally:
            if answer.cancelled():
                self._link.hang_up()

    def receive_answer(self, status: int, answer: bytes) -> None:
        """Hand an answer to who waits for it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, *split_answer(answer)))

    def receive_failure(self, failure: str, reason: str) -> None:
        """Tell who waits that there is no answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(failure))

    def close(self) -> None:
        """Hang up."""
        self._link.hang_up()


class FactFinder:
    """Reads what a server tells, one question or one series of them at a time.

    Close it at the end. `patience_s` is how long a series waits for a server that answers nobody.
    """

    def __init__(self, address: Address, plan: Plan, patience_s: float = PATIENCE_S) -> None:
        self._address = address
        self._patience_s = patience_s
        self._asker = Asker(address)
        self.maker = RequestMaker(plan)
        self.close = self._asker.close

    # -- single questions ---------------------------------------------------------------------

    async def check_ready(self, deadline_s: float) -> None:
        """Return once the server takes requests. Raises SimulationFailed when it does not."""
        end_s = time.monotonic() + deadline_s
        while (answer := await self._get("/readyz")).status == 503:
            if time.monotonic() > end_s:
                raise SimulationFailed(f"the server is not ready after {deadline_s:g} s")
        if answer.status in (401, 403):
            raise SimulationFailed(f"the server refuses the credentials ({answer.status})")

    async def has_account(self, account_id: str) -> bool:
        """Tell whether there is an account of this id."""
        return (await self._get(f"/accounts/{account_id}")).status == 200

    async def read_balances(self, accounts: int) -> Balances | None:
        """Return the balances of acct-0 and so on; None if the server does not list them all."""
        balances = np.zeros(accounts, np.int64)
        left = accounts
        cursor: str | None = ""
        while cursor is not None and left:
            query = f"&cursor={cursor}" if cursor else ""
            answer = await self._get(f"/accounts?limit={PAGE}{query}")
            try:
                page = msgspec.json.decode(answer.body, type=_Page)
            except msgspec.MsgspecError:
                return None
            for account in page.accounts:
                number = account.id.removeprefix("acct-")
                if number != account.id and number.isdigit() and int(number) < accounts:
                    balances[int(number)] = account.balance
                    left -= 1
            cursor = page.next
        return None if left else balances

    async def read_audit(self) -> Audit:
        """Return the server's audit. Raises SimulationFailed where there is none."""
        answer = await self._get("/audit", AUDIT_TIMEOUT_S)
        if answer.status != 200:
            raise SimulationFailed(f"GET /audit was answered with {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=Audit)
        except msgspec.MsgspecError:
            raise SimulationFailed("GET /audit has an answer that cannot be read") from None

    async def read_metrics(self) -> Metrics | None:
        """Return what the server tells right now; None if it has nothing of the kind.

        Raises NoAnswer for a server that does not answer at all.
        """
        request = self.maker.make("GET", "/metrics", fields="Accept: application/json\r\n")
        answer = await self._asker.ask(request, METRICS_TIMEOUT_S)
        try:
            return msgspec.json.decode(answer.body, type=Metrics) if answer.status == 200 else None
        except msgspec.MsgspecError:
            return None

    async def _get(self, target: str, timeout_s: float = GET_TIMEOUT_S) -> Answer:
        try:
            return await self._asker.ask(self.maker.make("GET", target), timeout_s)
        except NoAnswer as failure:
            raise SimulationFailed(f"GET {target} has no answer: {failure}") from None
        finally:
            # The next may come much later, when the server has closed what was idle.
            self._asker.close()

    # -- a series of questions ----------------------------------------------------------------

    async def ask_all(
        self,
        subjects: Collection[Subject],
        make: Callable[[Subject], bytes],
        take: Callable[[Subject, Answer], None],
    ) -> int:
        """Ask about every subject, over a few connections; return how many have no answer at last.

        `make` returns the bytes of a try, and `take` is told each answer that stands.
        """
        self._answered_s = time.monotonic()
        self._end_s = self._answered_s + DEADLINE_S + len(subjects) / QUESTIONS_PER_S
        waiting = iter(subjects)

        async def ask_in_turn() -> int:
            asker, unanswered = Asker(self._address), 0
            try:
                for subject in waiting:
                    answer = await self._insist(asker, partial(make, subject))
                    if answer is None:
                        unanswered += 1
                    else:
                        take(subject, answer)
            finally:
                asker.close()
            return unanswered

        return sum(await asyncio.gather(*(ask_in_turn() for _ in range(CONNECTIONS))))

    async def _insist(self, asker: Asker, make: Callable[[], bytes]) -> Answer | None:
        """Ask until there is an answer that stands, None when the time is up."""
        tries = 0
        while time.monotonic() < min(self._end_s, self._answered_s + self._patience_s):
            wait_s = 0.0
            try:
                answer = await asker.ask(make())
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
