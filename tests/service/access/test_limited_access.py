"""Rates, quotas and deadlines over HTTP: what is refused, what that leaves behind, and who pays."""

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ledgercore import EngineClosed, QueueFull
from ledgercore.client.retries import Verdict, judge_answer
from ledgercore.service.access.key_ring import Scope
from tests.support.clients import KINDS, make_client, make_policy
from tests.support.keyed import bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import Answer, LocalServer, serve_as_asked

count_key = count(1)
WAYS = ("native", "ordinary", "bulk")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Return what starts a server with these settings; the keys are in the folder of the test."""
    with serve_as_asked(tmp_path / "ledger", demo_accounts=3, durability="memory") as start:
        yield start


def ask(server: LocalServer, way: str, key: str, *lines: str, amount: int = 1) -> Answer:
    """Ask for one transfer in this way."""
    if way == "bulk":
        return server.ask(spell_bulk(key, lines=lines, amount=amount))
    return server.ask(spell_transfer(key, *lines, amount=amount))


def state_of(server: LocalServer, key: str, client: str = "") -> str:
    return server.lifecycle.engine.find_key(key, client).state


def left(server: LocalServer, client: str = "") -> int:
    """Return what is left of the money of a client."""
    limiter = server.lifecycle.admission.limiter
    state = limiter.describe(limiter.find_client(client))
    assert state is not None and state.name == "money"
    return state.remaining


# -- rates -----------------------------------------------------------------------------------------


# Half of the burst of all is kept for those within their shares, and a lone client has it all.
@pytest.mark.parametrize(("name", "taken"), [("client", 50), ("global", 25)])
@pytest.mark.parametrize("way", WAYS)
def test_beyond_a_rate_nothing_is_stored(serve: Any, way: str, name: str, taken: int) -> None:
    # Fifty at once, and one more each second.
    server = serve(way, **{f"{name}_rate": 1, f"{name}_burst": 50})
    answers = [ask(server, way, f"k-{n}") for n in range(70)]
    limited = [answer for answer in answers if answer.status == 429]
    assert taken <= len(answers) - len(limited) <= taken + 5
    for answer in limited:
        assert answer.problem == "quota-exceeded"
        assert json.loads(answer.body)["violated-policies"] == [name]
        assert answer.headers["ratelimit-policy"] == f'"{name}";q=50;w=50'
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert answer.headers["ratelimit"] == f'"{name}";r=0;t={answer.headers["retry-after"]}'
        assert judge_answer(429, answer.body) is Verdict.BUSY
    for n, answer in enumerate(answers):
        assert state_of(server, f"k-{n}") == ("unseen" if answer.status == 429 else "applied")
    # Later the same key works.
    key = f"k-{answers.index(limited[0])}"
    server.lifecycle.admission.limiter.configure(client_rate=0, global_rate=0)
    assert ask(server, way, key).status in (200, 201)
    assert state_of(server, key) == "applied"


def test_every_guarded_address_counts(serve: Any, tmp_path: Path) -> None:
    key = make_key(tmp_path / "ledger", "alice", Scope.ADMIN, rate=0.001, burst=6)
    server = serve()
    line = bearer(key.token)
    assert server.ask(spell("GET", "/audit?x=1", line)).status == 400
    assert server.ask(spell("POST", "/transfer?x=1", line, body=b"{}")).status == 400
    assert server.ask(spell("POST", "/transfers?x=1", line, body=b"[]")).status == 400
    assert server.ask(spell("GET", "/accounts", line)).status == 200
    assert server.ask(spell("POST", "/accounts", line, body=b"{")).status == 400
    assert server.ask(spell("POST", "/transfer", line, body=b"nonsense")).status == 400
    for data in (
        spell("GET", "/accounts", line),
        spell("POST", "/transfer", line, body=b"nonsense"),
        spell("POST", "/transfer?x=1", line, body=b"{}"),
        spell_transfer("k", line),
        spell_bulk("k", lines=(line,)),
    ):
        assert server.ask(data).status == 429
    assert server.ask(spell("GET", "/healthz", line)).status == 200
    # Who is not known is told so, however much of it there is, and takes nobody's tokens.
    for _ in range(5):
        assert server.ask(spell("GET", "/accounts")).status == 401


def test_nonsense_in_bulk_counts(serve: Any, tmp_path: Path) -> None:
    key = make_key(tmp_path / "ledger", "alice", rate=0.001, burst=3)
    server = serve()
    data = spell("POST", "/transfers", bearer(key.token), body=b'[{"from":1}]')
    assert [server.ask(data).status for _ in range(5)] == [400, 400, 400, 429, 429]


def test_a_bulk_costs_what_it_holds(serve: Any) -> None:
    server = serve(client_rate=1, client_burst=100)
    assert server.ask(spell_bulk(*(f"a-{n}" for n in range(90)))).status == 200
    assert server.ask(spell_bulk(*(f"b-{n}" for n in range(90)))).status == 429
    assert state_of(server, "b-0") == "unseen"
    assert server.ask(spell_bulk("b-0", "b-1")).status == 200


def test_a_bulk_larger_than_the_burst_is_taken_once(serve: Any) -> None:
    server = serve(client_rate=1, client_burst=10)
    assert server.ask(spell_bulk(*(f"a-{n}" for n in range(90)))).status == 200
    answer = ask(server, "native", "b")
    assert answer.status == 429 and 75 <= int(answer.headers["retry-after"]) <= 81


def test_a_hog_does_not_lower_a_polite_client(serve: Any, tmp_path: Path) -> None:
    """Both within one global rate: the hog asks for all of it and more, the other for a little."""
    hog, polite = (make_key(tmp_path / "ledger", name) for name in ("hog", "polite"))
    server = serve(global_rate=500, global_burst=100)
    counts = {"hog": 0, "hog-limited": 0, "polite": 0, "polite-limited": 0}
    end_s = time.monotonic() + 2.0
    next_s = time.monotonic()
    with server.connect() as greedy, server.connect() as modest:
        while time.monotonic() < end_s:
            lines = [spell_transfer(f"h-{next(count_key)}", bearer(hog.token)) for _ in range(20)]
            greedy.send(b"".join(lines))
            for answer in greedy.read_answers(20):
                counts["hog" if answer.status == 201 else "hog-limited"] += 1
            if time.monotonic() >= next_s:
                next_s += 0.01  # A hundred a second, where its share is 250.
                modest.send(spell_transfer(f"p-{next(count_key)}", bearer(polite.token)))
                (answer,) = modest.read_answers(1)
                counts["polite" if answer.status == 201 else "polite-limited"] += 1
    assert counts["hog-limited"] > counts["hog"] > 0, counts
    assert counts["polite"] > 20 and counts["polite-limited"] == 0, counts
    assert counts["hog"] + counts["polite"] <= 500 * 2.5 + 100, counts


# -- money -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_money_is_charged_for_what_has_moved(serve: Any, way: str) -> None:
    server = serve(way, client_quota=1000)
    assert ask(server, way, "k", amount=100).status in (200, 201)
    assert left(server) == 900
    # A replay moves nothing, nor does a reused key, an unknown account or what is too much.
    assert ask(server, way, "k", amount=100).status in (200, 201)
    assert ask(server, way, "k", amount=101).status in (200, 422)
    assert left(server) == 900
    answer = ask(server, way, "m", amount=901)
    assert answer.status == 429
    assert json.loads(answer.body)["violated-policies"] == ["money"]
    assert answer.headers["ratelimit-policy"] == '"money";q=1000;qu="minor-units";w=86400'
    assert 86_000 < int(answer.headers["retry-after"]) <= 86_400
    assert left(server) == 900 and state_of(server, "m") == "unseen"
    assert ask(server, way, "m", amount=900).status in (200, 201)
    assert left(server) == 0
    # What has moved is still told, though nothing more may.
    assert server.ask(spell("GET", "/idempotency-keys/m")).status == 200


@pytest.mark.parametrize("way", ["native", "ordinary"])
@pytest.mark.parametrize("source", ["nobody", "acct-2"])
def test_money_of_a_refusal_is_given_back(serve: Any, way: str, source: str) -> None:
    server = serve(way, client_quota=1000, demo_funds=10)
    assert server.ask(spell_transfer("r", source=source, amount=500)).status in (404, 422)
    assert left(server) == 1000


@pytest.mark.parametrize("error", [QueueFull("full"), EngineClosed("closed")])
@pytest.mark.parametrize("way", WAYS)
def test_money_of_what_was_not_taken_is_given_back(
    serve: Any, way: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(way, client_quota=1000)
    engine = server.lifecycle.engine

    def refuse(*arguments: Any) -> bool:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(engine, "submit", refuse)
        assert ask(server, way, "k", amount=10).status == 503
    assert left(server) == 1000
    assert ask(server, way, "k", amount=10).status in (200, 201)
    assert left(server) == 990


@pytest.mark.parametrize("way", WAYS)
def test_money_of_what_is_late_is_given_back(
    serve: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(way, client_quota=1000)
    with monkeypatch.context() as patch:
        patch.setattr(server.lifecycle.admission, "deadline_ns", 1)
        answer = ask(server, way, "k", amount=10)
    assert (answer.status, answer.problem) == (504, "deadline-passed")
    assert json.loads(answer.body)["executed"] is False
    assert judge_answer(504, answer.body) is Verdict.BUSY
    assert left(server) == 1000 and state_of(server, "k") == "unseen"
    assert ask(server, way, "k", amount=10).status in (200, 201)
    assert left(server) == 990


# -- the client ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_tries_again_what_was_late(
    serve: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    url = "http://{}:{}".format(*server.address)
    with (
        monkeypatch.context() as patch,
        make_client(kind, url, policy=make_policy(attempts_max=3)) as client,
    ):
        patch.setattr(server.lifecycle.admission, "deadline_ns", 1)
        with pytest.raises(Exception, match="deadline-passed") as caught:
            client.transfer("acct-0", "acct-1", 5, key="c")
        assert type(caught.value).__name__ == "NotExecuted"
        assert state_of(server, "c") == "unseen"
        patch.undo()
        assert client.transfer("acct-0", "acct-1", 5, key="c").is_applied


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_is_told_what_an_earlier_call_has_done(
    serve: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its money is spent, and its time is over."""
    server = serve(client_quota=100)
    url = "http://{}:{}".format(*server.address)
    with make_client(kind, url, policy=make_policy(attempts_max=2)) as client:
        first = client.transfer("acct-0", "acct-1", 60, key="c")
        again = client.transfer("acct-0", "acct-1", 60, key="c")
        assert first.is_applied and (again.id, again.replayed) == (first.id, True)
        with pytest.raises(Exception, match="above-quota") as caught:
            client.transfer("acct-0", "acct-1", 101, key="d")
        assert type(caught.value).__name__ == "ProblemError"
        monkeypatch.setattr(server.lifecycle.admission, "deadline_ns", 1)
        again = client.transfer("acct-0", "acct-1", 60, key="c")
        assert (again.id, again.replayed) == (first.id, True)
