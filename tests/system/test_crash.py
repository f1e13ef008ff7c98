"""`kill -9` in the middle of load: what was answered is there, and is answered the same again."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from tests.support.servers import Server, post_transfer
from tests.support.waiting import wait_until

ACCOUNTS = 20
FUNDS = 1000
WORKERS = 8
ROUNDS = 5


@dataclass
class Load:
    """What one worker asked for and what it was told; the last request may have no answer."""

    asked: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    answered: dict[str, tuple[int, bytes]] = field(default_factory=dict)


def make_load(url: str, worker: int, round_number: int, load: Load) -> None:
    """Ask for transfers, many of them refused, until the server is gone."""
    dice = random.Random(f"{worker}/{round_number}")
    with httpx.Client(base_url=url) as client:
        for number in range(1_000_000):
            key = f"{round_number}-{worker}-{number}"
            # One account too many is drawn, and amounts that nobody has.
            source, target = (f"acct-{dice.randrange(ACCOUNTS + 1)}" for _ in range(2))
            load.asked[key] = (source, target, dice.choice((1, 10, 100, 100_000)))
            try:
                response = post_transfer(client, key, *load.asked[key])
            except httpx.TransportError:
                return
            load.answered[key] = (response.status_code, response.content)


def are_busy(loads: list[Load]) -> bool:
    return all(len(load.answered) > 20 for load in loads)


def check_answers(client: httpx.Client, loads: list[Load]) -> None:
    """Ask everything again: what was answered is a replay, and the rest has one outcome."""
    for load in loads:
        for key, transfer in load.asked.items():
            again = post_transfer(client, key, *transfer)
            if key in load.answered:
                assert (again.status_code, again.content) == load.answered[key], key
                assert again.headers["idempotent-replayed"] == "true"
            else:
                load.answered[key] = (again.status_code, again.content)


def check_ledger(client: httpx.Client, loads: list[Load]) -> None:
    """Check the ledger's own audit, and its balances against the answers alone."""
    audit = client.get("/audit", timeout=60).json()
    assert audit["ok"] is True, audit
    balances = dict.fromkeys((f"acct-{number}" for number in range(ACCOUNTS)), FUNDS)
    for load in loads:
        for key, (source, target, amount) in load.asked.items():
            if load.answered[key][0] == 201:
                balances[source] -= amount
                balances[target] += amount
    accounts = client.get("/accounts?limit=1000").json()["accounts"]
    assert {a["id"]: a["balance"] for a in accounts if a["id"] != "world"} == balances


def test_kill_in_the_middle_of_load(tmp_path: Path) -> None:
    flags = (f"--demo-accounts={ACCOUNTS}", f"--demo-funds={FUNDS}", "--segments=2")
    loads: list[Load] = []
    for round_number in range(ROUNDS):
        current = [Load() for _ in range(WORKERS)]
        with Server(tmp_path / "ledger", *flags) as server:
            url = server.url
            with ThreadPoolExecutor(WORKERS) as threads:
                for worker, load in enumerate(current):
                    threads.submit(make_load, url, worker, round_number, load)
                wait_until(partial(are_busy, current), "every worker to be at work")
                server.kill()
        loads += current
        with Server(tmp_path / "ledger", *flags) as server:
            with httpx.Client(base_url=server.url) as client:
                check_answers(client, loads)
                check_ledger(client, loads)
            # The next round starts from a clean stop and from a kill in turn.
            if round_number % 2:
                assert server.stop() == 0
            else:
                server.kill()


def test_kill_while_the_demo_is_made(tmp_path: Path) -> None:
    flags = ("--demo-accounts=200000", "--demo-funds=7")
    for _ in range(3):
        with Server(tmp_path / "ledger", *flags) as server:
            wait_until(lambda: has_bytes(tmp_path / "ledger"), "the journal to begin")
            server.kill()
    with Server(tmp_path / "ledger", *flags) as server:
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/audit", timeout=60).json()["ok"] is True
            world = client.get("/accounts/world").json()
            assert (world["balance"], world["ceiling"]) == (-7 * 200_000, None)
            for number in (0, 99_999, 199_999):
                assert client.get(f"/accounts/acct-{number}").json()["balance"] == 7
        assert server.stop() == 0


def has_bytes(directory: Path) -> bool:
    """Return whether anything was written into the directory."""
    return any(path.is_file() and path.stat().st_size for path in directory.rglob("*"))
