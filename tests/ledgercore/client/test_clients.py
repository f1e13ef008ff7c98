"""Both clients against a real server, and against one that drops, delays and lies before it.

What has to hold: one key over all tries, money that moves once, nothing tried again that is final,
no call beyond its deadline, and an error that says truly whether money may have moved.
"""

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore.client import (
    AsyncLedgerClient,
    Backoff,
    LedgerClient,
    NotExecuted,
    OutcomeUnknown,
    ProblemError,
    RetryBudget,
    RetryPolicy,
    TransferIntent,
    TransferResult,
)
from ledgercore.client.breaker import CircuitBreaker
from ledgercore.client.signing import matches, parse
from tests.support import scripted
from tests.support.clients import APPLIED, FakeTime, make_client, make_policy
from tests.support.scripted import QUEUE_FULL, Script, Step, answer, answer_problem, forward
from tests.support.servers import Server, balance, fund

pytest_plugins = ["tests.support.serving", "tests.support.client_fixtures"]


@pytest.fixture
def ledger_client(kind: str, url: str) -> Iterator[Any]:
    """Yield a client of the real server, as anybody would make it."""
    with make_client(kind, url, transport=None) as client:
        yield client


# -- a real server --------------------------------------------------------------------------------


def test_transfers(client: httpx.Client, ledger_client: Any, name: str) -> None:
    fund(client, name)
    intents = [
        TransferIntent(f"{name}:a", f"{name}:b", 700, key=f"{name}-1", memo="rent"),
        TransferIntent(f"{name}:b", f"{name}:a", 701),
        TransferIntent(f"{name}:a", f"{name}:b", 1, key=f"{name}-1"),
    ]
    first = ledger_client.transfers(intents)
    assert [one.status for one in first] == ["applied", "refused", "not-stored"]
    reasons = [None, "insufficient-funds", "idempotency-key-reused"]
    assert [one.reason for one in first] == reasons
    again = ledger_client.transfers(intents[:1])
    assert again[0].replayed and (again[0].id, again[0].created_at) == (
        (first[0].id, first[0].created_at)
    )
    assert ledger_client.find_transfer(first[0].id).memo == "rent"
    assert ledger_client.find_key(first[1].key).transfer.id == first[1].id
    assert balance(client, f"{name}:b") == 700


def test_transfer(client: httpx.Client, ledger_client: Any, name: str) -> None:
    fund(client, name)
    first = ledger_client.transfer(f"{name}:a", f"{name}:b", 250, memo="rent")
    assert (first.status, first.is_applied, first.replayed, first.reason) == (
        ("applied", True, False, None)
    )
    assert (first.source, first.target, first.amount) == (f"{name}:a", f"{name}:b", 250)
    again = ledger_client.transfer(f"{name}:a", f"{name}:b", 250, memo="rent", key=first.key)
    assert again.replayed and (again.id, again.created_at) == (first.id, first.created_at)
    record = ledger_client.find_transfer(first.id)
    assert (record.id, record.status, record.memo) == (first.id, "applied", "rent")
    assert ledger_client.find_key(first.key).transfer == record
    assert ledger_client.account(f"{name}:b").balance == 250


@pytest.mark.parametrize(
    ("target", "amount", "reason"),
    [("b", 1001, "insufficient-funds"), ("nobody", 1, "target-not-found")],
)
def test_refusal_is_a_value(
    client: httpx.Client, ledger_client: Any, name: str, target: str, amount: int, reason: str
) -> None:
    fund(client, name)
    first = ledger_client.transfer(f"{name}:a", f"{name}:{target}", amount)
    assert (first.status, first.is_applied, first.reason) == ("refused", False, reason)
    again = ledger_client.transfer(f"{name}:a", f"{name}:{target}", amount, key=first.key)
    assert again.replayed and (again.id, again.reason) == (first.id, reason)
    assert ledger_client.find_key(first.key).state == "refused"


