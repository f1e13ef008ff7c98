"""The token bucket against the same rule in exact fractions, and against many threads."""

import threading
import time
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledgercore.service.admission.limiter import TokenBucket

NS = 1_000_000_000
NOW_MAX = 1 << 62
LATE_NS = 2

# Rates in thousandths a second, since the bucket has no finer ones.
rates = st.integers(1, 10**12) | st.sampled_from([1, 999, 1000, 3 * 10**6, 10**10, 10**12])
bursts = st.integers(1, 50) | st.integers(1, 10**9)
counts = st.integers(1, 3) | st.integers(1, 10**6)
# Gaps in the bucket's own measure: how many tokens come meanwhile; or any number of nanoseconds.
gaps = st.fractions(0, 60, max_denominator=1000) | st.integers(0, 1 << 56).map(lambda ns: -ns)
steps = st.lists(st.tuples(gaps, counts), min_size=1, max_size=40)


class Model:
    """The virtual scheduling algorithm with a rational rate: nothing is ever rounded."""

    def __init__(self, thousandths: int, burst: int) -> None:
        self.rate = Fraction(thousandths, 1000 * NS)
        self.burst = burst
        self.arrival = Fraction(0)

    def level(self, now_ns: Fraction) -> Fraction:
        return min(Fraction(self.burst), self.burst - (self.arrival - now_ns * self.rate))

    def can_take(self, now_ns: Fraction, count: int) -> bool:
        return self.level(now_ns) >= min(count, self.burst)

    def take(self, now_ns: Fraction, count: int) -> None:
        self.arrival = max(self.arrival, now_ns * self.rate) + count


def error_ns(thousandths: int, now_ns: int) -> Fraction:
    """What the head of the header promises: how late a token may be at a time."""
    return unit_ns(thousandths) + Fraction(now_ns, 10**15 if thousandths >= 1000 else 10**12)


def unit_ns(thousandths: int) -> int:
    """What it promises of how early one may be."""
    return 2 if thousandths >= 1000 else 1000


@given(rates, bursts, steps, st.integers(0, 1 << 60))
@example(1, 10**9, [(Fraction(60), 10**6)] * 40, 1 << 60)
@example(10**12, 10**9, [(Fraction(0), 10**6)] * 40, 1 << 60)
def test_decides_as_exact_fractions_do(
    thousandths: int, burst: int, steps: list[tuple[Fraction, int]], start_ns: int
) -> None:
    bucket, model = TokenBucket(thousandths / 1000, burst), Model(thousandths, burst)
    now_ns = start_ns
    for gap, count in steps:
        now_ns = min(now_ns + int(-gap if gap < 0 else gap / model.rate), NOW_MAX)
        is_taken = bucket.take(now_ns, count)
        early_ns = Fraction(now_ns + unit_ns(thousandths))
        if is_taken:
            assert model.can_take(early_ns, count)
            model.take(Fraction(now_ns), count)
        else:
            assert not model.can_take(now_ns - error_ns(thousandths, now_ns), count)
        late_ns = now_ns - error_ns(thousandths, now_ns)
        highest = max(model.level(early_ns), Fraction(0))
        assert model.level(late_ns) - 1 < bucket.left(now_ns) <= highest


@given(rates, bursts, steps, st.integers(0, 1 << 60))
def test_never_gives_more_than_rate_times_time_and_burst(
    thousandths: int, burst: int, steps: list[tuple[Fraction, int]], start_ns: int
) -> None:
    bucket, rate = TokenBucket(thousandths / 1000, burst), Fraction(thousandths, 1000 * NS)
    takes: list[tuple[int, int]] = []
    now_ns = start_ns
    for gap, count in steps:
        now_ns = min(now_ns + int(-gap if gap < 0 else gap / rate), NOW_MAX)
        if bucket.take(now_ns, min(count, burst)):
            takes.append((now_ns, min(count, burst)))
    for first, (begin_ns, _) in enumerate(takes):
        total = 0
        for end_ns, count in takes[first:]:
            total += count
            assert total <= (end_ns - begin_ns + unit_ns(thousandths)) * rate + burst


@given(rates, bursts, st.lists(counts, max_size=20), counts, st.integers(0, NOW_MAX))
@example(1, 1, [10**6], 1, NOW_MAX)
@example(1, 10**9, [10**6] * 20, 10**6, NOW_MAX)
def test_waiting_is_as_long_as_told(
    thousandths: int, burst: int, before: list[int], count: int, now_ns: int
) -> None:
    bucket = TokenBucket(thousandths / 1000, burst)
    for taken in before:
        bucket.take(now_ns, taken)
    wait_ns = bucket.wait_ns(now_ns, count)
    if wait_ns == 0:
        assert bucket.take(now_ns, count)
    else:
        assert not bucket.take(now_ns + wait_ns - 1, count)
        assert bucket.take(now_ns + wait_ns, count)


