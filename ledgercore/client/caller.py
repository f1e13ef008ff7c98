"""What both clients share: address, credentials, retry policy and breaker.

This module owns what can be set of a client, and its defaults. It never sends anything.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict, TypeVar, Unpack

import httpx
import msgspec

from ..grammar import match_key
from .breaker import CircuitBreaker
from .calls import Call
from .exchange import Credentials, Exchange
from .retries import Attempts, RetryBudget, RetryPolicy
from .types import TransferIntent

Result = TypeVar("Result")
Clock = Callable[[], float]


class Options(TypedDict, total=False):
    """What a client can be given besides its address and credentials.

    `policy` bounds the tries and the time of each call. `budget` and `breaker` are the client's
    own, unless several clients of one server are to share them.
    """

    policy: RetryPolicy
    budget: RetryBudget
    breaker: CircuitBreaker
    clock: Clock
    now: Clock


class Caller:
    """A client without the part that sends. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        secret: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._url = httpx.URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError(f"url: {url!r} is not an http address")
        if self._url.userinfo or self._url.query:
            raise ValueError("url: it has neither a user nor a query")
        self._credentials = Credentials(key, secret)
        self._policy = options.get("policy") or RetryPolicy()
        self._budget = options.get("budget") or RetryBudget()
        self._breaker = options.get("breaker") or CircuitBreaker()
        self._clock = options.get("clock") or time.monotonic
        self._now = options.get("now") or time.time

    def open(self, call: Call[Result]) -> Exchange[Result]:
        """Return the exchange of a call, whose deadline begins to run."""
        policy = self._policy
        if call.is_long:
            policy = replace(policy, try_timeout_s=policy.deadline_s)
        attempts = Attempts(policy, self._budget, self._clock)
        return Exchange(
            call, self._url, self._credentials, attempts, self._breaker, self._clock, self._now
        )

    def open_once(self, call: Call[Result]) -> Exchange[Result]:
        """Return an exchange of one try, which no breaker stands in the way of."""
        attempts = Attempts(replace(self._policy, attempts_max=1), RetryBudget(), self._clock)
        return Exchange(
            call, self._url, self._credentials, attempts, CircuitBreaker(), self._clock, self._now
        )


def give_key(intent: TransferIntent) -> TransferIntent:
    """Return the intent with its key, or with a new one. Raises ValueError if it can be none."""
    if intent.key is None:
        return msgspec.structs.replace(intent, key=secrets.token_hex(16))
    if not match_key(intent.key):
        raise ValueError("key: an idempotency key is 1 to 255 visible ASCII characters")
    return intent