def test_accounts(ledger_client: Any, name: str) -> None:
    opened = ledger_client.open_account(f"{name}/x:y", "EUR/2", floor=-5, ceiling=10)
    assert (opened.id, opened.floor, opened.ceiling) == (f"{name}/x:y", -5, 10)
    assert ledger_client.open_account(f"{name}/x:y", "EUR/2", floor=-5, ceiling=10) == opened
    changed = ledger_client.change_account(f"{name}/x:y", ceiling=None, frozen=True)
    assert (changed.floor, changed.ceiling, changed.frozen) == (-5, None, True)
    assert ledger_client.account(f"{name}/x:y") == changed
    assert changed in list(ledger_client.accounts())
    with pytest.raises(ProblemError) as caught:
        ledger_client.open_account(f"{name}/x:y", "USD/2")
    assert (caught.value.problem.name, caught.value.tries) == ("account-exists", 1)


def test_what_is_not_there(ledger_client: Any, name: str) -> None:
    assert ledger_client.find_transfer(10**12) is None
    assert ledger_client.find_key(f'{name}/a%b"\\?#').state == "unseen"
    with pytest.raises(ProblemError) as caught:
        ledger_client.account("nobody")
    assert caught.value.problem.name == "account-not-found"
    assert caught.value.key is None


def test_audit_and_readiness(ledger_client: Any) -> None:
    assert ledger_client.ready() is True
    audit = ledger_client.audit()
    assert audit.ok and audit.journal_checked and set(audit.sums.values()) <= {0}
    assert ledger_client.audit(journal=False).journal_checked is False


