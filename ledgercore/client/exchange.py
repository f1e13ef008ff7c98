"""One intent from its first try to its result or error, without sending anything itself.

This module owns what joins the tries of one call: its attempts, the circuit breaker, a signature
for each try, and at the end the one question that matters with money: is it certain that nothing
was executed, by this call? The client sends what it is given, and sleeps where it is told to.

A 401 is final, but for the first one to a signed request: that is tried once more, with a nonce and
a time of its own. After a power cut a server refuses signatures for some seconds that nothing is
wrong with; and where something between has sent a request twice, the second of them is a replay,
so that only another try tells what became of the first.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from .breaker import CircuitBreaker, CircuitOpen
from .calls import Answer, Call, UnreadableAnswer, read_problem
from .retries import (
    LOST,
    NOT_SENT,
    TIMEOUT_MIN_S,
    Attempts,
    Ending,
    Verdict,
    judge_answer,
    read_retry_after,
)
from .signing import HEADER, sign
from .types import LedgerClientError, NotExecuted, OutcomeUnknown, Problem, ProblemError

ANSWER_BYTES_MAX = 128 * 1024 * 1024
"""What is read of an answer at most; 100,000 refusals of 64-letter accounts fit in."""

_HEADERS = {
    "Accept": "application/json, application/problem+json",
    "Accept-Encoding": "identity",
    "User-Agent": "ledgercore",
}
_TIMEOUTS = ("connect", "read", "write", "pool")
# What httpx raises before it has a connection to send a request on. All else may come after it.
_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Result = TypeVar("Result")

_match_credential = re.compile(r"[\x21-\x7e]+").fullmatch


@dataclass(frozen=True, slots=True)
class Credentials:
    """The token and the secret of a client. Its `repr` shows neither."""

    key: str | None = None
    secret: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None and not _match_credential(self.key):
            raise ValueError("key: it is visible ASCII")
        if self.secret == "":
            raise ValueError("secret: it is empty")

    def __repr__(self) -> str:
        return "Credentials(...)"

    def make_headers(self, method: str, target: str, body: bytes, now_s: float) -> dict[str, str]:
        """Return the headers that prove one try; a signature is never used twice."""
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        if self.secret is not None:
            nonce = secrets.token_hex(16)
            headers[HEADER] = sign(
                self.secret, method, target, body, timestamp=int(now_s), nonce=nonce
            )
        return headers


class RemainingTime(dict[str, float]):
    """The timeouts of httpx, which looks each of them up when it begins to wait.

    Given as numbers, they would count anew for the connection, the request and the answer.
    """

    def __init__(self, end_s: float, clock: Callable[[], float]) -> None:
        super().__init__(dict.fromkeys(_TIMEOUTS, max(end_s - clock(), TIMEOUT_MIN_S)))
        self._end_s = end_s
        self._clock = clock

    def get(self, name: str, default: float | None = None) -> float:  # type: ignore[override]
        """Return what is left now."""
        return max(self._end_s - self._clock(), TIMEOUT_MIN_S)


class Try:
    """One try: a request, how long it may take, and the answer as it comes in."""

    def __init__(
        self, request: httpx.Request, timeout_s: float, end_s: float, clock: Callable[[], float]
    ) -> None:
        self.request = request
        self.timeout_s = timeout_s
        self.answer: Answer | None = None
        self._end_s = end_s
        self._clock = clock
        self._body = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take a part of the body. Raises as httpx does when it takes too long, or is too much."""
        self._body += chunk
        if len(self._body) > ANSWER_BYTES_MAX:
            raise httpx.ReadError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        if self._clock() > self._end_s:
            raise httpx.ReadTimeout("the answer is too slow")

    def finish(self, response: httpx.Response) -> None:
        """Take the head, after the whole body."""
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.answer = Answer(response.status_code, headers, bytes(self._body))


