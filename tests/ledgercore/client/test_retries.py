"""What is tried again, when, and how often: by a clock and a random number of the test's own."""

import json
import random
import statistics
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore import Status
from ledgercore.client.retries import (
    LOST,
    NOT_SENT,
    RETRY_AFTER_MAX_S,
    TIMEOUT_MIN_S,
    Attempts,
    Backoff,
    Ending,
    RetryBudget,
    RetryPolicy,
    Verdict,
    judge_answer,
    read_retry_after,
)
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import STATUS_KINDS, Kind, encode_problem

SETTLED, REFUSED, BUSY = Verdict.SETTLED, Verdict.REFUSED, Verdict.BUSY
OPEN, BROKEN = Verdict.OPEN, Verdict.BROKEN


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make_attempts(
    tries_max: int = 4,
    deadline_s: float = 10.0,
    budget: RetryBudget | None = None,
    share: float = 1.0,
) -> tuple[Attempts, Clock]:
    """Return attempts whose waits are this share of the longest ones: 1, 2, 4 seconds."""
    clock = Clock()
    backoff = Backoff(base_s=1.0, cap_s=4.0, random=lambda: share)
    policy = RetryPolicy(tries_max, deadline_s, try_timeout_s=3.0, backoff=backoff)
    return Attempts(policy, budget or RetryBudget(), clock), clock


# -- verdicts -------------------------------------------------------------------------------------


def test_verdicts() -> None:
    assert {v for v in Verdict if v.is_retryable} == {BUSY, OPEN}
    assert {v for v in Verdict if v.may_be_executed} == {OPEN, BROKEN}
    assert (NOT_SENT, LOST) == (BUSY, OPEN)


@pytest.mark.parametrize(
    ("http_status", "name", "verdict"),
    [
        (400, "malformed", REFUSED),
        (400, "idempotency-key-missing", REFUSED),
        (401, "unauthorized", REFUSED),
        (403, "forbidden", REFUSED),
        (404, "account-not-found", REFUSED),
        (404, "not-found", REFUSED),
        (408, "request-timeout", REFUSED),
        (409, "account-exists", REFUSED),
        (409, "key-in-use", OPEN),
        (413, "payload-too-large", REFUSED),
        (422, "limit-conflict", REFUSED),
        (422, "idempotency-key-reused", SETTLED),
        (429, "rate-limited", BUSY),
        (500, "internal-error", BROKEN),
        (500, "outcome-unknown", OPEN),
        (500, "another-fault", BROKEN),
        (502, "bad-gateway", BROKEN),
        (503, "queue-full", BUSY),
        (504, "deadline-passed", BROKEN),
        (507, "capacity-exceeded", REFUSED),
    ],
)
def test_problems(http_status: int, name: str, verdict: Verdict) -> None:
    assert judge_answer(http_status, encode_problem(Kind(http_status, name, ""), "")) is verdict


@pytest.mark.parametrize("http_status", [200, 201, 204, 299])
def test_success_needs_no_body(http_status: int) -> None:
    assert judge_answer(http_status, b"\xff") is SETTLED


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ({"executed": False}, BUSY),
        ({"executed": True}, BROKEN),
        ({"executed": None}, BROKEN),
        ({"executed": 0}, BROKEN),
        ({"executed": "false"}, BROKEN),
        ({}, BROKEN),
    ],
)
def test_deadline_passed(members: dict[str, object], verdict: Verdict) -> None:
    body = {"type": "urn:ledgercore:problem:deadline-passed", "status": 504, **members}
    assert judge_answer(504, json.dumps(body).encode()) is verdict


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"type":"about:blank"}', b"\xff"])
@pytest.mark.parametrize(
    ("http_status", "verdict"),
    [
        (302, BROKEN),
        (400, BROKEN),
        (401, BROKEN),
        (404, BROKEN),
        (409, OPEN),
        (422, BROKEN),
        (429, OPEN),
        (500, BROKEN),
        (502, BROKEN),
        (503, OPEN),
        (504, BROKEN),
    ],
)
def test_who_is_no_ledger_promises_nothing(http_status: int, body: bytes, verdict: Verdict) -> None:
    assert judge_answer(http_status, body) is verdict


def test_refusals_of_the_ledger_settle_the_key() -> None:
    for status in Status:
        if status.is_outcome and status is not Status.APPLIED:
            kind = STATUS_KINDS[status]
            body = {"type": kind.type, "status": kind.http_status, "outcome": "refused"}
            assert judge_answer(kind.http_status, json.dumps(body).encode()) is SETTLED, status


