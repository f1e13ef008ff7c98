"""When to try again, how long to wait before it, and when to give up: pure logic.

This module owns the table of what is safe to try again, the wait between two tries, and the budget
that keeps retries from becoming the load that keeps a server down. It never sends anything, never
sleeps, and knows no HTTP library: clock and random are handed in, and so is what was answered.

One intent, which is one idempotency key, has one `Attempts`. Whoever sends it does this:

    attempts = Attempts(policy, budget)            # one budget for all intents of a client
    while True:
        timeout_s = attempts.begin()               # a try begins, and may take this long
        ...                                        # send it, always with the same key
        verdict = judge_answer(http_status, body)  # or NOT_SENT, or LOST, if there is no answer
        wait_s = attempts.wait_s(verdict, read_retry_after(header, time.time()))
        if wait_s is None:
            break                                  # it ends here; `attempts.ending` says why
        sleep(wait_s)

Afterwards `attempts.tries` counts the tries, and `attempts.may_be_executed` tells whether money may
have moved without an answer that says so.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

import msgspec

URN = "urn:ledgercore:problem:"
"""What the `type` of every problem of a ledger server begins with."""
RETRY_AFTER_MAX_S = 86_400.0
"""What a server can ask for at most; it keeps a mistaken one from an eternity."""
TIMEOUT_MIN_S = 0.001
"""The shortest time of a try, for many libraries take 0 for no limit at all."""

_EXPONENT_MAX = 63
_TOKEN = 1000


# -- what an answer means --------------------------------------------------------------------


class Verdict(Enum):
    """What a try has come to: whether it may have been executed, and whether to try again.

    It is about one try. A later try that was certainly not executed says nothing about an earlier
    one that may have been; only SETTLED is about the key, and with it about all tries.
    """

    SETTLED = "the server has told what became of the key"
    REFUSED = "not executed, and the same request would be refused again"
    BUSY = "not executed, and a later try may be"
    OPEN = "perhaps executed; a later try with the same key tells"
    BROKEN = "perhaps executed, and trying again is not expected to tell"

    @property
    def is_retryable(self) -> bool:
        """Whether another try with the same key is safe and may help."""
        return self in (Verdict.BUSY, Verdict.OPEN)

    @property
    def may_be_executed(self) -> bool:
        """Whether the try may have moved money without a word about it."""
        return self in (Verdict.OPEN, Verdict.BROKEN)


NOT_SENT = Verdict.BUSY
"""No connection was made, so not a byte of the request has left."""
LOST = Verdict.OPEN
"""The connection broke, or the time of the try was over, when the request may have arrived."""


class _Members(msgspec.Struct, gc=False):
    """The members of a problem that a verdict rests on."""

    type: str = ""
    outcome: str = ""
    executed: bool | None = None


_PROMISES: dict[tuple[int, str], Verdict] = {
    # The key leads to another payload, so no earlier try of this one was executed either.
    (422, "idempotency-key-reused"): Verdict.SETTLED,
    # The one conflict that is not about a key: the account is there, and stays as it is.
    (409, "account-exists"): Verdict.REFUSED,
    (409, "profile-running"): Verdict.REFUSED,
    # The journal failed under the request. After a restart the key has its answer.
    (500, "outcome-unknown"): Verdict.OPEN,
    (500, "internal-error"): Verdict.BROKEN,
}
"""What a ledger server means by a problem, where its status alone does not tell."""

_STATUSES: dict[int, Verdict] = {
    # A request with the same key is under way, so the intent may be executed already.
    409: Verdict.OPEN,
    429: Verdict.BUSY,
    500: Verdict.BROKEN,
    502: Verdict.BROKEN,
    503: Verdict.BUSY,
    504: Verdict.BROKEN,
}
"""What a ledger server means by a status; one that is not here is REFUSED."""

_FOREIGN = {Verdict.BUSY: Verdict.OPEN, Verdict.REFUSED: Verdict.BROKEN}
"""What becomes of a promise that is not a ledger server's."""

_decode_members = msgspec.json.Decoder(_Members).decode


def judge_answer(http_status: int, body: bytes = b"") -> Verdict:
    """Return what an answer means for the try that it answers.

    | answer                                      | verdict   |
    |---------------------------------------------|-----------|
    | 2xx; a refusal by the ledger (`outcome`)    | SETTLED   |
    | 422 `idempotency-key-reused`                | SETTLED   |
    | 429; 503; 504 with `"executed": false`      | BUSY      |
    | 409, except those two of ours               | OPEN      |
    | 500 `outcome-unknown`                       | OPEN      |
    | any other 500; 502; 504                     | BROKEN    |
    | any other problem, `account-exists` too     | REFUSED   |

    Only a ledger server can promise that nothing was executed. What stands between may have sent
    the request on before it answered by itself, so an answer that is no problem of ours is OPEN
    where the table says BUSY, and BROKEN where it says REFUSED.

    What is REFUSED stays so for the same request. A signed one is another with each signature:
    exchange.py tries it once more after a 401.
    """
    if 200 <= http_status < 300:
        return Verdict.SETTLED
    try:
        members = _decode_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        members = _Members()
    return judge_problem(http_status, members.type, members.outcome, members.executed)