def test_malformed_names_the_fault(ledger_client: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        ledger_client.transfer("a", "b c", 0, key="k-1")
    error = caught.value
    assert (error.key, error.problem.http_status, error.problem.name) == ("k-1", 400, "malformed")
    assert {fault["pointer"] for fault in error.problem.errors} == {"/to", "/amount"}


# -- a server that drops, delays and refuses, before a real one -----------------------------------


def test_one_key_and_one_transfer_over_all_tries(
    kind: str, script: Script, url: str, client: httpx.Client, name: str
) -> None:
    fund(client, name)
    script.play(
        scripted.refuse_connection,
        scripted.drop,
        QUEUE_FULL,
        answer_problem(429, "rate-limited", "0"),
        answer_problem(504, "deadline-passed", executed=False),
        scripted.cut,
        forward(url, is_answered=False),  # The money moves here, and nobody is told.
        answer_problem(409, "key-in-use"),
        answer_problem(500, "outcome-unknown"),
        scripted.drop,
        forward(url),
    )
    with make_client(kind, script.url, breaker=CircuitBreaker(50)) as ledger_client:
        result = ledger_client.transfer(f"{name}:a", f"{name}:b", 250)
    assert (result.status, result.replayed) == ("applied", True)
    assert script.keys == [result.key] * 10
    assert len({request.body for request in script.requests}) == 1
    assert (balance(client, f"{name}:a"), balance(client, f"{name}:b")) == (750, 250)
    assert client.get("/audit?journal=false").json()["ok"] is True


async def test_many_clients_and_a_bad_line(
    script: Script, url: str, client: httpx.Client, name: str
) -> None:
    fund(client, name)
    choose = random.Random(5).choice
    steps: list[Step] = [scripted.drop, QUEUE_FULL, forward(url, is_answered=False), forward(url)]
    script.play(*(choose(steps) for _ in range(150)), forward(url))
    options = {"policy": make_policy(), "budget": RetryBudget(reserve=1000)}
    async with AsyncLedgerClient(
        script.url,
        breaker=CircuitBreaker(10_000),
        **options,  # type: ignore[arg-type]
    ) as ledger_client:
        results = await asyncio.gather(
            *(ledger_client.transfer(f"{name}:a", f"{name}:b", 3) for _ in range(60))
        )
    assert all(result.is_applied for result in results)
    assert len({result.id for result in results}) == len({r.key for r in results}) == 60
    assert len(script.requests) > 120
    assert (balance(client, f"{name}:a"), balance(client, f"{name}:b")) == (820, 180)


async def test_server_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    flags = ("--demo-accounts=2", "--demo-funds=1000")
    killed = asyncio.Event()
    results: list[TransferResult] = []
    with Server(tmp_path / "ledger", *flags) as server:
        url = server.url
        async with AsyncLedgerClient(
            url,
            policy=RetryPolicy(attempts_max=100, backoff=Backoff(cap_s=0.3)),
            budget=RetryBudget(reserve=10_000),
            breaker=CircuitBreaker(10_000),
        ) as ledger_client:

            async def move() -> None:
                results.append(await ledger_client.transfer("acct-0", "acct-1", 1))
                if len(results) == 50:
                    server.kill()  # With half of them on their way.
                    killed.set()

            moves = [asyncio.create_task(move()) for _ in range(100)]
            await killed.wait()
            with Server(tmp_path / "ledger", *flags, f"--port={url.rpartition(':')[2]}") as again:
                await asyncio.gather(*moves)
                account = await ledger_client.account("acct-1")
                assert again.stop() == 0
    assert account.balance == 1100
    assert len({result.id for result in results}) == len({r.key for r in results}) == 100
    assert all(result.is_applied for result in results)


def test_threads_share_a_client(url: str, client: httpx.Client, name: str) -> None:
    fund(client, name)
    with LedgerClient(url) as ledger_client, ThreadPoolExecutor(8) as threads:
        results = list(
            threads.map(lambda _: ledger_client.transfer(f"{name}:a", f"{name}:b", 3), range(80))
        )
    assert len({result.id for result in results}) == 80
    assert balance(client, f"{name}:b") == 240


# -- what is final --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer_problem(400, "malformed"), ProblemError),
        (answer_problem(401, "unauthorized"), ProblemError),
        (answer_problem(403, "forbidden"), ProblemError),
        (answer_problem(404, "not-found"), ProblemError),
        (answer_problem(422, "idempotency-key-reused"), ProblemError),
        (answer_problem(500, "internal-error"), OutcomeUnknown),
        (answer_problem(504, "deadline-passed"), OutcomeUnknown),
        (answer_problem(504, "deadline-passed", executed=True), OutcomeUnknown),
        (answer(502, b"<h1>Bad Gateway</h1>", content_type="text/html"), OutcomeUnknown),
        (answer(404, b"<h1>Not Found</h1>", content_type="text/html"), OutcomeUnknown),
        (answer(302, b"", headers=[("Location", "/elsewhere")]), OutcomeUnknown),
        (answer(201, b""), OutcomeUnknown),
        (answer(201, b"\xff\x00"), OutcomeUnknown),
        (answer(201, b"[" * 100_000), OutcomeUnknown),
        (answer(201, []), OutcomeUnknown),
        (answer(201, {}), OutcomeUnknown),
        (answer(200, APPLIED), OutcomeUnknown),
        (answer(201, {**APPLIED, "id": 0}), OutcomeUnknown),
        (answer(201, {**APPLIED, "id": "07"}), OutcomeUnknown),
        (answer(201, {**APPLIED, "amount": "5.0"}), OutcomeUnknown),
        (answer(201, {**APPLIED, "id": "7", "amount": 5.0}), OutcomeUnknown),
        (answer(201, {**APPLIED, "amount": 6}), OutcomeUnknown),
        (answer(201, {**APPLIED, "amount": 5.0}), OutcomeUnknown),
        (answer(201, {**APPLIED, "from": "b", "to": "a"}), OutcomeUnknown),
        (
            answer(201, {**APPLIED, "status": 422, "outcome": "refused", "reason": "x"}),
            OutcomeUnknown,
        ),
        (answer_problem(422, "frozen", outcome="refused", reason="frozen"), OutcomeUnknown),
    ],
)
def test_final_answers_are_not_tried_again(
    kind: str, script: Script, step: Step, error: type[Exception]
) -> None:
    script.play(step)
    with (
        make_client(kind, script.url) as ledger_client,
        pytest.raises((ProblemError, NotExecuted, OutcomeUnknown)) as caught,
    ):
        ledger_client.transfer("a", "b", 5)
    assert caught.type is error, caught.value
    assert len(script.requests) == caught.value.tries == 1
    assert script.keys == [caught.value.key]


# -- giving up ------------------------------------------------------------------------------------

