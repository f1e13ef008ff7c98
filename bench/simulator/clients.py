"""How each kind of client behaves: polite ones, and four kinds that are not.

This module owns what a client does with an answer, or without one. When it has something to ask is
decided by the loops in loops.py, and what is safe to try again by ledgercore/client/retries.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from hashlib import blake2b
from itertools import count
from random import Random

import msgspec
import numpy as np

from ledgercore.client import retries
from ledgercore.client.retries import Attempts, Backoff, RetryBudget, RetryPolicy, Verdict

from ..load.http1 import find_header, split_answer
from ..load.link import NO_CONNECTION, Address, Link, connect
from .messages import Progress
from .plan import Share
from .requests import NONSENSE, RequestMaker
from .samples import (
    ANSWERED,
    GAVE_UP,
    HUNG_UP,
    LIMITED,
    REUSED,
    STORED,
    TIMEOUT,
    UNFINISHED,
    Recorder,
    Sent,
)
from .workload import AccountChoice, draw_transfers

CLOCK = time.perf_counter
NEVER_S = float("inf")
KEY_REUSED = "idempotency-key-reused"
HAMMER_TRIES_MAX = 100
REUSE_SHARE, OTHER_PAYLOAD_SHARE = 0.5, 0.34
HISTORY = 32
HANG_UP_MAX_S = 0.004
_AFTER_FAILURE = Backoff(base_s=0.005, cap_s=1.0)
_FINAL = (Verdict.SETTLED, Verdict.REFUSED)


class _Problem(msgspec.Struct, gc=False):
    type: str = ""


_decode_problem = msgspec.json.Decoder(_Problem).decode


def name_problem(status: int, body: bytes) -> str:
    """Return the short name of a problem; one made of the status where the body tells none."""
    try:
        name = _decode_problem(body).type.rpartition(":")[2]
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = ""
    return name[:64] or f"http-{status}"


def digest_body(body: bytes) -> bytes:
    """Return eight bytes that stand for a body."""
    return blake2b(body, digest_size=8).digest()


class Crew:
    """What all clients of a process share."""

    def __init__(self, share: Share, address: Address) -> None:
        plan = share.plan
        numpy_random = np.random.default_rng([plan.seed, 1 + share.index])
        choice = AccountChoice(plan.accounts, plan.zipf, numpy_random)
        self.plan = plan
        self.address = address
        self.random = Random(int(numpy_random.integers(1 << 62)))
        self.policy = RetryPolicy(
            plan.attempts_max,
            plan.deadline_s,
            plan.try_timeout_s,
            Backoff(random=self.random.random),
        )
        self.maker = RequestMaker(plan)
        self.numbers = count(share.index, plan.processes)
        self.transfers = draw_transfers(choice, plan.amount_max, numpy_random)
        self.progress = Progress()
        self.recorder = Recorder(0.0)
        self.is_stopping = False
        """Once it is set, nobody tries again."""
        self.release: Callable[[Client], None] = lambda client: None
        """Is called when a client has come to the end of an intent."""


class Client:
    """A polite client: waits with full jitter, honours Retry-After, and has a retry budget."""

    kind = "polite"

    def __init__(self, crew: Crew) -> None:
        self.failures = 0
        self.try_ends_s = NEVER_S
        self.is_busy = False
        self._crew = crew
        self._link = Link(crew.address, self, crew.plan.try_timeout_s)
        self._policy = crew.policy
        self._budget = RetryBudget()
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect before the first request. Who cannot will try again when it has one."""
        try:
            await self._link.open()
        except OSError:
            self._crew.progress.failures[NO_CONNECTION] += 1

    def start(self, scheduled_s: float, flags: int = 0) -> None:
        """Begin an intent that was due at this time."""
        self.is_busy = True
        self._scheduled_s = scheduled_s
        self._status, self._problem, self._flags = 0, "", flags
        self._sent = self.choose()
        self._request = b""
        self._attempts = Attempts(self._policy, self._budget, CLOCK)
        self._try()

    def choose(self) -> Sent:
        """Return the next transfer, under a fresh key."""
        crew = self._crew
        return Sent(next(crew.numbers), *next(crew.transfers))

    def make_request(self) -> bytes:
        """Return the bytes of a try."""
        return self._crew.maker.make_transfer(self._sent)

    def send(self, request: bytes) -> None:
        """Send a try."""
        self._link.send(request)

    def receive_answer(self, status: int, answer: bytes) -> None:
        """Be done with an answer that is final; try again after any other."""
        now_s = CLOCK()
        head, body = split_answer(answer)
        self._status, self._problem = status, ""
        if status == 201:
            self._flags |= STORED
            self.finish(ANSWERED, now_s, digest_body(body))
            return
        verdict = retries.judge_answer(status, body)
        if not 200 <= status < 300:
            self._problem = name_problem(status, body)
            self._crew.progress.refusals[self._problem] += 1
        if status == 429:
            self._flags |= LIMITED
        if verdict not in _FINAL:
            self._try_again(verdict, find_header(head, b"retry-after"), GAVE_UP)
            return
        if verdict is Verdict.SETTLED and self._problem != KEY_REUSED:
            self._flags |= STORED
        self.finish(ANSWERED, now_s, digest_body(body))

    def receive_failure(self, failure: str, reason: str = "") -> None:
        """Try again where there was no answer."""
        self._status, self._problem = 0, ""
        self._crew.progress.failures[failure] += 1
        verdict = retries.NOT_SENT if failure == NO_CONNECTION else retries.LOST
        self._try_again(verdict, None, failure)

    def hang_up(self) -> None:
        """Close the connection, and forget what is on its way."""
        self._link.hang_up()

    def give_up_try(self) -> None:
        """Give up the try that has taken too long."""
        self.hang_up()
        self.receive_failure(TIMEOUT)

    def abandon(self) -> None:
        """Give up everything: the run is over."""
        self.hang_up()
        if self._timer is not None:
            self._timer.cancel()
        if self.is_busy:
            self.finish(UNFINISHED)

    def rest_s(self) -> float:
        """Return how long to leave the server alone before the next intent."""
        return _AFTER_FAILURE.delay_s(self.failures) if self.failures else 0.0

    def finish(self, end: str, answered_s: float = float("nan"), digest: bytes = bytes(8)) -> None:
        """Come to the end of the intent, and be free for the next."""
        crew = self._crew
        counts = crew.progress.counts
        self.is_busy = False
        self.try_ends_s = NEVER_S
        if end == ANSWERED:
            self.failures = 0
            counts.answered += 1
            crew.progress.latencies_us.append(int((answered_s - self._scheduled_s) * 1e6))
        else:
            self.failures += 1
            counts.failed += 1
        times = self._scheduled_s, self._sent_s, answered_s
        crew.recorder.record(
            self.kind, end, *times, self._sent, self._attempts.tries,
            self._status, self._problem, digest, self._flags,
        )  # fmt: skip
        crew.release(self)

    def _try(self) -> None:
        timeout_s = self._attempts.begin()
        now_s = CLOCK()
        counts = self._crew.progress.counts
        counts.sent += 1
        if self._attempts.tries == 1:
            self._sent_s = now_s
        else:
            counts.retries += 1
        self.try_ends_s = now_s + timeout_s
        if not self._request or self._crew.maker.is_signing:
            self._request = self.make_request()
        self.send(self._request)

    def _try_again(self, verdict: Verdict, retry_after: str | None, end: str) -> None:
        self.try_ends_s = NEVER_S
        wait_s = None
        if not self._crew.is_stopping:
            wait_s = self.find_wait_s(verdict, retry_after)
        if wait_s is None:
            self.finish(end)
        else:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._try)

    def find_wait_s(self, verdict: Verdict, retry_after: str | None) -> float | None:
        """Return how long to wait before the next try, None for no other."""
        return self._attempts.wait_s(verdict, retries.read_retry_after(retry_after, time.time()))