def judge_problem(
    http_status: int, type_: str, outcome: str = "", executed: bool | None = None
) -> Verdict:
    """Return what `judge_answer` does, of a problem whose members are read already."""
    if http_status == 504 and executed is False:
        return Verdict.BUSY
    verdict = _STATUSES.get(http_status, Verdict.REFUSED)
    if not type_.startswith(URN):
        return _FOREIGN.get(verdict, verdict)
    if outcome == "refused":
        return Verdict.SETTLED
    return _PROMISES.get((http_status, type_.removeprefix(URN)), verdict)


def read_retry_after(text: str | None, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for; None for none, or none that can be read.

    It is a number of seconds or a date (RFC 9110, 10.2.3). `now_s` is the time since the Unix
    epoch. The result is between 0, for a date that has passed, and RETRY_AFTER_MAX_S.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - now_s, 0.0), RETRY_AFTER_MAX_S)


# -- how long to wait, and how often ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter.

    The wait is anything between nothing and a bound that doubles from try to try, so that clients
    that failed together do not come back together. Source: M. Brooker, Exponential Backoff And
    Jitter, AWS Architecture Blog, 2015.
    """

    base_s: float = 0.05
    cap_s: float = 5.0
    random: Callable[[], float] = random.random

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait after the try of this number; the first one is 0."""
        bound_s = self.base_s * 2.0 ** min(attempt, _EXPONENT_MAX)
        return self.random() * min(self.cap_s, bound_s)


class RetryBudget:
    """What a client may spend on retries: a share of its first tries, and a reserve.

    Each first try puts `ratio` of a token in, each retry takes a whole one out, and without one
    there is no retry. So retries add at most `ratio` to the load of a server that is down, however
    many tries a single intent may have. At the start `reserve` tokens are there, and never more
    than `tokens_max`. Safe to share between threads. Sources: gRPC A6, Client Retries (throttling);
    Google SRE Book, Handling Overload; Finagle's RetryBudget.
    """

    def __init__(self, ratio: float = 0.1, reserve: int = 10, tokens_max: int = 100) -> None:
        # Thousandths, as in gRPC: ten tenths of a float are less than one.
        self._deposit = round(ratio * _TOKEN)
        self._balance_max = max(tokens_max, reserve) * _TOKEN
        self._balance = reserve * _TOKEN
        self._lock = threading.Lock()

    @property
    def tokens(self) -> float:
        """How many retries are paid for."""
        return self._balance / _TOKEN

    def deposit(self) -> None:
        """Note a first try."""
        with self._lock:
            self._balance = min(self._balance + self._deposit, self._balance_max)

    def withdraw(self) -> bool:
        """Pay for a retry; False if the budget does not reach."""
        with self._lock:
            if self._balance < _TOKEN:
                return False
            self._balance -= _TOKEN
            return True


# -- one intent ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The bounds of a client's tries: how many, and how many seconds over all of them."""

    attempts_max: int = 6
    deadline_s: float = 30.0
    try_timeout_s: float = 10.0
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if self.attempts_max < 1:
            raise ValueError("attempts_max: there is at least one try")
        if self.deadline_s <= 0 or self.try_timeout_s <= 0:
            raise ValueError("deadline_s, try_timeout_s: they are above zero")


class Ending(Enum):
    """Why there is no further try."""

    FINAL = "the answer is final"
    ATTEMPTS = "all tries are used"
    DEADLINE = "the deadline is too near"
    BUDGET = "the retry budget is empty"


class Attempts:
    """The tries of one intent, from the first one to the end. The module's head shows its use.

    Its deadline runs from here on. It belongs to one thread or task; the budget may be shared.
    """

    __slots__ = ("_budget", "_clock", "_end_s", "_policy", "ending", "may_be_executed", "tries")

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._end_s = clock() + policy.deadline_s
        self.tries = 0
        self.may_be_executed = False
        self.ending: Ending | None = None

    def begin(self) -> float:
        """Begin a try, and return how many seconds it may take; never less than TIMEOUT_MIN_S."""
        if self.tries == 0:
            self._budget.deposit()
        self.tries += 1
        return min(self._policy.try_timeout_s, max(self.left_s(), TIMEOUT_MIN_S))

    def wait_s(self, verdict: Verdict, retry_after_s: float | None = None) -> float | None:
        """Take what the try came to, and return how long to wait before the next one.

        None means that there is none, and `ending` says why. What the server asks for is waited
        at least, with the jitter on top; if that is longer than the deadline, it ends at once.
        """
        if verdict is Verdict.SETTLED:
            self.may_be_executed = False
        self.may_be_executed |= verdict.may_be_executed
        wait_s = (retry_after_s or 0.0) + self._policy.backoff.delay_s(self.tries - 1)
        self.ending = self._find_ending(verdict, wait_s)
        return wait_s if self.ending is None else None

    def left_s(self) -> float:
        """Return the seconds until the deadline; negative once it has passed."""
        return self._end_s - self._clock()

    def _find_ending(self, verdict: Verdict, wait_s: float) -> Ending | None:
        if not verdict.is_retryable:
            return Ending.FINAL
        if self.tries >= self._policy.attempts_max:
            return Ending.ATTEMPTS
        if wait_s >= self.left_s():
            return Ending.DEADLINE
        # Last, so that who gives up for another reason leaves the token to others.
        return None if self._budget.withdraw() else Ending.BUDGET