@given(rates, bursts, counts, st.integers(0, NOW_MAX))
def test_what_is_given_back_can_be_taken_again(
    thousandths: int, burst: int, count: int, now_ns: int
) -> None:
    bucket = TokenBucket(thousandths / 1000, burst)
    assert bucket.take(now_ns, count)
    bucket.give_back(count)
    assert bucket.left(now_ns) == burst
    assert bucket.take(now_ns, count)
    assert bucket.left(now_ns) == max(0, burst - count)


@given(rates, st.integers(1, 200), st.integers(0, NOW_MAX))
def test_a_burst_may_be_of_one_moment(thousandths: int, burst: int, now_ns: int) -> None:
    bucket = TokenBucket(thousandths / 1000, burst)
    assert [bucket.take(now_ns) for _ in range(burst + 1)] == [True] * burst + [False]


def test_more_than_the_burst_goes_into_debt() -> None:
    bucket = TokenBucket(1000, 1000)
    assert bucket.take(0, 100_000)
    assert bucket.left(0) == 0
    paid_ns = 99_001 * NS // 1000
    assert abs(bucket.wait_ns(0, 1) - paid_ns) <= LATE_NS
    assert not bucket.take(paid_ns - LATE_NS - 1)
    assert bucket.take(paid_ns + LATE_NS)
    # Another such waits for the bucket to be full, and no longer.
    wait_ns = bucket.wait_ns(paid_ns + LATE_NS, 100_000)
    assert abs(wait_ns - NS) <= 2 * LATE_NS
    assert bucket.take(paid_ns + LATE_NS + wait_ns, 100_000)


def test_a_time_that_is_behind_gains_nothing() -> None:
    bucket = TokenBucket(10, 10)
    assert bucket.take(5 * NS, 10)
    assert not bucket.take(4 * NS)
    assert bucket.left(4 * NS) == 0
    assert bucket.take(5 * NS + NS // 10 + LATE_NS)


@given(
    rates,
    bursts,
    rates,
    bursts,
    st.integers(1, 10**6),
    st.integers(0, 1 << 60),
)
def test_a_change_keeps_how_full_it_is(
    rate: int, burst: int, new_rate: int, new_burst: int, taken: int, now_ns: int
) -> None:
    bucket = TokenBucket(rate / 1000, burst)
    bucket.take(now_ns, taken)
    left, debt = bucket.left(now_ns), max(0, taken - burst)
    bucket.change(now_ns, new_rate / 1000, new_burst)
    if debt > 0:
        assert bucket.left(now_ns) == 0
        expected_ns = min(Fraction(debt + 1, new_rate) * 1000 * NS, Fraction(NOW_MAX))
        # A level is known to 2 ns of the old rate, and of the new one.
        slack_ns = error_ns(rate, now_ns) * rate / new_rate + error_ns(new_rate, now_ns)
        assert abs(bucket.wait_ns(now_ns, 1) - expected_ns) <= 2 * slack_ns
    else:
        low, high = Fraction(left * new_burst, burst), Fraction((left + 1) * new_burst, burst)
        assert low - 2 <= bucket.left(now_ns) <= high


def test_what_was_full_is_full_after_a_change() -> None:
    bucket = TokenBucket(3, 1)
    bucket.change(12_345, 7, 5000)
    assert bucket.left(12_345) == 5000


@pytest.mark.parametrize("rate", [0, -1, 0.0009, 1e9 + 1, float("nan"), float("inf")])
def test_rates_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(rate, 1)


@pytest.mark.parametrize("burst", [-1, 10**9 + 1])
def test_bursts_out_of_range(burst: int) -> None:
    with pytest.raises(ValueError, match="burst"):
        TokenBucket(1, burst)


@pytest.mark.parametrize(("rate", "burst"), [(1_000_000, 1000), (50, 20), (30_000_000, 1)])
def test_threads_together_never_get_more(rate: float, burst: int) -> None:
    bucket, counts = TokenBucket(rate, burst), []
    start = threading.Barrier(8)

    def hammer() -> None:
        start.wait()
        for _ in range(10):
            counts.append(bucket.take_many(20_000))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    begin_ns = time.monotonic_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed_ns = time.monotonic_ns() - begin_ns
    assert len(counts) == 80
    assert burst <= sum(counts) <= Fraction(rate) * passed_ns / NS + burst


def test_no_take_of_any_thread_is_lost() -> None:
    # Here every attempt takes, so that each meets another in the middle of its own.
    bucket = TokenBucket(0.001, 10**9)
    start, attempts = threading.Barrier(8), 1_000_000

    def hammer() -> None:
        start.wait()
        assert bucket.take_many(attempts) == attempts

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bucket.left(time.monotonic_ns()) == 10**9 - 8 * attempts