class HammeringClient(Client):
    """Tries again at once, whatever it is asked to do."""

    kind = "hammer"

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        plan = crew.plan
        at_once = Backoff(base_s=0.0, cap_s=0.0)
        self._policy = RetryPolicy(HAMMER_TRIES_MAX, plan.deadline_s, plan.try_timeout_s, at_once)
        self._budget = RetryBudget(HAMMER_TRIES_MAX, HAMMER_TRIES_MAX, HAMMER_TRIES_MAX)

    def find_wait_s(self, verdict: Verdict, retry_after: str | None) -> float | None:
        """Wait for nothing."""
        return self._attempts.wait_s(verdict)


class ReusingClient(Client):
    """Reuses keys, for the same transfer and sometimes for another."""

    kind = "reuse"

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._history: deque[Sent] = deque(maxlen=HISTORY)

    def choose(self) -> Sent:
        """Return a transfer under a fresh key, or under one of the past."""
        random = self._crew.random
        if not self._history or random.random() >= REUSE_SHARE:
            sent = super().choose()
            self._history.append(sent)
            return sent
        self._flags |= REUSED
        past = self._history[random.randrange(len(self._history))]
        is_other = random.random() < OTHER_PAYLOAD_SHARE
        return past._replace(amount=past.amount + 1) if is_other else past


class DisconnectingClient(Client):
    """Hangs up when it has sent its request, and never learns what came of it."""

    kind = "disconnect"

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._sending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Do nothing: each request has a connection of its own."""

    def send(self, request: bytes) -> None:
        """Send a try, and hang up a moment later."""
        self._sending = asyncio.create_task(self._send_and_hang_up(request))

    def hang_up(self) -> None:
        """Give up a connection that is not made in time."""
        if self._sending is not None:
            self._sending.cancel()

    def rest_s(self) -> float:
        """Return a moment: to connect each time is work that would crowd out the others."""
        return self._crew.random.expovariate(100.0)

    async def _send_and_hang_up(self, request: bytes) -> None:
        crew = self._crew
        try:
            sock = await connect(crew.address, crew.plan.try_timeout_s)
        except OSError:
            self.receive_failure(NO_CONNECTION)
            return
        with closing(sock), suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(sock, request)
            await asyncio.sleep(crew.random.uniform(0.001, HANG_UP_MAX_S))
        crew.progress.failures[HUNG_UP] += 1
        self.finish(HUNG_UP)


class NonsenseClient(Client):
    """Sends invalid requests, once each, and goes on whatever the answer."""

    kind = "nonsense"

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._policy = RetryPolicy(1, crew.plan.deadline_s, crew.plan.try_timeout_s)

    def choose(self) -> Sent:
        """Return a fresh key without a transfer."""
        return Sent(next(self._crew.numbers), 0, 0, 0)

    def make_request(self) -> bytes:
        """Return an invalid request."""
        maker = self._crew.maker
        make = self._crew.random.choice(list(NONSENSE.values()))
        return make(maker.fixed, maker.make_key(self._sent.number))


CLIENTS: dict[str, type[Client]] = {
    client.kind: client
    for client in (Client, HammeringClient, ReusingClient, DisconnectingClient, NonsenseClient)
}
"""The class of each kind."""
