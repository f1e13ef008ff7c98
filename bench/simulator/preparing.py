"""The accounts of a run: opened and funded over HTTP where they are not there yet.

This module owns what a fresh server is given. It leaves accounts that exist as they are.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..load.link import Address
from .asking import RequestMaker
from .facts import FactFinder, SimulationFailed
from .questions import Answer, Series

ASSET = "USD/2"
BANK = "world"
FUNDS = 100_000_000
CONNECTIONS = 32
DEADLINE_S = 30.0
REQUESTS_PER_S = 500.0


class Preparation:
    """Opens and funds accounts, all at once, and stops at the first answer that says it cannot."""

    def __init__(self, address: Address, maker: RequestMaker, accounts: int) -> None:
        self._address = address
        self._maker = maker
        self._accounts = accounts
        self._opened: list[int] = []
        self._fault = ""

    async def prepare(self, facts: FactFinder) -> int:
        """Make sure that all accounts are there, and return how many had to be opened."""
        last = f"acct-{self._accounts - 1}"
        if await facts.has_account("acct-0") and await facts.has_account(last):
            return 0
        await self._ask_all([-1], self._open, self._take_opened)
        await self._ask_all(range(self._accounts), self._open, self._take_opened)
        new = [number for number in self._opened if number >= 0]
        await self._ask_all(new, self._fund, self._take_funded)
        return len(new)

    async def _ask_all(
        self,
        numbers: Sequence[int],
        make: Callable[[int], bytes],
        take: Callable[[int, Answer], None],
    ) -> None:
        series = Series(self._address, numbers, make, take)
        deadline_s = DEADLINE_S + len(numbers) / REQUESTS_PER_S
        await series.ask_all(connections=CONNECTIONS, deadline_s=deadline_s)
        if series.unanswered:
            self._fault = self._fault or f"{series.unanswered} requests had no answer"
        if self._fault:
            raise SimulationFailed(f"the accounts cannot be prepared: {self._fault}")

    def _open(self, number: int) -> bytes:
        body: dict[str, Any] = {"id": f"acct-{number}", "asset": ASSET}
        if number < 0:
            body = {"id": BANK, "asset": ASSET, "floor": None}
        return self._maker.make("POST", "/accounts", json.dumps(body))

    def _take_opened(self, number: int, answer: Answer) -> None:
        if answer.status == 201:
            self._opened.append(number)
        elif answer.status not in (200, 409):
            self._fault = f"POST /accounts was answered with {answer.status}"

    def _fund(self, number: int) -> bytes:
        body = json.dumps({"from": BANK, "to": f"acct-{number}", "amount": FUNDS})
        key = f"Idempotency-Key: {self._maker.make_key(number)}-fund\r\n"
        return self._maker.make("POST", "/transfer", body, key)

    def _take_funded(self, number: int, answer: Answer) -> None:
        if answer.status != 201:
            self._fault = f"{BANK} cannot fund acct-{number}: {answer.status}"
