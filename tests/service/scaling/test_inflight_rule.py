"""The adaptive limit: its rule step by step, and what it brings a modelled server to."""

from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgercore.service.admission.drain_rate import DrainMeter
from ledgercore.service.admission.in_flight import InFlight
from ledgercore.service.scaling.inflight import Regulator
from ledgercore.service.scaling.inflight_rule import UNLIMITED, AdaptiveLimit, Window

MS = 1_000_000
SECOND = 1000 * MS
TARGET_MS = 20


class Simulation:
    """A server that takes a fixed time for each transfer, one after the other (M/D/1).

    It is behind a room that a regulator moves. Who is refused is gone. Time is in nanoseconds.
    """

    def __init__(self, capacity: int, *, target_ms: int = TARGET_MS, lowest: int = 16) -> None:
        self.now_ns = SECOND
        clock = lambda: self.now_ns  # noqa: E731
        self.in_flight = InFlight(DrainMeter(clock))
        self.regulator = Regulator(self.in_flight, target_ms, lowest, 65_536, clock)
        self.service_ns = SECOND // capacity
        self.waiting: deque[tuple[int, int]] = deque()
        self.free_ns = 0
        self.random = Random(7)
        self.clear()

    def clear(self) -> None:
        self.latencies: list[int] = []
        self.refused = 0
        self.limits: list[int] = []
        self.used = 0

    def run(self, rate: float, seconds: float) -> None:
        end_ns = self.now_ns + int(seconds * SECOND)
        arrival_ns = self.now_ns
        while arrival_ns < end_ns:
            arrival_ns += int(self.random.expovariate(rate) * SECOND)
            self._answer(arrival_ns)
            self.now_ns = arrival_ns
            if self.in_flight.count >= self.in_flight.limit:
                self.refused += 1
                continue
            self.in_flight.add(1)
            self.used = max(self.used, self.in_flight.count)
            self.free_ns = max(self.free_ns, arrival_ns) + self.service_ns
            self.waiting.append((arrival_ns, self.free_ns))

    def _answer(self, until_ns: int) -> None:
        while self.waiting and self.waiting[0][1] <= until_ns:
            placed_ns, self.now_ns = self.waiting.popleft()
            self.in_flight.finish(1, self.now_ns)
            self.latencies.append(self.now_ns - placed_ns)
            self.regulator.note(1, placed_ns, self.now_ns)
            self.regulator.end_turn(self.now_ns)
            self.limits.append(self.in_flight.limit)

    @property
    def p99_ms(self) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)] / MS


# -- a modelled server ----------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([2_000, 5_000, 10_000]), st.floats(0.1, 0.85))
def test_below_capacity_the_limit_stays_above_what_is_used(capacity: int, load: float) -> None:
    model = Simulation(capacity)
    model.run(capacity * load, 4)
    assert model.refused == 0
    assert min(model.limits) >= model.used


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([2_000, 5_000]), st.sampled_from([1.5, 3, 5]), st.sampled_from([10, 20, 50]))
def test_overload_ends_within_the_target_at_full_capacity(
    capacity: int, load: float, target_ms: int
) -> None:
    model = Simulation(capacity, target_ms=target_ms)
    model.run(capacity * load, 4)
    model.clear()
    model.run(capacity * load, 4)
    assert model.p99_ms <= 1.5 * target_ms
    assert len(model.latencies) >= 0.8 * capacity * 4
    # It has settled: what it moves by then is small.
    assert max(model.limits) <= 1.5 * min(model.limits)


def test_without_it_the_model_is_lost() -> None:
    model = Simulation(5_000, target_ms=0)
    model.run(25_000, 4)
    assert model.p99_ms > 1000


def test_it_recovers_when_the_load_falls() -> None:
    model = Simulation(5_000)
    model.run(25_000, 4)
    low = model.in_flight.limit
    assert low < 200
    model.run(2_000, 2)
    model.clear()
    model.run(4_000, 4)
    assert (model.refused, model.p99_ms < TARGET_MS) == (0, True)
    # A server that has become faster gets more than the old limit.
    model.service_ns //= 4
    model.run(30_000, 8)
    assert model.in_flight.limit > 2 * low


# -- the rule -------------------------------------------------------------------------------------


def make_rule(limit: int = 1000) -> AdaptiveLimit:
    rule = AdaptiveLimit(TARGET_MS, 10, 100_000)
    rule.limit = limit
    return rule


def learn(rule: AdaptiveLimit, *windows: tuple[float, int]) -> list[int]:
    return [rule.learn(Window(int(p99_ms * MS), peak)) for p99_ms, peak in windows]


def test_one_bad_window_moves_nothing_and_two_do() -> None:
    assert learn(make_rule(), (200, 1000), (5, 100), (200, 1000)) == [1000] * 3
    assert learn(make_rule(), (25, 1000), (25, 1000)) == [1000, 760]


def test_a_cut_begins_at_what_was_used_and_is_at_most_a_half() -> None:
    assert learn(make_rule(), (9000, 400), (9000, 400)) == [1000, 200]


def test_near_the_target_nothing_moves() -> None:
    assert learn(make_rule(), (16, 1000), (20, 1000), (22, 1000), (22, 1000)) == [1000] * 4


def test_only_a_limit_that_was_reached_grows() -> None:
    assert learn(make_rule(), (5, 500), (5, 1000)) == [1000, 1131]


def test_off_is_no_limit() -> None:
    rule = AdaptiveLimit(0, 10, 100)
    assert learn(rule, (9000, 5), (9000, 5), (9000, 5)) == [UNLIMITED] * 3
    rule.configure(TARGET_MS, 10, 100)
    assert rule.limit == 100
    rule.configure(TARGET_MS, 10, 50)
    assert rule.limit == 50
    with pytest.raises(ValueError, match="above the highest"):
        rule.configure(TARGET_MS, 11, 10)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 10**6)), max_size=60))
def test_the_limit_never_leaves_its_bounds(windows: list[tuple[float, int]]) -> None:
    assert all(10 <= limit <= 100_000 for limit in learn(make_rule(), *windows))
