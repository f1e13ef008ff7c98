"""The measured rate of answers, and the wait that is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.admission.drain_rate import SLICE_NS, SLICES, WAIT_MAX_S, DrainMeter

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns


def feed(meter: DrainMeter, clock: Clock, rate: int, seconds: float, step_ms: int = 10) -> None:
    for _ in range(int(seconds * 1000) // step_ms):
        clock.now_ns += step_ms * 1_000_000
        meter.add(rate * step_ms // 1000, clock.now_ns)


@pytest.mark.parametrize("seconds", [0.5, 1, 3, 10])
def test_a_steady_rate_is_found(seconds: float) -> None:
    clock = Clock()
    meter = DrainMeter(clock)
    feed(meter, clock, 20_000, seconds)
    assert meter.find_rate() == pytest.approx(20_000, rel=0.15)


def test_a_rate_that_has_changed_is_forgotten() -> None:
    clock = Clock()
    meter = DrainMeter(clock)
    feed(meter, clock, 50_000, 3)
    feed(meter, clock, 1_000, SLICES * SLICE_NS / SECOND)
    assert meter.find_rate() == pytest.approx(1_000, rel=0.15)
    clock.now_ns += 60 * SECOND
    assert meter.find_rate() == 0


@pytest.mark.parametrize(
    ("depth", "wait_s"), [(0, 1), (1, 1), (1000, 1), (1500, 2), (9_500, 10), (10**9, WAIT_MAX_S)]
)
def test_the_wait_is_depth_over_rate(depth: int, wait_s: int) -> None:
    clock = Clock()
    meter = DrainMeter(clock)
    feed(meter, clock, 1000, 4)
    assert meter.find_wait_s(depth) == wait_s


def test_nothing_that_drains_is_the_longest_wait() -> None:
    assert DrainMeter(Clock()).find_wait_s(1) == WAIT_MAX_S
    assert DrainMeter(Clock()).find_wait_s(1, unmeasured_s=3) == 3
    assert DrainMeter(Clock()).find_wait_s(0, unmeasured_s=3) == 1


@given(st.lists(st.tuples(st.integers(0, 5 * SECOND), st.integers(0, 10**6)), max_size=30))
def test_whatever_comes_the_wait_is_within_its_bounds(turns: list[tuple[int, int]]) -> None:
    clock = Clock()
    meter = DrainMeter(clock)
    for passed_ns, count in turns:
        clock.now_ns += passed_ns
        meter.add(count, clock.now_ns)
        assert meter.find_rate() >= 0
        assert 1 <= meter.find_wait_s(count) <= WAIT_MAX_S
        assert 1 <= meter.find_wait_s(count, unmeasured_s=1) <= WAIT_MAX_S
