"""The simulator against a server that drops and delays, and how each kind of client behaves."""

import asyncio
import signal
from functools import partial

import pytest

from bench.simulator.server_facts import SimulationFailed
from tests.support.simulator_runs import refuse_once, simulate
from tests.support.simulator_stub import GARBLED, HANG_UP, Reply, Request, StubLedger, problem

# -- an honest server -----------------------------------------------------------------------------


async def test_an_honest_server_passes() -> None:
    async with StubLedger() as stub:
        _, summary = await simulate(stub, transfers=200, processes=2)
    assert summary.ok
    assert summary.checks is not None
    assert (summary.checks["audit"], summary.checks["balances"]) == ("ok", "as answered")
    assert summary.checks["asked"] == 200
    assert summary.accounting["answered"] == summary.accounting["sent"] == 200
    assert stub.applied == summary.statuses["201"]
    # Each key was asked once by the load, and once by the checks.
    assert set(stub.tries.values()) == {2}
    assert summary.success == stub.applied / 200
    assert summary.max_workers is None


async def test_the_same_seed_asks_for_the_same() -> None:
    bodies = []
    for seed in (3, 3, 4):
        async with StubLedger() as stub:
            await simulate(stub, clients=1, transfers=30, seed=seed, is_checking=False)
            bodies.append([each[0].body for each in stub.requests.values()])
    assert bodies[0] == bodies[1] != bodies[2]


async def test_refusals_are_answers_and_hold() -> None:
    async with StubLedger() as stub:
        stub.balances = dict.fromkeys(stub.balances, 8)
        _, summary = await simulate(stub, transfers=200)
    assert summary.refusals == {"insufficient-funds": summary.statuses["422"]}
    assert summary.success == pytest.approx(1 - summary.statuses["422"] / 200)
    assert summary.ok
    assert summary.checks is not None
    assert summary.checks["asked"] == 200


async def test_accounts_that_are_not_there_are_told() -> None:
    async with StubLedger() as stub:
        with pytest.raises(SimulationFailed, match="the accounts cannot be prepared: POST /acc"):
            await simulate(stub, accounts=21)


async def test_credentials_are_sent() -> None:
    async with StubLedger() as stub:
        _, summary = await simulate(stub, transfers=5, key="abc", secret="a secret")
    assert summary.ok
    heads = [each.headers for requests in stub.requests.values() for each in requests]
    assert {head["authorization"] for head in heads} == {"Bearer abc"}
    signatures = [head["x-signature"] for head in heads]
    assert len(set(signatures)) == len(signatures) == 10


# -- a server that drops and delays ---------------------------------------------------------------


async def test_what_is_dropped_is_tried_again_under_its_key() -> None:
    async with StubLedger() as stub:
        stub.before = lambda request: HANG_UP if stub.tries[request.key] == 1 else None
        _, summary = await simulate(stub, transfers=20)
    assert summary.accounting["retries"] == summary.mishaps["lost"] == 20
    assert summary.accounting["answered"] == 20
    assert summary.ok


async def test_an_answer_that_is_lost_moves_money_once() -> None:
    async with StubLedger() as stub:
        stub.after = lambda request, reply: HANG_UP if stub.tries[request.key] == 1 else reply
        _, summary = await simulate(stub, transfers=20)
    assert stub.applied == summary.statuses["201"] == 20
    assert summary.accounting["retries"] == 20
    assert summary.ok


async def test_keys_without_an_answer_are_looked_up() -> None:
    async with StubLedger() as stub:
        stub.after = lambda request, reply: HANG_UP if int(request.key[-1]) < 5 else reply
        _, summary = await simulate(stub, transfers=20, attempts_max=2)
    assert summary.failures == {"lost": 10}
    assert summary.checks is not None
    assert summary.checks["open_keys"] == 10
    # All of them were applied all the same, and the balances are right only with them.
    assert stub.applied == 20
    assert summary.checks["balances"] == "as answered"
    assert summary.ok


async def test_keys_of_which_nothing_can_be_learned_leave_the_balances_open() -> None:
    async with StubLedger() as stub:
        stub.after = lambda request, reply: HANG_UP if int(request.key[-1]) < 5 else reply
        stub.tell_key = lambda key: Reply(200, b"?")
        _, summary = await simulate(stub, transfers=20, attempts_max=2)
    assert summary.checks is not None
    assert summary.checks["balances"] == "not compared: it is not known what became of 10 keys"
    assert summary.ok


async def test_what_takes_too_long_is_given_up() -> None:
    async with StubLedger() as stub:
        stub.delay_s = 0.5
        _, summary = await simulate(
            stub, clients=2, transfers=2, attempts_max=1, try_timeout_s=0.1, is_checking=False
        )
    assert summary.failures == {"timeout": 2}
    assert summary.seconds < 0.4


async def test_latency_counts_from_the_schedule() -> None:
    """One client, and a server that takes 40 ms: every arrival after the first has to wait."""
    async with StubLedger() as stub:
        stub.delay_s = 0.04
        run, summary = await simulate(
            stub, clients=1, rate=100.0, arrivals="even", transfers=10, is_checking=False
        )
    answered = run.samples
    latencies_s = answered["answered_s"] - answered["scheduled_s"]
    # The tenth is due after 95 ms and answered after 400 at best.
    assert latencies_s[-1] > 0.3
    assert (answered["answered_s"] - answered["sent_s"]).max() < 0.2
    assert list(answered["scheduled_s"]) == pytest.approx([0.005 + 0.01 * n for n in range(10)])
    assert summary.loop == "open"


