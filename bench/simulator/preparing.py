"""The accounts of a run: opened and funded over HTTP where they are not there yet.

This module owns what a fresh server is given. It leaves accounts that exist as they are.
"""

import json
from collections.abc import Callable

from .server_facts import Answer, FactFinder, SimulationFailed

ASSET = "USD/2"
BANK = "world"
FUNDS = 100_000_000

Maker = Callable[[str], bytes]
Receiver = Callable[[str, Answer], None]


async def prepare_accounts(facts: FactFinder, accounts: int) -> None:
    """Make sure that acct-0 and so on are there. Raises SimulationFailed where they cannot be."""
    names = [f"acct-{number}" for number in range(accounts)]
    if await facts.has_account(names[0]) and await facts.has_account(names[-1]):
        return
    maker = facts.maker
    opened: list[str] = []
    faults: list[str] = []

    def open_one(name: str) -> bytes:
        more = {"floor": None} if name == BANK else {}
        body = json.dumps({"id": name, "asset": ASSET} | more).encode()
        return maker.make("POST", "/accounts", body)

    def take_opened(name: str, answer: Answer) -> None:
        if answer.status == 201:
            opened.append(name)
        elif answer.status not in (200, 409):
            faults.append(f"POST /accounts was answered with {answer.status}")

    def fund(name: str) -> bytes:
        key = f"Idempotency-Key: {maker.make_key(f'{name}-fund')}\r\n"
        body = json.dumps({"from": BANK, "to": name, "amount": FUNDS}).encode()
        return maker.make("POST", "/transfer", body, key)

    def take_funded(name: str, answer: Answer) -> None:
        if answer.status != 201:
            faults.append(f"{BANK} cannot fund {name}: {answer.status}")

    async def ask(names: list[str], make: Maker, take: Receiver) -> None:
        if unanswered := await facts.ask_all(names, make, take):
            faults.append(f"{unanswered} requests had no answer")
        if faults:
            raise SimulationFailed(f"the accounts cannot be prepared: {faults[0]}")

    await ask([BANK], open_one, take_opened)
    await ask(names, open_one, take_opened)
    await ask([name for name in opened if name != BANK], fund, take_funded)
