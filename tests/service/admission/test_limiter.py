"""The limits of clients: fair, whole, bounded, and changed while they are in use."""

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.access import api_keys
from ledgercore.service.admission import limiter as limiter_module
from ledgercore.service.admission.limiter import ClientLimit, Limiter, TooManyClients, Verdict
from ledgercore.service.settings import RANGES

NS = 1_000_000_000
MS = 1_000_000
UNIT_NS = 2  # what a token may be early
AMOUNT_MAX = (1 << 63) - 1


def test_keys_and_settings_may_have_what_the_limiter_takes() -> None:
    for name in ("RATE_MIN", "RATE_MAX", "BURST_MAX"):
        assert getattr(api_keys, name) == getattr(limiter_module, name)
    assert RANGES["client_rate"] == RANGES["global_rate"] == (0, limiter_module.RATE_MAX)
    assert RANGES["client_burst"] == RANGES["global_burst"] == (0, limiter_module.BURST_MAX)
    assert RANGES["client_quota"] == (0, limiter_module.QUOTA_MAX)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1000 * NS

    def __call__(self) -> int:
        return self.now_ns


def make_limiter(**settings: float) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(**settings, clock_ns=clock), clock  # type: ignore[arg-type]


def admit_all(limiter: Limiter, client: ClientLimit, attempts: int = 10_000) -> int:
    """Ask until it is refused, and return how often it was admitted."""
    for admitted in range(attempts):
        if limiter.admit_now(client) is not Verdict.ADMITTED:
            return admitted
    return attempts


# -- fairness -------------------------------------------------------------------------------------
def simulate(
    limiter: Limiter,
    clock: Clock,
    rates: dict[str, float],
    seconds: int,
    gap_s: Callable[[float], float],
) -> tuple[Counter[str], Counter[str]]:
    """Let clients ask at their rates; return how often each asked and how often it was admitted.

    At every moment, what was admitted must be within the global rate and its burst.
    """
    clients = {name: limiter.find_client(name) for name in rates}
    rate, burst = limiter.settings()["global_rate"], limiter.settings()["global_burst"]
    asked, admitted = Counter[str](), Counter[str]()
    start_ns = clock.now_ns
    turns = [(start_ns + int(gap_s(each) * NS), name) for name, each in rates.items()]
    heapq.heapify(turns)
    while turns[0][0] < start_ns + seconds * NS:
        clock.now_ns, name = turns[0]
        asked[name] += 1
        if limiter.admit_now(clients[name]) is Verdict.ADMITTED:
            admitted[name] += 1
            total = admitted.total()
            assert total <= rate * (clock.now_ns - start_ns + UNIT_NS) / NS + burst
        heapq.heapreplace(turns, (clock.now_ns + max(1, int(gap_s(rates[name]) * NS)), name))
    return asked, admitted


DRAW = random.Random(5)
SHAPES: dict[str, Callable[[float], float]] = {
    "even": lambda rate: 1 / rate,
    "poisson": DRAW.expovariate,
    "bursts": lambda rate: 0 if DRAW.random() < 0.9 else 10 / rate,
}


# With the smaller burst, a share has not the room for the third shape's clusters of requests.
@pytest.mark.parametrize(
    ("shape", "burst"),
    [("even", 100), ("even", 1000), ("poisson", 100), ("poisson", 1000), ("bursts", 1000)],
)
def test_a_hog_takes_nothing_from_the_polite(shape: str, burst: int) -> None:
    rate, seconds = 1000, 60
    limiter, clock = make_limiter(global_rate=rate, global_burst=burst)
    polite = {f"polite-{number}": 0.8 * rate / 4 for number in range(3)}
    asked, admitted = simulate(limiter, clock, {"hog": 10 * rate, **polite}, seconds, SHAPES[shape])
    for name in polite:
        assert asked[name] > 0.7 * polite[name] * seconds
        assert asked[name] - admitted[name] < 0.01 * asked[name]
    assert admitted.total() >= 0.95 * rate * seconds
    # What the polite leave is the hog's.
    assert admitted["hog"] > 0.3 * rate * seconds
    assert limiter.active_count == 4