HTML_503 = answer(503, b"<h1>Service Unavailable</h1>", content_type="text/html")


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([QUEUE_FULL], NotExecuted),
        ([answer_problem(429, "rate-limited")], NotExecuted),
        ([HTML_503], OutcomeUnknown),
        ([scripted.drop], OutcomeUnknown),
        ([scripted.refuse_connection], OutcomeUnknown),  # The request may be in a buffer.
        ([scripted.cut], OutcomeUnknown),
        ([scripted.send_raw(b"nonsense\r\n\r\n")], OutcomeUnknown),
        ([answer_problem(409, "key-in-use")], OutcomeUnknown),
        ([scripted.drop, QUEUE_FULL], OutcomeUnknown),
        ([QUEUE_FULL, scripted.drop], OutcomeUnknown),
        ([QUEUE_FULL, answer_problem(401, "unauthorized")], ProblemError),
        ([scripted.drop, answer_problem(401, "unauthorized")], OutcomeUnknown),
        ([scripted.drop, answer_problem(422, "idempotency-key-reused")], ProblemError),
    ],
)
def test_error_tells_whether_money_may_have_moved(
    kind: str, script: Script, steps: list[Step], error: type[Exception]
) -> None:
    script.play(*steps)
    with make_client(kind, script.url, policy=make_policy(attempts_max=3)) as ledger_client:
        with pytest.raises((ProblemError, NotExecuted, OutcomeUnknown)) as caught:
            ledger_client.transfer("a", "b", 5)
        assert caught.type is error, caught.value
        key = caught.value.key
        assert set(script.keys) <= {key}
        script.play(answer(201, APPLIED))
        assert ledger_client.transfer("a", "b", 5, key=key).key == key


def test_nobody_listens(kind: str) -> None:
    with Script(QUEUE_FULL) as script:
        url = script.url
    with make_client(kind, url, policy=make_policy(attempts_max=3)) as ledger_client:
        with pytest.raises(NotExecuted) as caught:
            ledger_client.transfer("a", "b", 5)
        assert caught.value.tries == 3 and len(caught.value.key or "") == 32
        assert isinstance(caught.value.__cause__, httpx.ConnectError)
        assert ledger_client.ready() is False


@pytest.mark.parametrize("step", [HTML_503, scripted.drop, answer(200, b"nonsense")])
def test_read_leaves_nothing_unknown(kind: str, script: Script, step: Step) -> None:
    script.play(step)
    with make_client(kind, script.url, policy=make_policy(attempts_max=2)) as ledger_client:
        for read in (lambda: ledger_client.account("a"), lambda: ledger_client.find_key("k")):
            with pytest.raises(NotExecuted):
                read()
        assert ledger_client.ready() is False


# -- credentials ----------------------------------------------------------------------------------


def test_every_try_is_signed_anew(kind: str, script: Script) -> None:
    fake = FakeTime(1_700_000_000.0)
    script.play(answer_problem(503, "queue-full", "3"), scripted.drop, answer(201, APPLIED))
    with make_client(kind, script.url, "key-1", "secret-1", time=fake) as ledger_client:
        ledger_client.transfer("a", "b", 5)
        script.play(answer_problem(404, "account-not-found"))
        with pytest.raises(ProblemError):
            ledger_client.account("a/b c")
    signatures = []
    for request in script.requests:
        signature = parse(request.headers["x-signature"])
        assert signature is not None
        assert matches(signature, "secret-1", request.method, request.target, request.body)
        assert request.headers["authorization"] == "Bearer key-1"
        signatures.append(signature)
    assert script.requests[-1].target == "/accounts/a%2Fb%20c"
    assert len({signature.nonce for signature in signatures}) == 4
    start = 1_700_000_000
    assert [signature.timestamp - start for signature in signatures] == [0, 3, 3, 3]


def test_without_credentials_nothing_is_signed(kind: str, script: Script) -> None:
    with make_client(kind, script.url) as ledger_client:
        ledger_client.transfer("a", "b", 5)
    assert not {"authorization", "x-signature", "cookie"} & script.requests[0].headers.keys()
