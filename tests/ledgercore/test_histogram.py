"""Histograms: exact counts, and percentiles beside those of the sorted samples."""

from fractions import Fraction
from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore import Histogram, Recorder
from ledgercore.histogram import BUCKETS, EMPTY, HIGHEST, VALUE_BITS

PERCENTS = (1.0, 50.0, 90.0, 99.0, 99.9, 100.0)


def make_histogram(samples: npt.NDArray[np.int64]) -> Histogram:
    recorder = Recorder()
    recorder.record_each(samples)
    return recorder.read()


def find_bucket(value: int) -> int:
    recorder = Recorder()
    recorder.record(value)
    return int(recorder.read().counts.argmax())


@given(st.integers(0, (1 << VALUE_BITS) - 1))
def test_bucket_of_a_value_holds_it(value: int) -> None:
    bucket = find_bucket(value)
    assert value <= HIGHEST[bucket] <= value + value / 32
    assert bucket == 0 or value > HIGHEST[bucket - 1]


def test_what_is_out_of_range_counts_at_its_end() -> None:
    assert find_bucket(-5) == 0
    assert find_bucket(1 << 62) == BUCKETS - 1 == find_bucket((1 << VALUE_BITS) - 1)


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_those_of_the_samples(seed: int) -> None:
    samples = np.random.default_rng(seed).lognormal(12, 2, 20_000).astype(np.int64)
    told = make_histogram(samples).percentiles(PERCENTS)
    ordered = np.sort(samples)
    # By fractions: numpy's own percentile rounds its way to a neighbour.
    ranks = [ceil(len(samples) * Fraction(str(percent)) / 100) for percent in PERCENTS]
    for value, wanted in zip(told, ordered[np.array(ranks) - 1], strict=True):
        assert wanted <= value <= wanted * 33 / 32 + 1


def test_nothing_has_no_percentile() -> None:
    assert (EMPTY.count, EMPTY.mean, EMPTY.percentile(99)) == (0, 0.0, 0)


def test_counts_below_powers_of_two_are_exact() -> None:
    samples = np.random.default_rng(3).integers(0, 1 << 30, 5_000)
    bounds = np.array([1 << power for power in range(31)])
    below = make_histogram(samples).count_below(bounds)
    assert below.tolist() == [int((samples < bound).sum()) for bound in bounds]


def test_difference_is_what_was_added() -> None:
    first, second = np.arange(1_000), np.arange(5_000, 9_000)
    before, after = make_histogram(first), make_histogram(np.concatenate((first, second)))
    added = after.since(before)
    assert added.count == 4_000 and added.mean == second.mean()
    assert added.percentile(50) == make_histogram(second).percentile(50)
