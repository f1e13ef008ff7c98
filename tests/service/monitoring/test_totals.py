"""Totals: what is made of the counts of a server."""

import numpy as np
import pytest

from ledgercore import Histogram, Recorder
from ledgercore.service.monitoring.totals import merge


def make(*values: int) -> Histogram:
    recorder = Recorder()
    recorder.record_each(np.array(values, np.int64))
    return recorder.read()


@pytest.mark.parametrize("parts", [(), ((1, 2),), ((1, 2), (3, 900), (5,))])
def test_merged_histogram_holds_all(parts: tuple[tuple[int, ...], ...]) -> None:
    merged = merge(*(make(*part) for part in parts))
    all_values = [value for part in parts for value in part]
    assert (merged.count, merged.sum) == (len(all_values), sum(all_values))
    assert merged.percentile(100) == make(*all_values).percentile(100)