async def test_arrivals_without_room_are_dropped_and_told() -> None:
    async with StubLedger() as stub:
        stub.delay_s = 0.1
        _, summary = await simulate(stub, clients=1, rate=1000.0, transfers=40, queue_max=3)
    assert summary.accounting["dropped"] >= 30
    assert summary.accounting["offered"] == 40
    assert any("dropped" in reason for reason in summary.bottleneck)
    assert summary.ok


async def test_a_garbled_answer_is_counted() -> None:
    async with StubLedger() as stub:
        stub.after = lambda request, reply: GARBLED if stub.tries[request.key] == 1 else reply
        _, summary = await simulate(stub, transfers=8)
    assert summary.mishaps == {"unreadable": 8}
    assert summary.ok


# -- polite and impolite clients ------------------------------------------------------------------


async def test_polite_clients_wait_as_long_as_they_are_asked() -> None:
    async with StubLedger() as stub:
        stub.before = partial(refuse_once, stub)
        _, summary = await simulate(stub, transfers=4, is_checking=False)
    gaps = [second.at_s - first.at_s for first, second in stub.requests.values()]
    assert min(gaps) >= 1.0
    assert summary.accounting["retries"] == 4
    assert summary.refusals == {"rate-limited": 2, "queue-full": 2}
    assert (summary.rate_limited, summary.success) == (0.5, 1.0)


async def test_hammering_clients_wait_for_nothing() -> None:
    async with StubLedger() as stub:
        stub.before = partial(refuse_once, stub)
        _, summary = await simulate(stub, transfers=12, mix={"hammer": 1.0}, is_checking=False)
    gaps = [second.at_s - first.at_s for first, second in stub.requests.values()]
    assert max(gaps) < 0.5
    assert summary.success == 1.0


async def test_a_retry_budget_ends_the_retries() -> None:
    async with StubLedger() as stub:
        stub.before = lambda request: problem(503, "queue-full")
        _, summary = await simulate(
            stub, clients=1, transfers=20, rate=1000.0, attempts_max=2, is_checking=False
        )
    # Ten are there at the start, and each intent brings a tenth of one.
    assert 10 <= summary.accounting["retries"] <= 12
    assert summary.failures == {"gave-up": 20}
    assert summary.statuses == {}


async def test_reused_keys_get_their_first_answer() -> None:
    async with StubLedger() as stub:
        run, summary = await simulate(stub, transfers=120, mix={"reuse": 1.0})
    assert summary.statuses["422"] == summary.refusals["idempotency-key-reused"] > 0
    assert len(set(run.samples["number"].tolist())) < 120
    assert stub.applied < summary.statuses["201"]
    assert summary.ok


async def test_clients_that_hang_up_leave_the_books_right() -> None:
    async with StubLedger() as stub:
        _, summary = await simulate(stub, transfers=40, mix={"disconnect": 1.0})
    assert summary.failures == {"hung-up": 40}
    assert summary.checks is not None
    assert summary.checks["open_keys"] == 40
    assert stub.applied > 0
    assert summary.checks["balances"] == "as answered"
    assert summary.ok


async def test_nonsense_is_sent_and_must_not_be_done() -> None:
    async with StubLedger() as stub:
        _, honest = await simulate(stub, transfers=120, mix={"nonsense": 1.0})
        assert stub.applied == 0
        stub.before = lambda request: Reply(201, b"{}")
        _, lying = await simulate(stub, transfers=30, mix={"nonsense": 1.0})
    assert honest.ok
    assert honest.statuses.keys() <= {"400", "404", "422"}
    assert honest.accounting["answered"] > 60
    assert not lying.ok
    assert "nonsense was answered with 201" in lying.checks["faults"][1]  # type: ignore[index]


# -- ends -----------------------------------------------------------------------------------------


async def test_a_run_ends_with_its_deadline() -> None:
    async with StubLedger() as stub:
        stub.delay_s = 0.05
        _, summary = await simulate(
            stub, clients=1, transfers=1000, run_deadline_s=0.5, is_checking=False
        )
    assert not summary.is_complete
    assert summary.accounting["offered"] < 20
    assert summary.failures == {}


async def test_an_interrupt_of_the_checks_leaves_the_figures_of_the_load() -> None:
    interrupts = [signal.SIGINT]

    def interrupt_once(request: Request) -> None:
        if stub.tries[request.key] > 1 and interrupts:
            signal.raise_signal(interrupts.pop())

    async with StubLedger() as stub:
        stub.before = interrupt_once
        run, summary = await simulate(stub, transfers=20)
    assert run.is_interrupted
    assert summary.checks is None
    assert summary.statuses == {"201": 20}


async def test_a_server_that_is_silent_cannot_hold_the_run() -> None:
    async with StubLedger() as stub:
        stub.delay_s = 60
        _, summary = await asyncio.wait_for(
            simulate(
                stub, clients=3, seconds=0.2, deadline_s=0.4, try_timeout_s=0.3, is_checking=False
            ),
            10,
        )
    assert summary.accounting["answered"] == 0
    assert summary.failures.keys() <= {"timeout", "unfinished"}
