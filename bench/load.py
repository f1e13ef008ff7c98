"""A closed-loop load generator for POST /transfer: each connection asks, waits, and asks again.

It speaks just enough HTTP/1.1 over asyncio protocols to be much faster than any server in Python,
and tells its own share of a processor, so that nobody mistakes its limit for the server's. As a
process of its own, `python -m bench.load URL` prints what it saw as one line of JSON.
"""

import asyncio
import json
import random
import secrets
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import click
import numpy as np
import uvloop

from .http import measure_answer

AMOUNT_MAX = 100
CPU_SHARE_MAX = 0.9
"""With a larger share of its processor than this, the generator may be what limits the rate."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask for: so many requests, or as many as fit in a time."""

    url: str
    connections: int = 64
    accounts: int = 10_000
    requests: int | None = None
    seconds: float | None = None
    seed: int = 1
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. `lost` counts requests whose connection broke before the answer."""

    requests: int
    seconds: float
    rate: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    statuses: dict[str, int]
    lost: int
    cpu_share: float
    is_bottleneck: bool


class RequestMaker:
    """Makes requests for transfers between two random accounts, each under a fresh key."""

    def __init__(self, plan: Plan) -> None:
        host = urlsplit(plan.url).netloc
        self._accounts = plan.accounts
        self._random = random.Random(plan.seed).random
        self._run = secrets.token_hex(8)
        self._number = 0
        # A percent sign in a line would stand for something else.
        more = "".join(f"{line}\r\n" for line in plan.headers).replace("%", "%%")
        self._head = (
            f"POST /transfer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
            f"Idempotency-Key: {self._run}-%d\r\nContent-Length: %d\r\n\r\n%s"
        )

    def make(self) -> bytes:
        """Return the bytes of one request."""
        choose, accounts = self._random, self._accounts
        source = int(choose() * accounts)
        target = (source + 1 + int(choose() * (accounts - 1))) % accounts
        amount = 1 + int(choose() * AMOUNT_MAX)
        body = f'{{"from":"acct-{source}","to":"acct-{target}","amount":{amount}}}'
        self._number += 1
        return (self._head % (self._number, len(body), body)).encode()


class Load:
    """One run: what all connections share."""

    def __init__(self, plan: Plan) -> None:
        self.make_request = RequestMaker(plan).make
        self.latencies_s: list[float] = []
        self.statuses: Counter[bytes] = Counter()
        self.lost = 0
        self._left = plan.requests
        self._end = None if plan.seconds is None else time.perf_counter() + plan.seconds
        self._open = plan.connections
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def may_ask(self) -> bool:
        """Tell whether one more request is to be sent; counts it."""
        if self._left is not None:
            self._left -= 1
            return self._left >= 0
        return self._end is None or time.perf_counter() < self._end

    def leave(self, is_lost: bool) -> None:
        """Count a connection out, which either had its answer or lost it."""
        self.lost += is_lost
        self._open -= 1
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    def fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the run: something was raised where nobody else would notice."""
        if not self._done.done():
            self._done.set_exception(context.get("exception") or RuntimeError(context["message"]))

    async def wait(self) -> None:
        """Return once every connection is done."""
        await self._done


class Connection(asyncio.Protocol):
    """One client, with one request on its way at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_at = 0.0
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        # uvloop's transports have all the methods of this class, but are none of its instances.
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; once it is whole, ask again."""
        buffer = self._buffer + data if self._buffer else data
        if len(buffer) < measure_answer(buffer):
            self._buffer = buffer
            return
        self._buffer = b""
        self._is_waiting = False
        self._load.latencies_s.append(time.perf_counter() - self._sent_at)
        self._load.statuses[buffer[9:12]] += 1
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave, whoever hung up."""
        self._load.leave(is_lost=self._is_waiting)

    def _ask(self) -> None:
        assert self._transport is not None
        if not self._load.may_ask():
            self._transport.close()
            return
        request = self._load.make_request()
        self._is_waiting = True
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def run_load(plan: Plan) -> Result:
    """Run a plan against a server and return what came of it."""
    parts = urlsplit(plan.url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    loop = asyncio.get_running_loop()
    started, cpu_started = time.perf_counter(), time.process_time()
    load = Load(plan)
    loop.set_exception_handler(load.fail)
    transports = []
    try:
        for _ in range(plan.connections):
            transport, _ = await loop.create_connection(partial(Connection, load), host, port)
            transports.append(transport)
        await load.wait()
    finally:
        for transport in transports:
            transport.abort()
    seconds = time.perf_counter() - started
    cpu_share = (time.process_time() - cpu_started) / seconds
    return _summarize(load, seconds, cpu_share)


def _summarize(load: Load, seconds: float, cpu_share: float) -> Result:
    latencies_ms = np.array(load.latencies_s or [0.0]) * 1000
    p50_ms, p90_ms, p99_ms = (round(float(p), 3) for p in np.percentile(latencies_ms, [50, 90, 99]))
    requests = len(load.latencies_s)
    return Result(
        requests=requests,
        seconds=round(seconds, 3),
        rate=round(requests / seconds, 1),
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        statuses={status.decode(): count for status, count in sorted(load.statuses.items())},
        lost=load.lost,
        cpu_share=round(cpu_share, 3),
        is_bottleneck=cpu_share > CPU_SHARE_MAX,
    )


@click.command()
@click.argument("url")
@click.option("--connections", default=64, show_default=True, help="Clients at a time.")
@click.option("--accounts", default=10_000, show_default=True, help="acct-0 ... that may be named.")
@click.option("--requests", type=int, help="Stop after so many requests.")
@click.option("--seconds", type=float, help="Stop after so long; 3 if neither is given.")
@click.option("--seed", default=1, show_default=True, help="Of the choice of accounts.")
@click.option("--header", "headers", multiple=True, help="A line for the head of each request.")
def main(
    url: str,
    connections: int,
    accounts: int,
    requests: int | None,
    seconds: float | None,
    seed: int,
    headers: tuple[str, ...],
) -> None:
    """Load the server at URL with transfers, and print the result as JSON."""
    if requests is None and seconds is None:
        seconds = 3.0
    plan = Plan(url, connections, accounts, requests, seconds, seed, headers)
    result = uvloop.run(run_load(plan))
    click.echo(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
