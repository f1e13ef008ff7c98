"""One exchange, fed by hand: what each failure means, what is signed, what a breaker is told."""

import itertools
from typing import Any

import httpx
import pytest

from ledgercore.client import exchange as module
from ledgercore.client.breaker import CircuitBreaker, State
from ledgercore.client.calls import Answer, Call
from ledgercore.client.exchange import Credentials, Exchange, RemainingTime
from ledgercore.client.retries import TIMEOUT_MIN_S, Attempts, Backoff, RetryBudget, RetryPolicy
from ledgercore.client.signing import matches, parse
from ledgercore.client.types import NotExecuted, OutcomeUnknown, ProblemError
from tests.support.clients import FakeTime

URL = httpx.URL("http://ledger.test:8000/prefix/")


def read(answer: Answer) -> str:
    return f"read {answer.http_status}"


def make_exchange(
    *,
    is_change: bool = True,
    tries_max: int = 3,
    credentials: Credentials | None = None,
    breaker: CircuitBreaker | None = None,
) -> tuple[Exchange[str], FakeTime]:
    time = FakeTime()
    policy = RetryPolicy(tries_max, 30.0, 10.0, Backoff(random=lambda: 0.0))
    exchange = Exchange(
        Call("POST", "/x?y=z%2F", read, b"{}", ("k-1",), is_change=is_change),
        URL,
        credentials or Credentials(),
        Attempts(policy, RetryBudget(), time.clock),
        breaker or CircuitBreaker(),
        time.clock,
        time.clock,
    )
    return exchange, time


def feed(exchange: Exchange[str], *steps: Any) -> None:
    """Let each try end with the next step: an exception, or a status and a body."""
    for step in steps:
        with exchange.trying() as attempt:
            if isinstance(step, Exception):
                raise step
            http_status, body = step
            attempt.add(body)
            attempt.finish(httpx.Response(http_status))


def test_answer_is_read() -> None:
    exchange, _ = make_exchange()
    feed(exchange, (201, b"{}"))
    assert exchange.wait_s is None
    assert exchange.result() == "read 201"


def test_request_is_what_was_asked_for() -> None:
    exchange, time = make_exchange(credentials=Credentials("key", "secret"))
    with exchange.trying() as attempt:
        request = attempt.request
        assert str(request.url) == "http://ledger.test:8000/prefix/x?y=z%2F"
        assert request.headers["host"] == "ledger.test:8000"
        assert request.headers["authorization"] == "Bearer key"
        signature = parse(request.headers["x-signature"])
        assert signature is not None and signature.timestamp == int(time.now_s)
        assert matches(signature, "secret", "POST", "/prefix/x?y=z%2F", request.read())
        attempt.finish(httpx.Response(201))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError(""), NotExecuted),
        (httpx.ConnectTimeout(""), NotExecuted),
        (httpx.PoolTimeout(""), NotExecuted),
        (httpx.WriteError(""), OutcomeUnknown),
        (httpx.WriteTimeout(""), OutcomeUnknown),
        (httpx.ReadError(""), OutcomeUnknown),
        (httpx.ReadTimeout(""), OutcomeUnknown),
        (httpx.RemoteProtocolError(""), OutcomeUnknown),
        (httpx.CloseError(""), OutcomeUnknown),
        (httpx.ProxyError(""), OutcomeUnknown),
        (TimeoutError(), OutcomeUnknown),
    ],
)
def test_every_failure_is_tried_again_and_told_apart(
    error: Exception, kind: type[Exception]
) -> None:
    exchange, _ = make_exchange(tries_max=2)
    feed(exchange, error)
    assert exchange.wait_s == 0.0
    feed(exchange, error)
    assert exchange.wait_s is None
    with pytest.raises((NotExecuted, OutcomeUnknown)) as caught:
        exchange.result()
    assert caught.type is kind
    assert (caught.value.key, caught.value.tries) == ("k-1", 2)
    assert caught.value.__cause__ is error
    assert type(error).__name__ in str(caught.value)


def test_read_is_never_unknown() -> None:
    exchange, _ = make_exchange(is_change=False, tries_max=1)
    feed(exchange, httpx.ReadError(""))
    with pytest.raises(NotExecuted):
        exchange.result()


