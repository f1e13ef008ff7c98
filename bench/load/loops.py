"""When requests are sent: in a closed loop, or in an open one.

In the closed loop each client waits for its answer and asks again; in the open one requests come by
a schedule, whatever the server does. Both are much faster than any server in Python, and tell their
own share of a processor, so that nobody mistakes their limit for the server's. This module owns who
asks when, and what is counted. What is asked comes from whoever runs a loop.
"""

import asyncio
import random
import secrets
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self
from urllib.parse import urlsplit

from ..workloads import AMOUNT_MAX
from .alarm import Alarm
from .http1 import make_transfer
from .link import UNREADABLE, Connection, find_address, open_connection

CLOCK = time.perf_counter
CONNECT_TIMEOUT_S = 60.0
CPU_SHARE_MAX = 0.9
"""With a larger share of its processor than this, the generator may be what limits the rate."""


@dataclass(slots=True)
class Course:
    """What came of a run. `lost` counts requests whose connection broke before the answer.

    A latency is from when a request was sent, or in the open loop from when it was due;
    `lateness_s` has how late each was sent that was due while a client was free. `answers` are in
    the order of the requests, and empty unless they were to be kept. `cpu_share` is how much of its
    processor the generator had.
    """

    latencies_s: list[float] = field(default_factory=list)
    lateness_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    answers: list[bytes] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0
    cpu_share: float = 0.0


class Loop(ABC):
    """Connections to a server, which are open once the `async with` block begins."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._clients = [Client(self) for _ in range(connections)]
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.course = Course()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *error: object) -> None:
        self.close()

    async def open(self) -> Self:
        """Connect. Raises OSError."""
        try:
            address = await find_address(self._url)
            for client in self._clients:
                client.connection = await open_connection(address, client, CONNECT_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            if client.connection is not None:
                client.connection.abandon()

    async def _run(self, deadline_s: float | None) -> Course:
        """Let all clients work until the loop has ended, and return what came of it.

        Raises ValueError for an answer that cannot be read, and TimeoutError after the deadline.
        """
        loop = asyncio.get_running_loop()
        self.course, self._done = Course(), loop.create_future()
        loop.set_exception_handler(self._take_error)
        started_s, cpu_started_s = CLOCK(), time.process_time()
        try:
            self._begin(started_s)
            async with asyncio.timeout(deadline_s):
                await self._done
        finally:
            loop.set_exception_handler(None)
        self.course.seconds = CLOCK() - started_s
        self.course.cpu_share = (time.process_time() - cpu_started_s) / self.course.seconds
        return self.course

    @abstractmethod
    def _begin(self, started_s: float) -> None:
        """Let the first requests be sent."""

    @abstractmethod
    def take_free(self, client: "Client", is_lost: bool = False) -> None:
        """Take a client that has its answer, or has lost its connection and is of no more use."""

    def end(self, error: BaseException | None = None) -> None:
        """End the run, which has failed if there is an error."""
        if not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)

    def _take_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the run: something was raised where nobody else would notice."""
        self.end(context.get("exception") or RuntimeError(context["message"]))