class Exchange(Generic[Result]):
    """The tries of one call.

    Whoever sends them does this, and the same with `await`:

        while True:
            with exchange.trying() as attempt:
                send(attempt)  # may raise what httpx raises, or TimeoutError
            if exchange.wait_s is None:
                return exchange.result()
            sleep(exchange.wait_s)
    """

    def __init__(
        self,
        call: Call[Result],
        url: httpx.URL,
        credentials: Credentials,
        attempts: Attempts,
        breaker: CircuitBreaker,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.wait_s: float | None = None
        self._call = call
        self._url = url.copy_with(raw_path=url.raw_path.rstrip(b"/") + call.target.encode())
        self._credentials = credentials
        self._attempts = attempts
        self._breaker = breaker
        self._clock = clock
        self._now = now
        self._verdict = Verdict.REFUSED
        self._may_sign_anew = credentials.secret is not None
        self._answer: Answer | None = None
        self._problem: Problem | None = None
        self._cause: Exception | None = None

    @contextmanager
    def trying(self) -> Iterator[Try]:
        """Yield one try, and take what becomes of it. Raises what `result` raises."""
        try:
            ticket = self._breaker.begin()
        except CircuitOpen as error:
            raise self._make_error(str(error), NotExecuted) from error
        is_success: bool | None = None
        self._answer = self._cause = None
        try:
            attempt = self._begin()
            yield attempt
            if attempt.answer is not None:
                is_success = attempt.answer.http_status < 500
                self._take(attempt.answer)
        except (httpx.RequestError, TimeoutError) as error:
            # Where the client itself has no connection to spare, the server is not to blame.
            is_success = None if isinstance(error, httpx.PoolTimeout) else False
            self._miss(error)
        finally:
            self._breaker.end(ticket, is_success)

    def result(self) -> Result:
        """Return what the answer tells. Raises ProblemError, NotExecuted or OutcomeUnknown."""
        if self._answer is not None and self._is_telling:
            try:
                return self._call.read(self._answer)
            except UnreadableAnswer as error:
                self._attempts.may_be_executed = True
                raise self._make_error(str(error), NotExecuted) from error
        is_told = self._problem is not None and self._problem.name != ""
        is_final = self._attempts.ending is Ending.FINAL
        kind = ProblemError if is_told and is_final else NotExecuted
        raise self._make_error(self._explain(), kind) from self._cause

    # -- a try ---------------------------------------------------------------------------------

    def _begin(self) -> Try:
        call, timeout_s = self._call, self._attempts.begin()
        end_s = self._clock() + timeout_s
        # The target is signed as httpx will send it.
        target = self._url.raw_path.decode()
        headers = dict(_HEADERS)
        if call.body:
            headers["Content-Type"] = "application/json"
        headers |= self._credentials.make_headers(call.method, target, call.body, self._now())
        extensions = {"timeout": RemainingTime(end_s, self._clock)}
        request = httpx.Request(
            call.method, self._url, headers=headers, content=call.body, extensions=extensions
        )
        return Try(request, timeout_s, end_s, self._clock)

    def _take(self, answer: Answer) -> None:
        self._answer = answer
        self._verdict = judge_answer(answer.http_status, answer.body)
        self._problem = None if answer.http_status < 300 else read_problem(answer)
        retry_after_s = read_retry_after(answer.headers.get("retry-after"), self._now())
        if self._may_sign_anew and self._verdict is Verdict.REFUSED and answer.http_status == 401:
            self._may_sign_anew = False
            self.wait_s = self._attempts.wait_s(Verdict.BUSY, retry_after_s)
            if self.wait_s is not None:
                return
            # There is no other try to be had, and then it is as final as any 401.
        self.wait_s = self._attempts.wait_s(self._verdict, retry_after_s)

    def _miss(self, error: Exception) -> None:
        self._cause = error
        self._verdict = NOT_SENT if isinstance(error, _BEFORE_SENDING) else LOST
        self.wait_s = self._attempts.wait_s(self._verdict)

    # -- the end -------------------------------------------------------------------------------

    @property
    def _is_telling(self) -> bool:
        name = "" if self._problem is None else self._problem.name
        if self._verdict is Verdict.SETTLED:
            return name != "idempotency-key-reused"
        return name != "" and name == self._call.absent

    def _explain(self) -> str:
        last = self._cause or self._problem
        text = f"{type(last).__name__}: {last}" if isinstance(last, Exception) else str(last)
        tries, ending = self._attempts.tries, self._attempts.ending
        count = "one try" if tries == 1 else f"{tries} tries"
        return f"after {count} ({ending and ending.value}): {text}"

    def _make_error(self, message: str, kind: type[LedgerClientError]) -> LedgerClientError:
        """Return an error of this kind, or OutcomeUnknown where a try may have been executed."""
        if self._call.is_change and self._attempts.may_be_executed:
            kind = OutcomeUnknown
        return kind(message, self._call.keys, self._attempts.tries, self._problem)
