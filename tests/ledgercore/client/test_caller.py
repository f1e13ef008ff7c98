"""What can be set of a client, what cannot, and the key that an intent gets."""

import re
from typing import Any

import pytest

from ledgercore.client.caller import Caller, give_key
from ledgercore.client.calls import get_audit, get_readiness
from ledgercore.client.retries import RetryPolicy
from ledgercore.client.types import TransferIntent
from tests.support.clients import FakeTime

URL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://user:password@127.0.0.1",
        "http://127.0.0.1/?a=b",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Caller(url)


def test_empty_credentials_are_refused() -> None:
    empty: list[dict[str, Any]] = [{"key": ""}, {"secret": ""}]
    for credentials in empty:
        with pytest.raises(ValueError, match=next(iter(credentials))):
            Caller(URL, **credentials)


def test_try_of_a_long_call_may_take_all_the_time() -> None:
    time = FakeTime()
    policy = RetryPolicy(deadline_s=20.0, try_timeout_s=3.0)
    caller = Caller(URL, policy=policy, clock=time.clock)
    with caller.open(get_audit(True)).trying() as attempt:
        assert attempt.timeout_s == 20.0
    with caller.open(get_readiness()).trying() as attempt:
        assert attempt.timeout_s == 3.0


def test_asking_once_is_one_try_past_the_breaker() -> None:
    caller = Caller(URL)
    for _ in range(20):
        exchange = caller.open_once(get_readiness())
        with exchange.trying():
            raise TimeoutError
        assert exchange.wait_s is None


def test_key_is_made_where_there_is_none() -> None:
    made = [give_key(TransferIntent("a", "b", 5, "rent")) for _ in range(100)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", intent.key or "") for intent in made)
    assert len({intent.key for intent in made}) == 100
    assert (made[0].source, made[0].target, made[0].amount, made[0].memo) == ("a", "b", 5, "rent")
    given = TransferIntent("a", "b", 5, key="k")
    assert give_key(given) is given


@pytest.mark.parametrize("key", ["", "a b", "é", "a\n", "x" * 256])
def test_keys_that_cannot_be_keys(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        give_key(TransferIntent("a", "b", 5, key=key))