def test_every_problem_of_the_server_is_judged_as_it_promises() -> None:
    """They have stored nothing by this request, but for those of a fault, which leave it open."""
    kinds = {kind for kind in vars(problems).values() if isinstance(kind, Kind)}
    assert len(kinds) > 15
    for kind in kinds:
        extra = {"executed": False} if kind is problems.DEADLINE_PASSED else None
        verdict = judge_answer(kind.http_status, encode_problem(kind, "", extra=extra))
        is_unknown, is_busy = kind is problems.OUTCOME_UNKNOWN, kind.http_status in (429, 503, 504)
        assert verdict.may_be_executed == (kind.http_status == 500), kind
        assert verdict.is_retryable == (is_unknown or is_busy), kind


# -- Retry-After ----------------------------------------------------------------------------------

NOW_S = 784_111_770.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("007", 7.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 7.0),
        ("Sun Nov  6 08:49:37 1994", 7.0),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 7.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:49:00 GMT", RETRY_AFTER_MAX_S),
        ("99999999999", RETRY_AFTER_MAX_S),
        ("9" * 5000, RETRY_AFTER_MAX_S),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("٧", None),
        ("soon", None),
        ("Sun, 99 Foo 1994 99:99:99 GMT", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, NOW_S) == seconds


@given(st.text())
def test_retry_after_of_anything(text: str) -> None:
    seconds = read_retry_after(text, NOW_S)
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_MAX_S


@given(st.integers(1, 86_400))
def test_retry_after_of_a_date(seconds: int) -> None:
    date = datetime.fromtimestamp(NOW_S + seconds, UTC)
    assert read_retry_after(format_datetime(date, usegmt=True), NOW_S) == seconds


# -- backoff --------------------------------------------------------------------------------------


