"""Clients that never give up on a server where things go wrong, and what they were told by it.

This module owns the load of the tests of chaos, and the check of every word of it afterwards. It
never asks for chaos itself.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from ledgercore.client import (
    AsyncLedgerClient,
    Backoff,
    CircuitBreaker,
    LedgerClientError,
    RetryBudget,
    RetryPolicy,
    TransferIntent,
    TransferResult,
)
from tests.support.clients import CERTIFICATES
from tests.support.servers import post_transfer

ACCOUNTS = 12
FUNDS = 100
AMOUNT_MAX = 60
"""Large enough that some accounts run dry: a refusal has to last as well as a transfer."""
CLIENTS = 12
BULK_SIZE = 4
FLAGS = (f"--demo-accounts={ACCOUNTS}", f"--demo-funds={FUNDS}")


@dataclass
class Told:
    """What the clients asked for, and every answer that reached one of them, by the key."""

    intents: dict[str, TransferIntent] = field(default_factory=dict)
    answers: dict[str, set[tuple[int, bytes]]] = field(default_factory=dict)
    results: dict[str, TransferResult] = field(default_factory=dict)
    open_keys: set[str] = field(default_factory=set)
    calls: int = 0
    tries: int = 0


class Listener(httpx.AsyncHTTPTransport):
    """A transport that keeps the answers to single transfers, and sends half of them by each way.

    A header that the native way does not know makes a request one for the ordinary way.
    """

    def __init__(self, told: Told) -> None:
        super().__init__(CERTIFICATES)
        self._told = told

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._told.tries += 1
        if self._told.tries % 2:
            request.headers["X-Ordinary"] = "yes"
        response = await super().handle_async_request(request)
        body = await response.aread()
        await response.aclose()
        key = request.headers.get("idempotency-key")
        if request.url.path == "/transfer" and key and is_lasting(response.status_code, body):
            self._told.answers.setdefault(key, set()).add((response.status_code, body))
        stream = httpx.ByteStream(body)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)


def is_lasting(status: int, body: bytes) -> bool:
    """Whether an answer has to be the same for ever: an outcome of the ledger."""
    return status == 201 or b'"outcome":"refused"' in body


def send_load(url: str, seed: int, count: int, *, deadline_s: float = 20.0) -> Told:
    """Ask for `count` transfers by several clients; whoever gets no answer asks again.

    A client that gets none within `deadline_s` sends nothing more.
    """
    return asyncio.run(_send(url, seed, count, deadline_s))


async def _send(url: str, seed: int, count: int, deadline_s: float) -> Told:
    told, random = Told(), Random(seed)
    for number in range(count):
        source, target = random.sample(range(ACCOUNTS), 2)
        key = f"load-{seed}-{number}"
        amount = random.randint(1, AMOUNT_MAX)
        told.intents[key] = TransferIntent(f"acct-{source}", f"acct-{target}", amount, None, key)
    client = AsyncLedgerClient(
        url,
        transport=Listener(told),
        policy=RetryPolicy(200, deadline_s, 5.0, Backoff(0.002, 0.05)),
        budget=RetryBudget(ratio=1000.0, tokens_max=100_000),
        breaker=CircuitBreaker(failures_max=100_000),
    )
    async with client:
        todo = list(told.intents.values())
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(_behave(client, told, todo, is_bulk=number == 0))
    told.open_keys.update(str(intent.key) for intent in todo)
    return told


async def _behave(
    client: AsyncLedgerClient, told: Told, todo: list[TransferIntent], *, is_bulk: bool
) -> None:
    while todo:
        mine = [todo.pop() for _ in range(min(BULK_SIZE if is_bulk else 1, len(todo)))]
        told.calls += 1
        try:
            if is_bulk:
                results = await client.transfers(mine)
            else:
                one = mine[0]
                results = [await client.transfer(one.source, one.target, one.amount, key=one.key)]
        except LedgerClientError:
            told.open_keys.update(str(intent.key) for intent in mine)
            return
        told.results.update({result.key: result for result in results})


def check_told(url: str, told: Told) -> Counter[str]:
    """Check a quiet server against all that it has told; returns its outcomes, counted.

    Every key is asked again and has the bytes that it had; the balances are what the answers say,
    and nothing else.
    """
    balances = Counter({f"acct-{number}": FUNDS for number in range(ACCOUNTS)})
    ids: set[int] = set()
    outcomes: Counter[str] = Counter()
    with httpx.Client(base_url=url, verify=CERTIFICATES) as client:
        for key, intent in told.intents.items():
            known = client.get(f"/idempotency-keys/{key}").json()
            outcomes[known["state"]] += 1
            if known["state"] == "unseen":
                assert key in told.open_keys and key not in told.answers
                continue
            again = _ask_again(client, told, key)
            if known["state"] == "applied":
                assert again["id"] not in ids, f"{key} has the id of another"
                ids.add(again["id"])
                balances[intent.source] -= intent.amount
                balances[intent.target] += intent.amount
        accounts = client.get("/accounts").json()["accounts"]
        found = {account["id"]: account["balance"] for account in accounts}
        assert found.pop("world") == -ACCOUNTS * FUNDS
        assert found == dict(balances)
        audit = client.get("/audit", params={"journal": "true"}, timeout=30.0).json()
        assert audit["ok"] and audit["journal_checked"], audit
    return outcomes


def _ask_again(client: httpx.Client, told: Told, key: str) -> Any:
    """Ask for a transfer once more, check the answer against all before, and return its body."""
    intent = told.intents[key]
    response = post_transfer(client, key, intent.source, intent.target, intent.amount)
    assert response.headers["idempotent-replayed"] == "true", response.text
    answers = told.answers.get(key, set())
    assert answers <= {(response.status_code, response.content)}, (key, answers, response.text)
    body = response.json()
    if key in told.results:
        result = told.results[key]
        assert (result.id, result.is_applied) == (body["id"], response.status_code == 201)
    return body
