"""The client of a ledger server, for programs with threads and for programs with an event loop.

This module owns the two clients and how they send. What a call is, what its answer means, and when
to try again is told by the modules that they join. It never needs the server's libraries.

    from ledgercore.client import LedgerClient, OutcomeUnknown

    with LedgerClient("http://127.0.0.1:8000") as client:
        result = client.transfer("acct-0", "acct-1", 250)

A call tries again, with the same idempotency key, what is safe to try again, until the policy's
deadline. A refusal by the ledger is a result. Everything else is an error, and its class tells
whether money may have moved: ProblemError and NotExecuted: no; OutcomeUnknown: perhaps.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Self, TypedDict, TypeVar, Unpack

import httpx

from . import calls
from .caller import Caller, Options, give_key
from .exchange import Exchange, Try
from .loopback import make_options
from .types import (
    AccountRecord,
    AuditReport,
    KeyRecord,
    LedgerClientError,
    TransferIntent,
    TransferRecord,
    TransferResult,
)

GRACE_S = 0.05
"""How much later than httpx a try is ended from outside: httpx knows what it has waited for."""

Result = TypeVar("Result")


class AccountSettings(TypedDict, total=False):
    """The settings of an account that are to change. What is absent stays."""

    floor: int | None
    ceiling: int | None
    frozen: bool


class LedgerClient:
    """A client that blocks. Safe to share between threads; close it, or use it with `with`.

    A forked child may use it too, over connections of its own. `key` is sent as a bearer token,
    and `secret` signs every try. `transport` stands in for httpx's own, for other certificates or
    proxies; those of the environment are never asked for what is on this machine. A server that
    sends the head of an answer byte by byte can hold a call beyond its deadline here, where nothing
    but the socket ends a wait; it cannot hold the other client.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        secret: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **options: Unpack[Options],
    ) -> None:
        self._caller = Caller(url, key, secret, **options)
        self._sleep = sleep
        self._connect = partial(httpx.Client, transport=transport, **make_options(url))
        self._http = self._connect()
        self._process = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def transfer(
        self,
        source: str,
        target: str,
        amount: int,
        *,
        key: str | None = None,
        memo: str | None = None,
    ) -> TransferResult:
        """Move money, once per key, and return what the ledger has made of it.

        Give a key of your own where you must be able to ask again after this process has ended.
        """
        intent = give_key(TransferIntent(source, target, amount, memo, key))
        return self._run(self._caller.open(calls.post_transfer(intent)))

    def transfers(self, intents: Iterable[TransferIntent]) -> list[TransferResult]:
        """Ask for many transfers at once, and return what became of each, in their order."""
        keyed = [give_key(intent) for intent in intents]
        return self._run(self._caller.open(calls.post_transfers(keyed))) if keyed else []

    def open_account(
        self,
        account_id: str,
        asset: str,
        *,
        floor: int | None = 0,
        ceiling: int | None = None,
        frozen: bool = False,
    ) -> AccountRecord:
        """Open an account, or return the one that is there with the same settings."""
        call = calls.post_account(
            {"id": account_id, "asset": asset, "floor": floor, "ceiling": ceiling, "frozen": frozen}
        )
        return self._run(self._caller.open(call))

    def change_account(self, account_id: str, **settings: Unpack[AccountSettings]) -> AccountRecord:
        """Change the settings that are given, and return the account. Asking twice is harmless."""
        return self._run(self._caller.open(calls.patch_account(account_id, {**settings})))

    def account(self, account_id: str) -> AccountRecord:
        """Return an account. Raises ProblemError if there is none."""
        return self._run(self._caller.open(calls.get_account(account_id)))

    def accounts(self) -> Iterator[AccountRecord]:
        """Yield all accounts in the order in which they were opened, asking page by page."""
        cursor = None
        while True:
            page, cursor = self._run(self._caller.open(calls.get_accounts(cursor)))
            yield from page
            if cursor is None:
                return

    def find_transfer(self, transfer_id: int) -> TransferRecord | None:
        """Return a transfer by its id, applied or refused; None if there is none."""
        return self._run(self._caller.open(calls.get_transfer(transfer_id)))

    def find_key(self, key: str) -> KeyRecord:
        """Return what became of an idempotency key; its state is `unseen` if nothing did."""
        return self._run(self._caller.open(calls.get_key(key)))

    def audit(self, *, journal: bool = True) -> AuditReport:
        """Check the whole ledger, which takes a while; with its journal or without."""
        return self._run(self._caller.open(calls.get_audit(journal)))

    def ready(self) -> bool:
        """Ask once whether the server takes requests. False, too, if it does not answer."""
        try:
            return self._run(self._caller.open_once(calls.get_readiness()))
        except LedgerClientError:
            return False

    def _run(self, exchange: Exchange[Result]) -> Result:
        while True:
            with exchange.trying() as attempt:
                self._send(attempt)
            if exchange.wait_s is None:
                return exchange.result()
            self._sleep(exchange.wait_s)

    def _send(self, attempt: Try) -> None:
        if self._process != os.getpid():
            # A forked child shares the sockets: it would read its parent's answers. They are not
            # closed, for the parent goes on with them.
            self._http, self._process = self._connect(), os.getpid()
        response = self._http.send(attempt.request, stream=True)
        try:
            for chunk in response.iter_raw():
                attempt.add(chunk)
            attempt.finish(response)
        finally:
            response.close()