def test_two_hogs_get_the_same() -> None:
    limiter, clock = make_limiter(global_rate=1000, global_burst=200)
    _, admitted = simulate(limiter, clock, {"a": 2000, "b": 10_000}, 20, SHAPES["poisson"])
    assert admitted["a"] >= 0.45 * 20_000
    assert admitted.total() >= 0.95 * 20_000


def test_one_alone_has_it_all() -> None:
    limiter, clock = make_limiter(global_rate=1000, global_burst=100)
    _, admitted = simulate(limiter, clock, {"a": 5000}, 10, SHAPES["even"])
    assert 0.99 * 10_000 <= admitted["a"] <= 10_100


def test_who_was_away_is_served_at_once() -> None:
    limiter, clock = make_limiter(global_rate=1000, global_burst=100)
    hog, guest = limiter.find_client("hog"), limiter.find_client("guest")
    for _ in range(3000):
        clock.now_ns += MS // 10
        limiter.admit_now(hog)
    assert limiter.admit_now(hog) is Verdict.GLOBAL_LIMITED
    assert limiter.admit_now(guest) is Verdict.ADMITTED


def test_clients_are_active_for_a_second() -> None:
    limiter, clock = make_limiter(global_rate=1000)
    a, b = limiter.find_client("a"), limiter.find_client("b")
    limiter.admit_now(a)
    limiter.admit_now(b)
    assert limiter.active_count == 2
    for _ in range(9):
        clock.now_ns += NS // 10
        limiter.admit_now(a)
        assert limiter.active_count == 2
    clock.now_ns += 2 * NS // 10
    limiter.admit_now(a)
    assert limiter.active_count == 1


def test_a_large_request_is_not_refused_for_ever() -> None:
    limiter, clock = make_limiter(global_rate=1000, global_burst=100)
    hog, bulk = limiter.find_client("hog"), limiter.find_client("bulk")
    served_ns = []
    for _ in range(50_000):
        clock.now_ns += MS // 10
        limiter.admit_now(hog)
        if limiter.admit_now(bulk, 500) is Verdict.ADMITTED:
            served_ns.append(clock.now_ns)
    # Half of 1000 a second is one such each second; the hog has the rest.
    assert 4 <= len(served_ns) <= 6


# -- verdicts -------------------------------------------------------------------------------------
def test_each_limit_refuses() -> None:
    limiter, clock = make_limiter(client_rate=10, client_burst=3, quota=1000)
    client = limiter.find_client("a")
    assert limiter.admit_now(client, 1, 1001) is Verdict.QUOTA_EXCEEDED
    assert [limiter.admit_now(client) for _ in range(4)] == [Verdict.ADMITTED] * 3 + [
        Verdict.CLIENT_LIMITED
    ]
    clock.now_ns += NS // 10 + 2
    assert limiter.admit_now(client) is Verdict.ADMITTED
    assert limiter.admit_now(limiter.find_client("b")) is Verdict.ADMITTED
    limiter, _ = make_limiter(global_rate=1, global_burst=1)
    assert limiter.admit_now(limiter.find_client("a")) is Verdict.ADMITTED
    assert limiter.admit_now(limiter.find_client("b")) is Verdict.GLOBAL_LIMITED


