"""Both clients as one: what a test asks of the blocking client, it asks of the other as well.

This module owns the adaptor, and the time that a test makes: a clock that moves when a client
sleeps, and by nothing else.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ledgercore.client import AsyncLedgerClient, Backoff, LedgerClient, RetryPolicy

KINDS = ("blocking", "async")
# To read the certificates of the machine takes longer than most of these tests.
CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

APPLIED = {
    "id": 7,
    "status": "applied",
    "from": "a",
    "to": "b",
    "amount": 5,
    "asset": "USD/2",
    "created_at": "2026-11-22T14:01:43.813128Z",
}
"""What a server tells of a transfer of 5 from a to b."""


class FakeTime:
    """A clock that a sleep moves on; `slept` holds every sleep in seconds."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Adapted:
    """An AsyncLedgerClient whose methods block, as those of a LedgerClient do."""

    def __init__(self, client: AsyncLedgerClient, run: Callable[[Any], Any]) -> None:
        self._client = client
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._run(method(*arguments, **options))

    def accounts(self) -> Iterator[Any]:
        async def collect() -> list[Any]:
            return [account async for account in self._client.accounts()]

        yield from self._run(collect())


def make_policy(**settings: Any) -> RetryPolicy:
    """Return a policy that waits no longer than a server asks for."""
    return RetryPolicy(**{"backoff": Backoff(random=lambda: 0.0), "attempts_max": 20, **settings})


@contextmanager
def make_client(
    kind: str, url: str, *credentials: str | None, time: FakeTime | None = None, **options: Any
) -> Iterator[Any]:
    """Yield a client of this kind that runs by this time, or by that of the machine."""
    options = {"policy": make_policy(), **options}
    if time is not None:
        options |= {"clock": time.clock, "now": time.clock}
    if kind == "blocking":
        options.setdefault("transport", httpx.HTTPTransport(CERTIFICATES))
        if time is not None:
            options["sleep"] = time.sleep
        with LedgerClient(url, *credentials, **options) as client:
            yield client
        return
    options.setdefault("transport", httpx.AsyncHTTPTransport(CERTIFICATES))
    with asyncio.Runner() as runner:
        if time is not None:
            options["sleep"] = time.sleep_async
        client_async = AsyncLedgerClient(url, *credentials, **options)
        try:
            yield Adapted(client_async, runner.run)
        finally:
            runner.run(client_async.close())