def test_problem_of_a_read_is_told() -> None:
    exchange, _ = make_exchange(is_change=False)
    feed(exchange, (500, b'{"type":"urn:ledgercore:problem:internal-error"}'))
    with pytest.raises(ProblemError) as caught:
        exchange.result()
    assert caught.value.problem.name == "internal-error"


def test_last_problem_is_kept_when_a_later_try_is_lost() -> None:
    exchange, _ = make_exchange(tries_max=2)
    feed(exchange, (503, b'{"type":"urn:ledgercore:problem:queue-full"}'), httpx.ReadError(""))
    with pytest.raises(OutcomeUnknown) as caught:
        exchange.result()
    assert caught.value.problem is not None
    assert caught.value.problem.name == "queue-full"


@pytest.mark.parametrize(
    ("step", "state"),
    [
        ((201, b"{}"), State.CLOSED),
        ((429, b""), State.CLOSED),
        ((400, b""), State.CLOSED),
        ((500, b""), State.OPEN),
        ((503, b""), State.OPEN),
        (httpx.ConnectError(""), State.OPEN),
        (httpx.ReadTimeout(""), State.OPEN),
        (TimeoutError(), State.OPEN),
        (httpx.PoolTimeout(""), State.CLOSED),  # The client's own connections were all in use.
    ],
)
def test_breaker_is_told(step: Any, state: State) -> None:
    breaker = CircuitBreaker(failures_max=1, open_s=60.0)
    exchange, _ = make_exchange(breaker=breaker)
    feed(exchange, step)
    assert breaker.state is state


def test_open_breaker_ends_a_call_before_it_begins() -> None:
    breaker = CircuitBreaker(failures_max=1, open_s=60.0)
    breaker.end(breaker.begin(), False)
    exchange, _ = make_exchange(breaker=breaker)
    with pytest.raises(NotExecuted, match="circuit is open") as caught:
        feed(exchange, (201, b"{}"))
    assert (caught.value.key, caught.value.tries) == ("k-1", 0)


def test_what_is_no_failure_of_the_line_goes_through_and_frees_the_probe() -> None:
    time = FakeTime()
    breaker = CircuitBreaker(1, 5.0, clock=time.clock)
    breaker.end(breaker.begin(), False)
    time.now_s += 5.0
    exchange, _ = make_exchange(breaker=breaker)
    with pytest.raises(KeyError):
        feed(exchange, KeyError("a bug"))
    feed(exchange, (201, b"{}"))
    assert breaker.state is State.CLOSED


def test_no_nonce_twice() -> None:
    nonces = set()
    for _ in range(50):
        headers = Credentials(secret="secret").make_headers("GET", "/", b"", 1.5)
        signature = parse(headers["X-Signature"])
        assert signature is not None and signature.timestamp == 1
        nonces.add(signature.nonce)
    assert len(nonces) == 50


def test_credentials_do_not_show() -> None:
    text = repr(Credentials("my-key", "my-secret"))
    assert "my-key" not in text and "my-secret" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("key", "a\r\nb"), ("key", "a b"), ("key", "ä"), ("key", ""), ("secret", "")],
)
def test_credentials_that_cannot_be_sent(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Credentials(**{name: value})


def test_remaining_time_runs() -> None:
    time = FakeTime(0.0)
    remaining = RemainingTime(10.0, time.clock)
    assert dict(remaining) == dict.fromkeys(("connect", "read", "write", "pool"), 10.0)
    time.now_s = 7.0
    assert (remaining.get("read"), remaining.get("connect", None)) == (3.0, 3.0)
    time.now_s = 11.0
    assert remaining.get("read") == TIMEOUT_MIN_S


def test_answer_may_not_take_longer_than_its_try() -> None:
    exchange, time = make_exchange(tries_max=1)
    with exchange.trying() as attempt:
        for _ in itertools.count():
            attempt.add(b" ")
            time.now_s += 3.0
    assert time.now_s == 1012.0
    with pytest.raises(OutcomeUnknown, match="too slow"):
        exchange.result()


def test_answer_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 10)
    exchange, _ = make_exchange(tries_max=1)
    feed(exchange, (201, b"x" * 11))
    with pytest.raises(OutcomeUnknown, match="longer than 10 bytes"):
        exchange.result()
