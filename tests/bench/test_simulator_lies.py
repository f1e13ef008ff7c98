"""The simulator against a server that lies, each lie caught by the checks at the end."""

import json
from collections.abc import Callable

import pytest

from tests.support.simulator_runs import simulate
from tests.support.simulator_stub import Reply, Request, StubLedger


def is_replay(stub: StubLedger, request: Request) -> bool:
    return stub.tries[request.key] > 1


def forget(stub: StubLedger) -> None:
    """Forget every key at once."""

    def clear(request: Request, reply: Reply) -> Reply:
        stub.stored.clear()
        return reply

    stub.after = clear


def change_bytes(stub: StubLedger) -> None:
    stub.after = lambda request, reply: (
        Reply(reply.status, reply.body + b" ", reply.headers) if is_replay(stub, request) else reply
    )


def change_status(stub: StubLedger) -> None:
    stub.after = lambda request, reply: (
        Reply(200, reply.body, reply.headers) if is_replay(stub, request) else reply
    )


def hide_replays(stub: StubLedger) -> None:
    stub.after = lambda request, reply: Reply(reply.status, reply.body)


def tell_of_others(stub: StubLedger) -> None:
    def tell(request: Request, reply: Reply) -> Reply:
        told = json.loads(reply.body) | {"amount": 99_999}
        return Reply(reply.status, json.dumps(told).encode(), reply.headers)

    stub.after = tell


def apply_twice(stub: StubLedger) -> None:
    """Move the money again when a key is replayed, and answer as if nothing had happened."""

    def move(request: Request, reply: Reply) -> Reply:
        if is_replay(stub, request):
            stub.move(json.loads(request.body))
        return reply

    stub.after = move


def lose_money(stub: StubLedger) -> None:
    stub.is_audit_ok = False


@pytest.mark.parametrize(
    ("lie", "fault"),
    [
        (forget, "has other bytes in its answer"),
        (change_bytes, "has other bytes in its answer"),
        (change_status, "was answered with 201, now with 200"),
        (hide_replays, "not marked Idempotent-Replayed"),
        (tell_of_others, "tells of another transfer"),
        (apply_twice, "balances are not what the answers make them"),
        (lose_money, "the audit is not ok"),
    ],
)
async def test_a_lie_is_caught(lie: Callable[[StubLedger], None], fault: str) -> None:
    async with StubLedger() as stub:
        lie(stub)
        _, summary = await simulate(stub, transfers=12)
    assert not summary.ok
    assert summary.checks is not None
    assert any(fault in each for each in summary.checks["faults"]), summary.checks


async def test_a_key_that_is_answered_in_two_ways_during_the_run_is_caught() -> None:
    async with StubLedger() as stub:
        change_bytes(stub)
        _, summary = await simulate(stub, transfers=80, mix={"reuse": 1.0})
    assert summary.checks is not None
    assert any("two answers to one request" in each for each in summary.checks["faults"])
