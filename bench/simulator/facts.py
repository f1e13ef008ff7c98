"""What is read from a server beside the load: readiness, balances, its audit and its metrics.

This module owns those questions and how their answers are read. It changes nothing in the server.
"""

import time
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ..load.link import Address
from .asking import RequestMaker
from .questions import Answer, Asker, NoAnswer

PAGE = 1000
AUDIT_TIMEOUT_S = 120.0
METRICS_TIMEOUT_S = 2.0

Balances = npt.NDArray[np.int64]


class SimulationFailed(Exception):
    """The run cannot be made, or not to its end; the message is one line that says why."""


class _Account(msgspec.Struct):
    id: str
    balance: int


class _Page(msgspec.Struct):
    accounts: list[_Account]
    next: str | None = None


class Audit(msgspec.Struct):
    """What the server says of its own books."""

    ok: bool
    sums: dict[str, int] = {}
    violations: list[Any] = []


class Metrics(msgspec.Struct):
    """What the server tells of its queue and its workers; None for what it does not tell."""

    queue_depth: float | None = None
    active_workers: float | None = None


class FactFinder:
    """Asks one server. Close it at the end."""

    def __init__(self, address: Address, maker: RequestMaker) -> None:
        self._address = address
        self._maker = maker
        self._watcher = Asker(address, METRICS_TIMEOUT_S)

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
        request = self._maker.make("GET", "/metrics", fields="Accept: application/json\r\n")
        answer = await self._watcher.ask(request)
        if answer.status != 200:
            return None
        try:
            return msgspec.json.decode(answer.body, type=Metrics)
        except msgspec.MsgspecError:
            return None

    def close(self) -> None:
        """Hang up."""
        self._watcher.close()

    async def _get(self, target: str, timeout_s: float = 10.0) -> Answer:
        asker = Asker(self._address, timeout_s)
        try:
            return await asker.ask(self._maker.make("GET", target))
        except NoAnswer as failure:
            raise SimulationFailed(f"GET {target} has no answer: {failure}") from None
        finally:
            asker.close()
