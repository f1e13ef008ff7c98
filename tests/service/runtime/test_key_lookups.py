"""Repeats that meet a limit: what is known of a key is told, and only what is new is refused."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ledgercore.client.retries import Verdict, judge_answer
from ledgercore.service.runtime import key_lookups
from ledgercore.service.wire.arrow import MEDIA_TYPE
from tests.support.keyed import spell, spell_transfer
from tests.support.local import Answer, LocalServer, mask, serve_as_asked
from tests.support.tables import make_table, read_table, write_table
from tests.support.waiting import wait_until

SINGLE = ("native", "ordinary")
WAYS = (*SINGLE, "bulk", "arrow")

Row = tuple[str, str, int]
"""The key, the source and the amount of a transfer to acct-1."""


class Told(NamedTuple):
    """What is told of one transfer: `applied` or a reason, its id, and whether it is a replay."""

    word: str
    id: int
    is_replayed: bool


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Return what starts a server with these settings."""
    with serve_as_asked(
        tmp_path / "ledger", demo_accounts=3, durability="memory", workers_max=2
    ) as start:
        yield start


def spell_rows(way: str, *rows: Row, lines: tuple[str, ...] = ()) -> bytes:
    """Return a request for these transfers; one, where the way takes one."""
    if way in SINGLE:
        ((key, source, amount),) = rows
        return spell_transfer(key, *lines, amount=amount, source=source)
    if way == "arrow":
        table = make_table([(key, source, "acct-1", amount) for key, source, amount in rows])
        kind = f"Content-Type: {MEDIA_TYPE}"
        return spell("POST", "/transfers", kind, *lines, body=write_table(table))
    items = [
        {"idempotency_key": key, "from": source, "to": "acct-1", "amount": amount}
        for key, source, amount in rows
    ]
    kind = "Content-Type: application/json"
    return spell("POST", "/transfers", kind, *lines, body=json.dumps(items).encode())


def read_answer(way: str, answer: Answer) -> list[Told]:
    """Return what an answer tells of each of its transfers."""
    if answer.status not in (200, 201) and "outcome" not in json.loads(answer.body):
        return [Told(answer.problem, 0, False)]
    if way in SINGLE:
        body = json.loads(answer.body)
        word = "applied" if answer.status == 201 else body["reason"]
        return [Told(word, body["id"], answer.headers.get("idempotent-replayed") == "true")]
    if way == "arrow":
        rows = read_table(answer.body).to_pylist()
        return [Told(row["status"], row["id"] or 0, row["replayed"]) for row in rows]
    return [
        Told(
            "applied" if item["status"] == "applied" else item["reason"],
            item.get("id", 0),
            item.get("replayed", False),
        )
        for item in json.loads(answer.body)
    ]


def ask(server: LocalServer, way: str, *rows: Row, lines: tuple[str, ...] = ()) -> list[Told]:
    return read_answer(way, server.ask(spell_rows(way, *rows, lines=lines)))


def left(server: LocalServer) -> int:
    """Return what is left of the money of the one client."""
    limiter = server.lifecycle.admission.limiter
    state = limiter.describe(limiter.find_client(""))
    assert state is not None and state.name == "money"
    return state.remaining


def in_flight(server: LocalServer) -> int:
    return server.lifecycle.admission.in_flight.count


# -- one after the other ---------------------------------------------------------------------------


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_a_repeat_is_answered_though_the_money_is_spent(
    serve: Any, first: str, second: str
) -> None:
    server = serve("ordinary" if "ordinary" in (first, second) else "native", client_quota=100)
    ((word, number, is_replayed),) = ask(server, first, ("k", "acct-0", 60))
    assert (word, is_replayed) == ("applied", False) and left(server) == 40
    for _ in range(2):
        assert ask(server, second, ("k", "acct-0", 60)) == [Told("applied", number, True)]
    # Another payload is not new either.
    assert ask(server, second, ("k", "acct-0", 61)) == [Told("idempotency-key-reused", 0, False)]
    assert ask(server, second, ("k", "acct-2", 60)) == [Told("idempotency-key-reused", 0, False)]
    # What is new is refused.
    assert ask(server, second, ("l", "acct-0", 60)) == [Told("quota-exceeded", 0, False)]
    assert left(server) == 40 and in_flight(server) == 0
    assert server.lifecycle.engine.find_key("l", "").state == "unseen"
    assert ask(server, second, ("l", "acct-0", 40))[0].word == "applied"
    assert left(server) == 0


