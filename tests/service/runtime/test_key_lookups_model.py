"""Random repeats, limits and deadlines, over several connections at once, against the model.

Whatever is sent: no answer denies a transfer that an earlier request of the same connection has
made, all answers of a key agree, and the money that is charged is that of the distinct transfers
which were applied. Everything else that is told is what the model says, in the order of the ids.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledgercore import Status
from tests.service.runtime.test_key_lookups import (
    Row,
    Told,
    left,
    read_answer,
    spell_rows,
    wait_in_flight,
)
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.model import Holding, Model

QUOTA = 200
FUNDS = 10_000
CONNECTIONS = 4
REQUESTS = 12
NOT_MADE = {"quota-exceeded", "above-quota", "deadline-passed"}
"""What is told of a transfer that a request has not made, and whose key it did not find."""


@dataclass(frozen=True)
class Asked:
    """One transfer as it was asked for, and what was told of it."""

    row: Row
    told: Told


def draw_row(chance: random.Random) -> Row:
    """Return a transfer of one of a few keys, now and then with another payload."""
    number = chance.randrange(8)
    amount = (10, 25, 40, 60, 75, 90, QUOTA, QUOTA + 1)[number]
    if chance.random() < 0.1:
        amount += 1
    source = "nobody" if number == 2 else f"acct-{number % 2 * 2}"
    return f"k-{number}", source, amount


def draw_request(chance: random.Random, single: str) -> tuple[str, list[Row], tuple[str, ...]]:
    """Return a way, the transfers of a request and its header lines."""
    way = single if chance.random() < 0.7 else "bulk"
    count = 1 if way == single else chance.randint(1, 5)
    lines = ("X-Request-Timeout-Ms: 1",) if chance.random() < 0.3 else ()
    return way, [draw_row(chance) for _ in range(count)], lines


@pytest.fixture(params=["native", "ordinary"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalServer]:
    options = {"demo_accounts": 3, "demo_funds": FUNDS, "segments": 2, "client_quota": QUOTA}
    with (
        local_serving(),
        LocalServer(
            tmp_path / "ledger", PROTOCOLS[request.param], durability="memory", **options
        ) as server,
    ):
        server.way = request.param  # type: ignore[attr-defined]
        yield server


def converse(server: LocalServer, chance: random.Random) -> list[list[Asked]]:
    """Send random requests on several connections, while segments stall and go on."""
    engine = server.lifecycle.engine
    single = server.way  # type: ignore[attr-defined]
    plans = [[draw_request(chance, single) for _ in range(REQUESTS)] for _ in range(CONNECTIONS)]
    stalled = [segment for segment in range(2) if chance.random() < 0.7]
    for segment in stalled:
        engine.stall(segment)
    connections: list[RawConnection] = []
    for plan in plans:
        connection = server.connect()
        connection.send(b"".join(spell_rows(way, *rows, lines=lines) for way, rows, lines in plan))
        connections.append(connection)
    for segment in stalled:
        engine.stall(segment, False)
    found = []
    for plan, connection in zip(plans, connections, strict=True):
        asked: list[Asked] = []
        for way, rows, _ in plan:
            (answer,) = connection.read_answers(1)
            told = read_answer(way, answer)
            # A refusal of the whole request is one of each of its transfers.
            told *= len(rows) if len(told) == 1 else 1
            asked += [Asked(row, each) for row, each in zip(rows, told, strict=True)]
        connection.close()
        found.append(asked)
    return found


@pytest.mark.parametrize("seed", range(15))
def test_no_answer_denies_what_was_done(server: LocalServer, seed: int) -> None:
    base = server.lifecycle.engine.statistics().lsn_applied
    told = converse(server, random.Random(seed))
    wait_in_flight(server, 0)
    check_each_connection(told)
    everything = [asked for connection in told for asked in connection]
    applied = check_against_model(server, everything, base)
    assert left(server) == QUOTA - sum(amount for _, _, amount in applied)


def check_each_connection(told: list[list[Asked]]) -> None:
    """Check that what is known of a payload stays known, on the connection that has seen it."""
    for connection in told:
        known: dict[str, tuple[Row, int]] = {}
        for asked in connection:
            key = asked.row[0]
            if key in known:
                row, number = known[key]
                # Which of two under way at a time is the first is told by its id alone: what was
                # looked up late is answered from the other, which was asked for after it.
                same = Told(asked.told.word, number, asked.told.is_replayed)
                assert asked.told == (same if asked.row == row else REUSED), (asked, connection)
            elif asked.told.id > 0:
                known[key] = asked.row, asked.told.id
            else:
                assert asked.told.word in NOT_MADE or asked.told == REUSED


REUSED = Told("idempotency-key-reused", 0, False)


def check_against_model(server: LocalServer, everything: list[Asked], base: int) -> list[Row]:
    """Check every outcome and balance, and return the transfers that were applied."""
    model = Model()
    model.open("world", Holding("USD/2", None))
    for number in range(3):
        model.open(f"acct-{number}", Holding("USD/2"))
        model.transfer("", f"fund-{number}", "world", f"acct-{number}", FUNDS, None, 0)
    model.lsn = base
    outcomes: dict[int, Asked] = {}
    for asked in everything:
        if asked.told.id > 0:
            first = outcomes.setdefault(asked.told.id, asked)
            assert (first.row, first.told.word) == (asked.row, asked.told.word)
    firsts = [asked for asked in everything if asked.told.id > 0 and not asked.told.is_replayed]
    # Each was told as new exactly once, so that nobody is told twice that it has just moved.
    assert sorted(asked.told.id for asked in firsts) == sorted(outcomes)
    assert sorted(outcomes) == list(range(base + 1, base + 1 + len(outcomes)))
    for number in sorted(outcomes):
        (key, source, amount), word = outcomes[number].row, outcomes[number].told.word
        answer = model.transfer("", key, source, "acct-1", amount, None, 0)
        assert answer.status.name == word.replace("-", "_").upper() and answer.id == number
    for id, holding in model.accounts.items():
        assert server.lifecycle.engine.peek_account(id).balance == holding.balance
    return [
        asked.row for asked in outcomes.values() if asked.told.word == Status.APPLIED.name.lower()
    ]