def test_off_is_off() -> None:
    limiter, _ = make_limiter()
    client = limiter.find_client("a")
    assert {limiter.admit_now(client, 10**6, AMOUNT_MAX) for _ in range(100)} == {Verdict.ADMITTED}


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.integers(1, 30),
            st.integers(0, 400),
            st.integers(0, 2 * NS),
        ),
        max_size=60,
    )
)
def test_a_refusal_charges_nothing(asks: list[tuple[str, int, int, int]]) -> None:
    settings = {"client_rate": 5, "client_burst": 20, "global_rate": 8, "quota": 1000}
    limiter, clock = make_limiter(**settings)

    def look(name: str) -> list[object]:
        client = limiter.find_client(name)
        told = [limiter.describe(client, None, verdict, 1) for verdict in Verdict]
        return [*told, limiter.describe(client)]

    spent = Counter[str]()
    for name, count, amount, gap_ns in asks:
        clock.now_ns += gap_ns
        before = look(name), look("c")
        verdict = limiter.admit_now(limiter.find_client(name), count, amount)
        assert (verdict is Verdict.QUOTA_EXCEEDED) == (spent[name] + amount > 1000 and amount > 0)
        if verdict is Verdict.ADMITTED:
            spent[name] += amount
        elif limiter.active_count > 1 or verdict is not Verdict.GLOBAL_LIMITED:
            # That somebody else wants his share does change what the others are told.
            assert look(name)[:1] == before[0][:1]
            assert look(name)[3:] == before[0][3:]
    for name in "ab":
        state = limiter.describe(limiter.find_client(name), None, Verdict.QUOTA_EXCEEDED)
        assert state is not None and state.remaining == 1000 - spent[name]


def test_a_global_refusal_leaves_the_clients_tokens() -> None:
    limiter, clock = make_limiter(client_rate=10, client_burst=5, global_rate=1, global_burst=1)
    client, other = limiter.find_client("a"), limiter.find_client("b")
    assert limiter.admit_now(other) is Verdict.ADMITTED
    for _ in range(10):
        clock.now_ns += 7
        assert limiter.admit_now(client, 1, 1) is Verdict.GLOBAL_LIMITED
    limiter.configure(global_rate=0)
    assert admit_all(limiter, client) == 5


# -- the quota ------------------------------------------------------------------------------------
def read_quota(limiter: Limiter, client: ClientLimit) -> tuple[int, int]:
    state = limiter.describe(client, None, Verdict.QUOTA_EXCEEDED)
    assert state is not None
    return state.remaining, state.retry_after_s


def test_a_window_begins_with_the_first_charge() -> None:
    limiter, clock = make_limiter(quota=100, quota_window_s=60)
    client = limiter.find_client("a")
    clock.now_ns += 500 * NS
    assert limiter.admit_now(client, 1, 100) is Verdict.ADMITTED
    clock.now_ns += 60 * NS - 1
    assert limiter.admit_now(client, 1, 1) is Verdict.QUOTA_EXCEEDED
    assert limiter.admit_now(client, 1, 0) is Verdict.ADMITTED
    assert read_quota(limiter, client) == (0, 1)
    clock.now_ns += 1
    assert limiter.admit_now(client, 1, 40) is Verdict.ADMITTED
    assert read_quota(limiter, client) == (60, 60)


def test_the_largest_amounts() -> None:
    limiter, _ = make_limiter(quota=AMOUNT_MAX)
    client = limiter.find_client("a")
    assert limiter.admit_now(client, 1, AMOUNT_MAX - 1) is Verdict.ADMITTED
    assert limiter.admit_now(client, 1, AMOUNT_MAX) is Verdict.QUOTA_EXCEEDED
    assert limiter.admit_now(client, 1, 1) is Verdict.ADMITTED
    limiter.refund(client, AMOUNT_MAX)
    limiter.refund(client, AMOUNT_MAX)
    assert read_quota(limiter, client)[0] == AMOUNT_MAX
    assert limiter.admit_now(client, 1, AMOUNT_MAX) is Verdict.ADMITTED
    limiter.configure(quota=5)
    assert limiter.admit_now(client, 1, AMOUNT_MAX) is Verdict.QUOTA_EXCEEDED
    assert limiter.admit_now(client, 1, 0) is Verdict.ADMITTED


def test_giving_back_is_for_the_same_window() -> None:
    limiter, clock = make_limiter(quota=100, quota_window_s=60)
    client = limiter.find_client("a")
    first_ns = clock.now_ns
    limiter.admit_now(client, 1, 70)
    limiter.refund(client, 30, first_ns)
    assert read_quota(limiter, client)[0] == 60
    clock.now_ns += 61 * NS
    limiter.admit_now(client, 1, 90)
    limiter.refund(client, 40, first_ns)
    assert read_quota(limiter, client)[0] == 10
    limiter.refund(client, -5)
    assert read_quota(limiter, client)[0] == 10


