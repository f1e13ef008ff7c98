"""What the clients make of a 401: final, but for the first one to a request that they sign."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from ledgercore.client import NotExecuted, OutcomeUnknown, ProblemError, RetryBudget
from ledgercore.client.signing import parse
from ledgercore.service.access.key_ring import Scope
from ledgercore.service.access.nonces import NonceMemory
from tests.support import scripted
from tests.support.clients import APPLIED, FakeTime, make_client, make_policy
from tests.support.keyed import make_key
from tests.support.scripted import QUEUE_FULL, Script, Step, answer, answer_problem
from tests.support.servers import Server

pytest_plugins = ["tests.support.client_fixtures"]

START_S = 1_700_000_000
SIGNED = ("key-1", "secret-1")
REFUSED = answer_problem(401, "unauthorized")
LATER = answer_problem(401, "unauthorized", "4")
DONE = answer(201, APPLIED)
PAGE = answer(401, b"<h1>Unauthorized</h1>", content_type="text/html")


def test_a_signed_request_is_signed_anew_and_sent_once_more(kind: str, script: Script) -> None:
    fake = FakeTime(START_S)
    script.play(LATER, DONE)
    with make_client(kind, script.url, *SIGNED, time=fake) as client:
        assert client.transfer("a", "b", 5).is_applied
    first, second = (parse(request.headers["x-signature"]) for request in script.requests)
    assert first is not None and second is not None
    assert first.nonce != second.nonce
    assert (first.timestamp, second.timestamp) == (START_S, START_S + 4)
    assert script.requests[0].body == script.requests[1].body
    assert fake.slept == [4]


@pytest.mark.parametrize(
    ("steps", "tries", "error"),
    [
        ([REFUSED], 2, ProblemError),
        ([REFUSED, QUEUE_FULL, REFUSED], 3, ProblemError),
        ([QUEUE_FULL, REFUSED], 3, ProblemError),
        ([REFUSED, answer_problem(403, "forbidden")], 2, ProblemError),
        # What is no ledger's may have sent the request on before it said so.
        ([PAGE], 1, OutcomeUnknown),
        ([REFUSED, PAGE], 2, OutcomeUnknown),
        ([scripted.drop, REFUSED], 3, OutcomeUnknown),
    ],
)
def test_it_is_once_for_each_call(
    kind: str, script: Script, steps: list[Step], tries: int, error: type[Exception]
) -> None:
    script.play(*steps)
    with (
        make_client(kind, script.url, *SIGNED) as client,
        pytest.raises((ProblemError, NotExecuted, OutcomeUnknown)) as caught,
    ):
        client.transfer("a", "b", 5)
    assert (caught.type, caught.value.tries) == (error, tries), caught.value
    assert len(script.requests) == tries


def test_each_call_has_one_of_its_own(kind: str, script: Script) -> None:
    with make_client(kind, script.url, *SIGNED) as client:
        for _ in range(2):
            script.play(REFUSED, DONE)
            assert client.transfer("a", "b", 5).is_applied
    assert len(script.requests) == 4


@pytest.mark.parametrize("credentials", [(), ("key-1",)])
def test_what_is_not_signed_would_be_the_same_request(
    kind: str, script: Script, credentials: tuple[str, ...]
) -> None:
    script.play(LATER)
    with make_client(kind, script.url, *credentials) as client, pytest.raises(ProblemError):
        client.transfer("a", "b", 5)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": make_policy(attempts_max=1)},
        {"policy": make_policy(deadline_s=3)},
        {"budget": RetryBudget(ratio=0.0, reserve=0)},
    ],
)
def test_without_another_try_it_is_as_final_as_ever(
    kind: str, script: Script, settings: dict[str, object]
) -> None:
    script.play(LATER)
    with (
        make_client(kind, script.url, *SIGNED, time=FakeTime(START_S), **settings) as client,
        pytest.raises(ProblemError, match="the answer is final") as caught,
    ):
        client.transfer("a", "b", 5)
    assert caught.value.problem is not None and caught.value.problem.name == "unauthorized"
    assert (caught.value.tries, len(script.requests)) == (1, 1)


def test_a_server_that_has_lost_its_power_is_waited_for(kind: str, tmp_path: Path) -> None:
    """It refuses all up to a minute from now, and the client's clock is the test's own."""
    data, other_boot = tmp_path / "ledger", tmp_path / "boot_id"
    key = make_key(data, "shop", Scope.ADMIN, is_signed=True)
    other_boot.write_text("00000000-0000-0000-0000-000000000001\n")
    now_s = int(time.time())
    with closing(NonceMemory(data / "nonces", boot_id_path=other_boot)) as nonces:
        assert nonces.remember("shop", "n", now_s + 60)
    fake = FakeTime(now_s)
    policy = make_policy(deadline_s=300)
    with Server(data, "--demo-accounts=2") as server:
        with make_client(
            kind, server.url, key.token, key.secret, time=fake, policy=policy
        ) as client:
            assert client.transfer("acct-0", "acct-1", 5).is_applied
            assert len(fake.slept) == 1 and 60 < fake.slept[0] < 70
            assert client.account("acct-1").id == "acct-1"
            assert len(fake.slept) == 1
        assert "after another boot; signatures made up to" in server.stderr