@pytest.mark.parametrize("way", SINGLE)
def test_a_repeat_has_the_bytes_of_the_first_answer(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    data = spell_rows(way, ("k", "acct-0", 60))
    first, again = server.ask(data), server.ask(data)
    assert again.body == first.body and again.status == first.status == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_of_the_ledger_is_told_again(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    (first,) = ask(server, way, ("k", "nobody", 60))
    assert first.word == "source-not-found" and first.id > 0 and left(server) == 100
    assert ask(server, way, ("spent", "acct-0", 60))[0].word == "applied"
    assert ask(server, way, ("k", "nobody", 60)) == [first._replace(is_replayed=True)]


@pytest.mark.parametrize("way", WAYS)
def test_a_rate_says_nothing_of_a_key(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100, client_rate=1, client_burst=2)
    assert ask(server, way, ("k", "acct-0", 60))[0].word == "applied"
    assert ask(server, way, ("l", "acct-0", 60))[0].word == "quota-exceeded"
    # The look has cost as much as any request.
    answer = server.ask(spell_rows(way, ("k", "acct-0", 60)))
    told = json.loads(answer.body)
    assert answer.status == 429 and told["violated-policies"] == ["client"]
    assert "This request has stored nothing" in told["detail"]
    assert judge_answer(429, answer.body) is Verdict.BUSY


@pytest.mark.parametrize("way", WAYS)
def test_what_can_never_fit_is_refused_for_good(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    assert ask(server, way, ("k", "acct-0", 90))[0].word == "applied"
    server.lifecycle.admission.limiter.configure(quota=50)
    answer = server.ask(spell_rows(way, ("l", "acct-0", 51)))
    assert (answer.status, answer.problem) == (422, "above-quota")
    assert "retry-after" not in answer.headers
    assert judge_answer(422, answer.body) is Verdict.REFUSED
    # But what is known is told, however much it was.
    assert ask(server, way, ("k", "acct-0", 90))[0].is_replayed
    assert server.lifecycle.engine.find_key("l", "").state == "unseen"


# -- many at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["bulk", "arrow"])
def test_of_many_only_what_is_new_has_to_fit(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    rows = [(f"k-{n}", "acct-0", 20) for n in range(3)]
    first = ask(server, way, *rows)
    again = [told._replace(is_replayed=True) for told in first]
    assert left(server) == 40
    # Two keys that are new, one of them twice: 40 of money, where the amounts are 120.
    more = [("l-0", "acct-0", 20), ("l-0", "acct-0", 20), ("l-1", "acct-0", 20)]
    told = ask(server, way, *rows, *more)
    assert told[:3] == again
    assert [(each.word, each.is_replayed) for each in told[3:]] == [
        ("applied", False),
        ("applied", True),
        ("applied", False),
    ]
    assert told[3].id == told[4].id and left(server) == 0
    # All of what is new, or none of it.
    told = ask(server, way, *rows, ("m-0", "acct-0", 1), ("k-0", "acct-0", 21))
    assert told[:3] == again
    assert [each.word for each in told[3:]] == ["quota-exceeded", "idempotency-key-reused"]
    told = ask(server, way, *rows, ("m-0", "acct-0", 90), ("m-1", "acct-0", 90))
    assert [each.word for each in told[3:]] == ["above-quota"] * 2
    assert server.lifecycle.engine.find_key("m-0", "").state == "unseen"
    # Where nothing is known there is no more to tell than that.
    assert ask(server, way, ("m-0", "acct-0", 90), ("m-1", "acct-0", 90))[0].word == "above-quota"
    assert ask(server, way, ("m-0", "acct-0", 9), ("m-1", "acct-0", 9))[0].word == "quota-exceeded"
    assert in_flight(server) == 0 and left(server) == 0


@pytest.mark.parametrize("way", ["bulk", "arrow"])
def test_of_many_late_ones_the_known_are_told(
    serve: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(way)
    (first,) = ask(server, way, ("k", "acct-0", 1))
    monkeypatch.setattr(server.lifecycle.admission, "deadline_ns", 1)
    late = Told("deadline-passed", 0, False)
    assert ask(server, way, ("l", "acct-0", 1), ("k", "acct-0", 1)) == [
        late,
        first._replace(is_replayed=True),
    ]
    answer = server.ask(spell_rows(way, ("l", "acct-0", 1), ("m", "acct-0", 1)))
    assert answer.status == 504 and json.loads(answer.body)["executed"] is False


# -- at the same time ------------------------------------------------------------------------------


def wait_in_flight(server: LocalServer, count: int) -> None:
    wait_until(lambda: in_flight(server) == count, f"{count} transfers to be in flight")


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_a_first_try_under_way_is_waited_for(
    serve: Any, first: str, second: str, is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is of many, so that it is in the queue of another segment."""
    way = "ordinary" if "ordinary" in (first, second) else "native"
    server = serve(way, client_quota=0 if is_late else 100, segments=2)
    engine = server.lifecycle.engine
    own = engine.segment_of("acct-0")
    # There is no such account, which is refused and costs no money.
    other = next(id for id in map(str, range(100)) if engine.segment_of(id) != own)
    rows = [("k", "acct-0", 60)] if first in SINGLE else [("o", other, 1), ("k", "acct-0", 60)]
    stalled = own if first in SINGLE else 1 - own
    engine.stall(stalled)
    with server.connect() as one, server.connect() as two, server.connect() as three:
        one.send(spell_rows(first, *rows))
        wait_in_flight(server, len(rows))
        if is_late:
            monkeypatch.setattr(server.lifecycle.admission, "deadline_ns", 1)
        two.send(spell_rows(second, ("k", "acct-0", 60)))
        wait_in_flight(server, len(rows) + 1)
        three.send(spell_rows(second, ("k", "acct-0", 61)))
        wait_in_flight(server, len(rows) + 2)
        engine.stall(stalled, False)
        told = read_answer(first, one.read_answers(1)[0])[-1]
        assert told.word == "applied"
        assert read_answer(second, two.read_answers(1)[0]) == [Told("applied", told.id, True)]
        assert read_answer(second, three.read_answers(1)[0])[0].word == "idempotency-key-reused"
    assert in_flight(server) == 0
    if not is_late:
        assert left(server) == 40


def test_answers_keep_the_order_of_their_requests(serve: Any) -> None:
    """Known and new ones, of one connection, all at once."""
    server = serve("native", client_quota=100)
    rows: list[Row] = [
        ("k-0", "acct-0", 50),
        ("k-1", "acct-0", 60),
        ("k-0", "acct-0", 50),
        ("k-2", "acct-0", 30),
        ("k-0", "acct-0", 50),
        ("k-2", "acct-0", 31),
        ("k-3", "acct-0", 101),
        ("k-4", "acct-0", 20),
    ]
    with server.connect() as connection:
        connection.send(b"".join(spell_rows("native", row) for row in rows))
        answers = connection.read_answers(len(rows))
    told = [read_answer("native", answer)[0] for answer in answers]
    first, third = told[0], told[3]
    assert told == [
        Told("applied", first.id, False),
        Told("quota-exceeded", 0, False),
        Told("applied", first.id, True),
        Told("applied", third.id, False),
        Told("applied", first.id, True),
        Told("idempotency-key-reused", 0, False),
        Told("above-quota", 0, False),
        Told("applied", told[7].id, False),
    ]
    assert left(server) == 0 and in_flight(server) == 0


@pytest.mark.parametrize("way", SINGLE)
def test_who_hangs_up_before_a_look_leaves_nothing(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    engine = server.lifecycle.engine
    engine.stall(0)
    with server.connect() as one:
        one.send(spell_rows(way, ("k", "acct-0", 60)))
        wait_in_flight(server, 1)
        with server.connect() as two:
            two.send(spell_rows(way, ("k", "acct-0", 60)))
            wait_in_flight(server, 2)
        engine.stall(0, False)
        assert one.read_answers(1)[0].status == 201
    wait_in_flight(server, 0)
    assert left(server) == 40


@pytest.mark.parametrize("way", SINGLE)
def test_what_waits_for_a_look_is_bounded(
    serve: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_lookups, "ROWS_MAX", 2)
    server = serve(way, client_quota=100)
    engine = server.lifecycle.engine
    engine.stall(0)
    with server.connect() as one:
        one.send(spell_rows(way, ("k", "acct-0", 60)))
        wait_in_flight(server, 1)
        waiting = [server.connect() for _ in range(4)]
        for number, connection in enumerate(waiting):
            # The first is a round of its own, and the next two fill the other.
            connection.send(spell_rows(way, ("k", "acct-0", 60)))
            wait_in_flight(server, min(number + 2, 4))
        (answer,) = waiting[-1].read_answers(1)
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert "This request has stored nothing" in json.loads(answer.body)["detail"]
        engine.stall(0, False)
        for connection in waiting[:-1]:
            assert connection.read_answers(1)[0].headers["idempotent-replayed"] == "true"
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_stops_answers_what_waits_for_a_look(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    engine = server.lifecycle.engine
    engine.stall(0)
    with server.connect() as one, server.connect() as two:
        one.send(spell_rows(way, ("k", "acct-0", 60)))
        wait_in_flight(server, 1)
        two.send(spell_rows(way, ("k", "acct-0", 60)))
        wait_in_flight(server, 2)
        drained = server.run(start_drain(server))
        engine.stall(0, False)
        assert read_answer(way, one.read_answers(1)[0])[0].word == "applied"
        assert read_answer(way, two.read_answers(1)[0])[0].is_replayed
        wait_until(drained.done, "the drain")


async def start_drain(server: LocalServer) -> Any:
    """Begin what a stopping server waits for."""
    return asyncio.ensure_future(server.lifecycle.batcher.drain())


@pytest.mark.parametrize("way", SINGLE)
def test_the_bytes_of_a_refusal_are_those_of_the_other_way(serve: Any, way: str) -> None:
    server = serve(way, client_quota=100)
    with server.connect() as connection:
        connection.send(spell_rows(way, ("k", "acct-0", 101)))
        answer = connection.read_answers(1)[0]
    told = json.loads(mask(answer.body))
    assert told == {
        "type": "urn:ledgercore:problem:above-quota",
        "title": "The amount is above the client's whole quota",
        "status": 422,
        "detail": "The amount is above the client's whole quota, which is 100. "
        "This request has stored nothing.",
    }