# -- settings -------------------------------------------------------------------------------------
def test_overrides() -> None:
    limiter, clock = make_limiter(client_rate=10, client_burst=10, quota=100)
    a, b = limiter.find_client("a"), limiter.find_client("b")
    limiter.set_override("a", rate=50, quota=500)
    limiter.set_override("new", rate=0)
    assert admit_all(limiter, a) == 50
    assert admit_all(limiter, b) == 10
    assert admit_all(limiter, limiter.find_client("new")) == 10_000
    assert limiter.admit_now(limiter.find_client("new"), 1, 101) is Verdict.QUOTA_EXCEEDED
    assert read_quota(limiter, a)[0] == 500
    limiter.configure(client_rate=20)
    clock.now_ns += NS // 2 + 2
    assert admit_all(limiter, a) == 25
    limiter.set_override("a")
    assert read_quota(limiter, a)[0] == 100
    clock.now_ns += 100 * NS
    assert admit_all(limiter, a) == 10
    clock.now_ns += NS // 2 + 2
    assert admit_all(limiter, a) == 10


def test_a_change_carries_over() -> None:
    limiter, _ = make_limiter(client_rate=100, client_burst=100, global_rate=1000)
    client = limiter.find_client("a")
    for _ in range(50):
        limiter.admit_now(client)
    limiter.configure(client_rate=10, client_burst=10)
    assert admit_all(limiter, client) == 5
    limiter.configure(client_rate=0)
    assert admit_all(limiter, client, 100) == 100
    limiter.configure(client_rate=10)
    assert admit_all(limiter, client) == 10
    settings = limiter.settings()
    assert (settings["client_rate"], settings["client_burst"]) == (10, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_rate": -1},
        {"client_rate": 1e10},
        {"client_burst": -1},
        {"global_rate": float("nan")},
        {"global_burst": 10**9 + 1},
        {"quota": -1},
        {"quota": 1 << 63},
        {"quota_window_s": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    limiter, _ = make_limiter(client_rate=3)
    before = limiter.settings()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        limiter.configure(**wrong)  # type: ignore[arg-type]
    assert limiter.settings() == before
    for name in {"rate", "burst", "quota"} & {key.removeprefix("client_") for key in wrong}:
        value: Any = next(iter(wrong.values()))
        with pytest.raises(ValueError, match=name):
            limiter.set_override("a", **{name: value})
    assert admit_all(limiter, limiter.find_client("a")) == 3


# -- the registry ---------------------------------------------------------------------------------
def test_the_registry_is_bounded() -> None:
    limiter, clock = make_limiter(client_rate=2, quota=100, global_rate=10**6)
    for number in range(limiter_module.CLIENTS_MAX):
        limiter.admit_now(limiter.find_client(f"client-{number}"))
    with pytest.raises(TooManyClients):
        limiter.find_client("one more")
    spender, held = limiter.find_client("client-0"), limiter.find_client("client-1")
    limiter.admit_now(spender, 1, 100)
    del spender
    clock.now_ns += 5 * NS
    limiter.admit_now(limiter.find_client("client-2"))
    limiter.find_client("one more")
    # Left are who spent, who is held, who has just asked, and the new one.
    assert limiter.client_count == 4
    assert limiter.find_client("client-1") is held
    assert read_quota(limiter, limiter.find_client("client-0"))[0] == 0


def test_overrides_are_bounded() -> None:
    limiter, _ = make_limiter()
    for number in range(limiter_module.CLIENTS_MAX):
        limiter.set_override(f"client-{number}", rate=1)
    with pytest.raises(TooManyClients):
        limiter.set_override("one more", rate=1)
    limiter.set_override("client-0")
    limiter.set_override("one more", rate=1)


def test_the_clock_is_the_systems_where_none_is_given() -> None:
    limiter = Limiter(client_rate=1)
    client = limiter.find_client("a")
    assert limiter.admit_now(client) is Verdict.ADMITTED
    state = limiter.describe(client, time.monotonic_ns())
    assert state is not None and state.remaining == 0