def test_bound_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_s=0.1, cap_s=1.0, random=lambda: 1.0)
    assert [backoff.delay_s(attempt) for attempt in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.delay_s(10**9) == 1.0
    assert Backoff(random=lambda: 0.0).delay_s(3) == 0.0


def test_jitter_is_full_and_even() -> None:
    backoff = Backoff(base_s=1.0, cap_s=100.0, random=random.Random(7).random)
    delays_s = [backoff.delay_s(3) for _ in range(20_000)]
    assert 0.0 <= min(delays_s) < 0.01 and 7.99 < max(delays_s) < 8.0
    assert statistics.mean(delays_s) == pytest.approx(4.0, rel=0.02)
    assert statistics.pvariance(delays_s) == pytest.approx(8.0**2 / 12, rel=0.03)
    assert [round(edge, 1) for edge in statistics.quantiles(delays_s, n=4)] == [2.0, 4.0, 6.0]


# -- budget ---------------------------------------------------------------------------------------


def test_reserve_is_spent_and_no_more() -> None:
    budget = RetryBudget(ratio=0.1, reserve=3)
    assert [budget.withdraw() for _ in range(5)] == [True, True, True, False, False]
    assert budget.tokens == 0


def test_ten_first_tries_pay_for_one_retry() -> None:
    budget = RetryBudget(ratio=0.1, reserve=0)
    for _ in range(9):
        budget.deposit()
        assert not budget.withdraw()
    budget.deposit()  # As floats, ten tenths are less than one.
    assert budget.withdraw()
    assert not budget.withdraw()


def test_budget_is_capped() -> None:
    budget = RetryBudget(ratio=0.5, reserve=1, tokens_max=3)
    for _ in range(100):
        budget.deposit()
    assert budget.tokens == 3


@given(st.lists(st.booleans(), max_size=200), st.sampled_from([0.0, 0.1, 0.25, 1.0]))
def test_retries_stay_within_their_share(steps: list[bool], ratio: float) -> None:
    budget = RetryBudget(ratio=ratio, reserve=2)
    retries = 0
    for deposits in steps:
        if deposits:
            budget.deposit()
        else:
            retries += budget.withdraw()
        assert 0 <= budget.tokens <= 100
    assert retries <= 2 + ratio * sum(steps) + 1e-9


def test_budget_of_many_threads() -> None:
    budget = RetryBudget(ratio=0.5, reserve=0, tokens_max=10_000)

    def spend(_: int) -> int:
        spent = 0
        for _ in range(500):
            budget.deposit()
            spent += budget.withdraw()
        return spent

    with ThreadPoolExecutor(8) as threads:
        spent = sum(threads.map(spend, range(8)))
    assert spent + budget.tokens == 8 * 500 * 0.5


# -- attempts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [SETTLED, REFUSED, BROKEN])
def test_final_ends_it(verdict: Verdict) -> None:
    attempts, _ = make_attempts()
    attempts.begin()
    assert attempts.wait_s(verdict, 1.0) is None
    assert attempts.ending is Ending.FINAL


def test_waits_until_all_tries_are_used() -> None:
    budget = RetryBudget(ratio=0.0, reserve=10)
    attempts, _ = make_attempts(tries_max=4, budget=budget)
    waits = []
    for verdict in (BUSY, OPEN, BUSY, BUSY):
        attempts.begin()
        waits.append(attempts.wait_s(verdict))
    assert waits == [1.0, 2.0, 4.0, None]
    assert (attempts.tries, attempts.ending) == (4, Ending.ATTEMPTS)
    assert budget.tokens == 7  # Three retries, and the first try costs nothing.


def test_server_is_waited_for_at_least_as_long_as_it_asks() -> None:
    attempts, _ = make_attempts(share=0.25)
    attempts.begin()
    assert attempts.wait_s(BUSY, 5.0) == 5.25
    attempts.begin()
    assert attempts.wait_s(BUSY, 0.0) == 0.5


def test_wait_beyond_the_deadline_ends_it_at_once() -> None:
    budget = RetryBudget(reserve=5)
    attempts, clock = make_attempts(deadline_s=10.0, budget=budget)
    attempts.begin()
    tokens = budget.tokens
    clock.now_s += 4.0
    assert attempts.wait_s(BUSY, 5.0) is None  # 4 + 5 and the jitter of 1 is the deadline itself.
    assert attempts.ending is Ending.DEADLINE
    assert budget.tokens == tokens


def test_no_retry_without_budget() -> None:
    attempts, _ = make_attempts(budget=RetryBudget(ratio=0.1, reserve=0))
    attempts.begin()
    assert attempts.wait_s(BUSY) is None
    assert attempts.ending is Ending.BUDGET


def test_first_tries_feed_the_budget_and_retries_do_not() -> None:
    budget = RetryBudget(ratio=0.5, reserve=1)
    attempts, _ = make_attempts(budget=budget)
    attempts.begin()
    assert budget.tokens == 1.5
    assert attempts.wait_s(BUSY) is not None
    attempts.begin()
    assert budget.tokens == 0.5


def test_try_gets_what_is_left() -> None:
    attempts, clock = make_attempts(deadline_s=10.0)
    assert attempts.begin() == 3.0
    clock.now_s += 8.0
    assert attempts.begin() == 2.0
    clock.now_s += 5.0
    assert attempts.begin() == TIMEOUT_MIN_S
    assert attempts.left_s() == -3.0


@pytest.mark.parametrize(
    ("verdicts", "may_be_executed"),
    [
        ([BUSY, BUSY], False),
        ([BUSY, REFUSED], False),
        ([OPEN, BUSY], True),  # The second try was not executed; the first one may be.
        ([OPEN, REFUSED], True),
        ([BUSY, BROKEN], True),
        ([OPEN, SETTLED], False),
    ],
)
def test_what_may_be_executed_stays_so_until_it_is_settled(
    verdicts: list[Verdict], may_be_executed: bool
) -> None:
    attempts, _ = make_attempts()
    for verdict in verdicts:
        attempts.begin()
        attempts.wait_s(verdict)
    assert attempts.may_be_executed is may_be_executed


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BUSY, OPEN]),
            st.one_of(st.none(), st.floats(0, 8)),
            st.floats(0, 4),
        ),
        min_size=1,
    ),
    st.floats(0, 1),
)
def test_no_try_begins_after_the_deadline(
    steps: list[tuple[Verdict, float | None, float]], share: float
) -> None:
    attempts, clock = make_attempts(tries_max=8, budget=RetryBudget(reserve=5), share=share)
    for verdict, retry_after_s, took_s in islice(steps, 20):
        timeout_s = attempts.begin()
        assert clock.now_s + timeout_s <= 110.0 + 1e-9
        clock.now_s += min(took_s, timeout_s)
        wait_s = attempts.wait_s(verdict, retry_after_s)
        if wait_s is None:
            break
        assert wait_s >= (retry_after_s or 0.0)
        clock.now_s += wait_s
        assert clock.now_s < 110.0
    assert attempts.tries <= 8


@pytest.mark.parametrize(
    "settings", [{"attempts_max": 0}, {"deadline_s": 0.0}, {"try_timeout_s": -1.0}]
)
def test_policies_that_make_no_sense(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        RetryPolicy(**settings)  # type: ignore[arg-type]  # Each value has its field's type.
