"""How long both clients wait, and when they stop asking: deadline, budget and circuit breaker."""

import asyncio
import time
from typing import Any

import pytest

from ledgercore.client import (
    AsyncLedgerClient,
    NotExecuted,
    OutcomeUnknown,
    ProblemError,
    RetryBudget,
)
from ledgercore.client.breaker import CircuitBreaker, State
from tests.support import scripted
from tests.support.clients import APPLIED, FakeTime, make_client, make_policy
from tests.support.scripted import QUEUE_FULL, Script, Step, answer, answer_problem

pytest_plugins = ["tests.support.client_fixtures"]


def test_retry_after_is_honoured(kind: str, script: Script) -> None:
    fake = FakeTime()
    date = "Thu, 01 Jan 1970 00:16:50 GMT"  # Ten seconds after the fake clock's beginning.
    script.play(
        answer_problem(503, "queue-full", date),
        answer_problem(503, "queue-full", "3"),
        answer_problem(503, "queue-full", "soon"),
        answer(201, APPLIED),
    )
    with make_client(kind, script.url, time=fake) as ledger_client:
        assert ledger_client.transfer("a", "b", 5).is_applied
    assert fake.slept == [10.0, 3.0, 0.0]


def test_gives_up_at_once_where_the_server_asks_for_too_much(kind: str, script: Script) -> None:
    fake = FakeTime()
    script.play(answer_problem(503, "recovering", "31"))
    with make_client(kind, script.url, time=fake) as ledger_client, pytest.raises(NotExecuted):
        ledger_client.transfer("a", "b", 5)
    assert (fake.slept, len(script.requests)) == ([], 1)


@pytest.mark.parametrize("step", [scripted.stall, scripted.drip])
def test_deadline_is_held(kind: str, script: Script, step: Step) -> None:
    script.play(step)
    policy = make_policy(deadline_s=0.4, try_timeout_s=0.15)
    with make_client(kind, script.url, policy=policy) as ledger_client:
        started_s = time.monotonic()
        with pytest.raises(OutcomeUnknown) as caught:
            ledger_client.transfer("a", "b", 5)
        took_s = time.monotonic() - started_s
    assert caught.value.tries >= 2
    assert 0.3 < took_s < 1.0  # A busy machine may wake us late, but not by another try.


async def test_head_that_never_ends_does_not_hold_an_event_loop(script: Script) -> None:
    script.play(scripted.drip_head)
    policy = make_policy(attempts_max=2, try_timeout_s=0.1)
    started_s = time.monotonic()
    async with AsyncLedgerClient(script.url, policy=policy) as ledger_client:
        with pytest.raises(OutcomeUnknown):
            await ledger_client.transfer("a", "b", 5)
    assert 0.2 < time.monotonic() - started_s < 1.0
    assert len(script.requests) == 2


def test_slow_try_is_followed_by_another(kind: str, script: Script) -> None:
    script.play(scripted.stall, answer(201, APPLIED))
    policy = make_policy(try_timeout_s=0.1)
    with make_client(kind, script.url, policy=policy) as ledger_client:
        assert ledger_client.transfer("a", "b", 5).key == script.keys[0] == script.keys[1]


def test_budget_ends_it(kind: str, script: Script) -> None:
    script.play(QUEUE_FULL)
    budget = RetryBudget(ratio=0.1, reserve=2)
    with make_client(kind, script.url, budget=budget, breaker=CircuitBreaker(100)) as ledger_client:
        for _ in range(10):
            with pytest.raises(NotExecuted):
                ledger_client.transfer("a", "b", 5)
    assert len(script.requests) == 10 + 2 + 1  # The reserve, and a tenth of ten.


def test_breaker_opens_and_closes(kind: str, script: Script) -> None:
    fake = FakeTime()
    breaker = CircuitBreaker(failures_max=3, open_s=5.0, clock=fake.clock)
    policy = make_policy(attempts_max=1)
    script.play(QUEUE_FULL)
    options: dict[str, Any] = {"policy": policy, "breaker": breaker, "time": fake}
    with make_client(kind, script.url, **options) as ledger_client:
        for _ in range(5):
            with pytest.raises(NotExecuted) as caught:
                ledger_client.transfer("a", "b", 5)
        assert (len(script.requests), breaker.state) == (3, State.OPEN)
        assert (caught.value.tries, "circuit is open" in str(caught.value)) == (0, True)
        script.play(answer(201, APPLIED))
        fake.now_s += 5.0
        assert ledger_client.transfer("a", "b", 5).is_applied
        assert breaker.state is State.CLOSED


def test_breaker_that_opens_under_a_call_does_not_hide_what_was_sent(
    kind: str, script: Script
) -> None:
    script.play(scripted.drop)
    with (
        make_client(kind, script.url, breaker=CircuitBreaker(2, 60.0)) as ledger_client,
        pytest.raises(OutcomeUnknown) as caught,
    ):
        ledger_client.transfer("a", "b", 5)
    assert (caught.value.tries, len(script.requests)) == (2, 2)


def test_refusals_do_not_open_the_breaker(kind: str, script: Script) -> None:
    script.play(answer_problem(400, "malformed"))
    breaker = CircuitBreaker(failures_max=2)
    with make_client(kind, script.url, breaker=breaker) as ledger_client:
        for _ in range(4):
            with pytest.raises(ProblemError):
                ledger_client.transfer("a", "b", 5)
    assert breaker.state is State.CLOSED


async def test_call_that_is_cancelled_frees_the_probe(script: Script) -> None:
    fake = FakeTime()
    breaker = CircuitBreaker(1, 5.0, clock=fake.clock)
    async with AsyncLedgerClient(
        script.url, policy=make_policy(attempts_max=1), breaker=breaker
    ) as ledger_client:
        script.play(scripted.drop)
        with pytest.raises(OutcomeUnknown):
            await ledger_client.transfer("a", "b", 5)
        fake.now_s += 5.0
        script.play(scripted.stall)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ledger_client.transfer("a", "b", 5)
        assert breaker.state is State.HALF_OPEN
        script.play(answer(201, APPLIED))
        assert (await ledger_client.transfer("a", "b", 5)).is_applied