class AsyncLedgerClient:
    """The same client for an event loop: what LedgerClient does, with `await`.

    Who cancels a call may have asked for it already. Give a key of your own where that can happen.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        secret: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **options: Unpack[Options],
    ) -> None:
        self._caller = Caller(url, key, secret, **options)
        self._sleep = sleep
        self._http = httpx.AsyncClient(transport=transport, **make_options(url))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def transfer(
        self,
        source: str,
        target: str,
        amount: int,
        *,
        key: str | None = None,
        memo: str | None = None,
    ) -> TransferResult:
        """Move money, once per key, and return what the ledger has made of it."""
        intent = give_key(TransferIntent(source, target, amount, memo, key))
        return await self._run(self._caller.open(calls.post_transfer(intent)))

    async def transfers(self, intents: Iterable[TransferIntent]) -> list[TransferResult]:
        """Ask for many transfers at once, and return what became of each, in their order."""
        keyed = [give_key(intent) for intent in intents]
        return await self._run(self._caller.open(calls.post_transfers(keyed))) if keyed else []

    async def open_account(
        self,
        account_id: str,
        asset: str,
        *,
        floor: int | None = 0,
        ceiling: int | None = None,
        frozen: bool = False,
    ) -> AccountRecord:
        """Open an account, or return the one that is there with the same settings."""
        call = calls.post_account(
            {"id": account_id, "asset": asset, "floor": floor, "ceiling": ceiling, "frozen": frozen}
        )
        return await self._run(self._caller.open(call))

    async def change_account(
        self, account_id: str, **settings: Unpack[AccountSettings]
    ) -> AccountRecord:
        """Change the settings that are given, and return the account."""
        return await self._run(self._caller.open(calls.patch_account(account_id, {**settings})))

    async def account(self, account_id: str) -> AccountRecord:
        """Return an account. Raises ProblemError if there is none."""
        return await self._run(self._caller.open(calls.get_account(account_id)))

    async def accounts(self) -> AsyncIterator[AccountRecord]:
        """Yield all accounts in the order in which they were opened, asking page by page."""
        cursor = None
        while True:
            page, cursor = await self._run(self._caller.open(calls.get_accounts(cursor)))
            for account in page:
                yield account
            if cursor is None:
                return

    async def find_transfer(self, transfer_id: int) -> TransferRecord | None:
        """Return a transfer by its id, applied or refused; None if there is none."""
        return await self._run(self._caller.open(calls.get_transfer(transfer_id)))

    async def find_key(self, key: str) -> KeyRecord:
        """Return what became of an idempotency key; its state is `unseen` if nothing did."""
        return await self._run(self._caller.open(calls.get_key(key)))

    async def audit(self, *, journal: bool = True) -> AuditReport:
        """Check the whole ledger, which takes a while; with its journal or without."""
        return await self._run(self._caller.open(calls.get_audit(journal)))

    async def ready(self) -> bool:
        """Ask once whether the server takes requests. False, too, if it does not answer."""
        try:
            return await self._run(self._caller.open_once(calls.get_readiness()))
        except LedgerClientError:
            return False

    async def _run(self, exchange: Exchange[Result]) -> Result:
        while True:
            with exchange.trying() as attempt:
                # httpx bounds each wait; only the event loop can bound the sum of them.
                async with asyncio.timeout(attempt.timeout_s + GRACE_S):
                    await self._send(attempt)
            if exchange.wait_s is None:
                return exchange.result()
            await self._sleep(exchange.wait_s)

    async def _send(self, attempt: Try) -> None:
        response = await self._http.send(attempt.request, stream=True)
        try:
            async for chunk in response.aiter_raw():
                attempt.add(chunk)
            attempt.finish(response)
        finally:
            await response.aclose()
