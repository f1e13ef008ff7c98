"""The types of limiter.pyx. The docstrings there are its reference."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, final

CLIENTS_MAX: int
RATE_MIN: float
RATE_MAX: int
BURST_MAX: int
COUNT_MAX: int
QUOTA_MAX: int
WINDOW_MAX_S: int

class Verdict(IntEnum):
    ADMITTED = 0
    CLIENT_LIMITED = 1
    GLOBAL_LIMITED = 2
    QUOTA_EXCEEDED = 3

class LimitState(NamedTuple):
    name: str
    quota: int
    window_s: int
    remaining: int
    reset_s: int
    retry_after_s: int

class TooManyClients(Exception): ...

class TokenBucket:
    def __init__(self, rate: float, burst: int) -> None: ...
    def take(self, now_ns: int, count: int = 1) -> bool: ...
    def take_many(self, attempts: int, count: int = 1) -> int: ...
    def wait_ns(self, now_ns: int, count: int = 1) -> int: ...
    def left(self, now_ns: int) -> int: ...
    def give_back(self, count: int = 1) -> None: ...
    def change(self, now_ns: int, rate: float, burst: int) -> None: ...

@final
class ClientLimit:
    def __init__(self, name: str) -> None: ...
    @property
    def name(self) -> str: ...

class Limiter:
    def __init__(
        self,
        client_rate: float = 0,
        client_burst: int = 0,
        global_rate: float = 0,
        global_burst: int = 0,
        quota: int = 0,
        quota_window_s: float = 86_400,
        clock_ns: Callable[[], int] | None = None,
    ) -> None: ...
    def admit_now(self, client: ClientLimit, count: int = 1, amount: int = 0) -> Verdict: ...
    def admit_many(
        self, client: ClientLimit, attempts: int, start_ns: int, step_ns: int
    ) -> int: ...
    def refund(self, client: ClientLimit, amount: int, admitted_ns: int | None = None) -> None: ...
    def find_client(self, name: str) -> ClientLimit: ...
    def forget_idle(self) -> None: ...
    @property
    def client_count(self) -> int: ...
    @property
    def active_count(self) -> int: ...
    def configure(
        self,
        client_rate: float | None = None,
        client_burst: int | None = None,
        global_rate: float | None = None,
        global_burst: int | None = None,
        quota: int | None = None,
        quota_window_s: float | None = None,
    ) -> None: ...
    def settings(self) -> dict[str, float]: ...
    def set_override(
        self,
        name: str,
        rate: float | None = None,
        burst: int | None = None,
        quota: int | None = None,
    ) -> None: ...
    def describe(
        self,
        client: ClientLimit,
        now_ns: int | None = None,
        verdict: int = 0,
        count: int = 1,
        amount: int = ...,
    ) -> LimitState | None: ...