class Client:
    """One connection of a loop, with one request on its way at a time."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._since_s = 0.0
        self._number: int | None = None
        self.connection: Connection | None = None

    def send(self, request: bytes, since_s: float, number: int | None = None) -> None:
        """Send a request, whose latency counts from `since_s`; keep its answer under a number."""
        assert self.connection is not None
        self._since_s, self._number = since_s, number
        self.connection.send(request)

    def receive_answer(self, status: int, answer: bytes) -> None:
        """Count an answer, and be free for the next request."""
        course = self._loop.course
        course.latencies_s.append(CLOCK() - self._since_s)
        course.statuses[status] += 1
        if self._number is not None:
            course.answers[self._number] = answer
        self._loop.take_free(self)

    def receive_failure(self, failure: str, reason: str) -> None:
        """Count a request that is lost; one whose answer cannot be read ends the run."""
        self._loop.course.lost += 1
        if failure == UNREADABLE:
            self._loop.end(ValueError(reason))
        self._loop.take_free(self, is_lost=True)


class ClosedLoop(Loop):
    """Each client asks, waits for the answer, and asks again."""

    async def run(
        self,
        requests: Iterator[bytes],
        *,
        seconds: float = float("inf"),
        deadline_s: float | None = None,
        is_keeping: bool = False,
    ) -> Course:
        """Send requests until they or the time are at an end, and return what came of it."""
        self._requests = enumerate(requests)
        self._seconds = seconds
        self._is_keeping = is_keeping
        return await self._run(deadline_s)

    def _begin(self, started_s: float) -> None:
        self._end_s = started_s + self._seconds
        self._busy = len(self._clients)
        for client in self._clients:
            self.take_free(client)

    def take_free(self, client: Client, is_lost: bool = False) -> None:
        """Let a client send the next request, or be done where there is none or no time is left."""
        now_s = CLOCK()
        found = next(self._requests, None) if now_s < self._end_s and not is_lost else None
        if found is not None:
            number, request = found
            if self._is_keeping:
                self.course.answers.append(b"")
            client.send(request, now_s, number if self._is_keeping else None)
            return
        self._busy -= 1
        if self._busy == 0:
            self.end()


class OpenLoop(Loop):
    """Requests are due at moments that are given. Those that find no free client wait for one.

    So a server that stands still cannot slow the questions down and hide how long they had to wait
    (what G. Tene calls coordinated omission).
    """

    async def run(
        self, requests: Iterator[bytes], moments_s: Sequence[float], deadline_s: float
    ) -> Course:
        """Send a request at each moment, in seconds from the start, and return what came of it."""
        self._requests = requests
        self._moments_s = deque(moments_s)
        self._alarm = Alarm(self._arrive)
        try:
            return await self._run(deadline_s)
        finally:
            self._alarm.close()

    def _begin(self, started_s: float) -> None:
        self._started_s = started_s
        self._free = deque(self._clients)
        self._waiting: deque[float] = deque()
        self._arrive()

    def _arrive(self) -> None:
        """Take every moment that has come, and set the alarm for the next one."""
        while self._moments_s:
            due_s = self._started_s + self._moments_s[0]
            if due_s > CLOCK():
                self._alarm.set(due_s)
                break
            self._moments_s.popleft()
            if self._free:
                self.course.lateness_s.append(CLOCK() - due_s)
                self._free.popleft().send(next(self._requests), due_s)
            else:
                self._waiting.append(due_s)

    def take_free(self, client: Client, is_lost: bool = False) -> None:
        """Let a client take what has waited longest, or wait itself; end when there is no more."""
        if is_lost:
            self.end()
        elif self._waiting:
            client.send(next(self._requests), self._waiting.popleft())
        else:
            self._free.append(client)
            if not self._moments_s and len(self._free) == len(self._clients):
                self.end()


async def run_closed_loop(
    url: str, connections: int, requests: Iterator[bytes], **options: Any
) -> Course:
    """Connect, send requests, and hang up: `ClosedLoop.run` for those who run it once."""
    async with ClosedLoop(url, connections) as loop:
        return await loop.run(requests, **options)


def make_random_transfers(
    url: str, accounts: int, seed: int = 1, headers: Sequence[str] = ()
) -> Iterator[bytes]:
    """Yield requests for transfers between two random accounts, each under a fresh key.

    `headers` are lines such as `Name: value` that each request has besides its own.
    """
    host, run = urlsplit(url).netloc, secrets.token_hex(8)
    choose = random.Random(seed).random
    more = "".join(f"{line}\r\n" for line in headers)
    for number in count(1):
        source = int(choose() * accounts)
        target = (source + 1 + int(choose() * (accounts - 1))) % accounts
        amount = 1 + int(choose() * AMOUNT_MAX)
        call = f"acct-{source}", f"acct-{target}", amount, f"{run}-{number}"
        yield make_transfer(host, call, more)
