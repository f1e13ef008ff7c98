"""The choice of what is traced, by a clock of the test's own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.trace_sampling import TraceSampler

S = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5 * S

    def __call__(self) -> int:
        return self.now_ns


def make_sampler(
    ratio: float, per_second_max: int = 10**9, slow_ns: int = 0, seed: int = 1
) -> tuple[TraceSampler, Clock]:
    clock = Clock()
    return TraceSampler(ratio, per_second_max, slow_ns, seed, clock), clock


@pytest.mark.parametrize("ratio", [0, 0.0, 5e-324, 1e-300])
def test_none(ratio: float) -> None:
    sampler, _ = make_sampler(ratio)
    assert not any(sampler.begin() for _ in range(10_000))


@pytest.mark.parametrize("ratio", [1, 1.0])
def test_all(ratio: float) -> None:
    sampler, _ = make_sampler(ratio)
    assert all(sampler.begin() for _ in range(10_000))
    assert (sampler.taken, sampler.limited) == (10_000, 0)


@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_part(ratio: float) -> None:
    sampler, _ = make_sampler(ratio)
    count = 200_000
    taken = sum(sampler.begin() for _ in range(count))
    # Five standard deviations of as many coins; the seed makes it the same in every run.
    assert abs(taken - count * ratio) < 5 * math.sqrt(count * ratio * (1 - ratio))


def test_pattern_of_the_requests_does_not_matter() -> None:
    sampler, _ = make_sampler(0.1)
    taken = [sampler.begin() for _ in range(200_000)]
    for kind in range(10):
        assert 1_600 < sum(taken[kind::10]) < 2_400


def test_seed_makes_the_choice() -> None:
    def choose(seed: int) -> list[bool]:
        sampler, _ = make_sampler(0.3, seed=seed)
        return [sampler.begin() for _ in range(200)]

    assert choose(1) == choose(1)
    assert choose(1) != choose(2)


def test_choice_of_the_caller_goes_first() -> None:
    sampler, _ = make_sampler(0)
    assert sampler.begin(is_parent_sampled=True)
    sampler, _ = make_sampler(1)
    assert not sampler.begin(is_parent_sampled=False)
    assert sampler.limited == 0


def test_choice_of_the_caller_does_not_count_down() -> None:
    plain, _ = make_sampler(0.1)
    mixed, _ = make_sampler(0.1)
    for _ in range(1_000):
        mixed.begin(is_parent_sampled=True)
        mixed.begin(is_parent_sampled=False)
        assert mixed.begin() == plain.begin()


def test_callers_are_held_to_the_limit() -> None:
    sampler, clock = make_sampler(0, per_second_max=5)
    assert sum(sampler.begin(is_parent_sampled=True) for _ in range(100)) == 5
    assert (sampler.taken, sampler.limited) == (5, 95)
    clock.now_ns += S // 5 - 1
    assert not sampler.begin(is_parent_sampled=True)
    clock.now_ns += 1
    assert sampler.begin(is_parent_sampled=True)
    clock.now_ns += 3600 * S  # What was not used is not kept.
    assert sum(sampler.begin(is_parent_sampled=True) for _ in range(100)) == 5


def test_slow_and_failed_are_taken_within_the_limit() -> None:
    sampler, _ = make_sampler(0, per_second_max=3, slow_ns=100)
    assert not sampler.end(99, 201)
    assert sampler.end(100, 201)
    assert sampler.end(1, 500)
    assert not sampler.end(1, 499)
    assert sampler.end(1, 503)
    assert not sampler.end(10**9, 503)
    assert (sampler.taken, sampler.limited) == (3, 1)


def test_without_a_threshold_none_is_slow() -> None:
    sampler, _ = make_sampler(0)
    assert not sampler.end(10**18, 201)
    assert sampler.end(0, 500)


def test_limit_of_none_takes_none() -> None:
    sampler, clock = make_sampler(1, per_second_max=0)
    clock.now_ns += 10**6 * S
    assert not sampler.begin()
    assert not sampler.end(0, 500)


def test_clock_that_goes_back_gives_nothing() -> None:
    sampler, clock = make_sampler(1, per_second_max=1)
    assert sampler.begin()
    for step_ns in (-S // 2, S // 2, -S // 2, S // 2):
        clock.now_ns += step_ns
        assert not sampler.begin()


@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 2 * S), st.integers(1, 30)), max_size=50),
)
def test_never_more_than_the_limit(rate: int, steps: list[tuple[int, int]]) -> None:
    sampler, clock = make_sampler(1, per_second_max=rate)
    times: list[int] = []
    for step_ns, count in steps:
        clock.now_ns += step_ns
        times += [clock.now_ns for _ in range(count) if sampler.begin()]
    for first, start_ns in enumerate(times):
        for last in range(first, len(times)):
            count, lasted_ns = last - first + 1, times[last] - start_ns
            assert count * S <= rate * (lasted_ns + S)


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": -0.1, "per_second_max": 1},
        {"ratio": 1.1, "per_second_max": 1},
        {"ratio": math.nan, "per_second_max": 1},
        {"ratio": 0.5, "per_second_max": -1},
        {"ratio": 0.5, "per_second_max": 1, "slow_ns": -1},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"ratio|per_second_max"):
        TraceSampler(**settings)  # type: ignore[arg-type]
