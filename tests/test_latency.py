"""The histogram of latencies, against sorted lists."""

from hypothesis import given
from hypothesis import strategies as st

from service.latency import BUCKETS, VALUE_MAX, Latencies, find_bucket, find_highest


@given(st.integers(0, VALUE_MAX))
def test_a_bucket_holds_its_values_and_is_narrow(value: int) -> None:
    index = find_bucket(value)
    assert 0 <= index < BUCKETS
    assert value <= find_highest(index) <= value + value // 16
    assert index == 0 or find_highest(index - 1) < value


def test_what_is_out_of_range_counts_at_its_end() -> None:
    assert find_bucket(-5) == 0
    assert find_bucket(VALUE_MAX * 8) == find_bucket(VALUE_MAX) == BUCKETS - 1


@given(
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 50)), min_size=1, max_size=40),
    st.sampled_from([1, 50, 90, 99, 100]),
)
def test_percentiles_are_those_of_the_sorted_values(
    samples: list[tuple[int, int]], percent: int
) -> None:
    latencies = Latencies()
    for value, count in samples:
        latencies.record(value, count)
    values = sorted(value for value, count in samples for _ in range(count))
    assert latencies.count == len(values)
    wanted = values[max(1, -(-len(values) * percent // 100)) - 1]
    assert wanted <= latencies.find_percentile(percent) <= wanted * 17 // 16


def test_a_new_window_knows_nothing_of_the_last() -> None:
    latencies = Latencies()
    assert latencies.find_percentile(99) == 0
    latencies.record(5_000_000, 3)
    latencies.clear()
    assert (latencies.count, latencies.find_percentile(99)) == (0, 0)
