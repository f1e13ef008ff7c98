"""Totals: what is made of the counts of a server."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ledgercore import Histogram, Recorder
from ledgercore.service.monitoring.totals import merge, read_totals
from ledgercore.service.telemetry.meters import Meters
from tests.support.histories import open_small


def make(*values: int) -> Histogram:
    recorder = Recorder()
    recorder.record_each(np.array(values, np.int64))
    return recorder.read()


def test_totals_are_read_of_what_counts_and_of_nothing_else() -> None:
    """No lifecycle: whoever has these parts can be read."""
    regulator = SimpleNamespace(describe=lambda: {"inflight": 3, "inflight_limit": None})
    exporter = SimpleNamespace(describe=lambda: {"breaker": "open"})
    with open_small(None, durability="memory") as engine:
        server: Any = SimpleNamespace(
            engine=engine,
            batcher=SimpleNamespace(regulator=regulator),
            meters=Meters(True, 0, 0),
            observer=SimpleNamespace(exporter=exporter),
            connection_limit=SimpleNamespace(count=2, limit=9),
            started_s=5.0,
        )
        totals = read_totals(server)
        server.observer.exporter = None
        assert read_totals(server).breaker is None
    assert (totals.inflight, totals.inflight_limit, totals.breaker) == (3, None, "open")
    assert (totals.connections, totals.connections_max, totals.started_s) == (2, 9, 5.0)
    assert totals.statistics.durability == "memory" and totals.requests == 0


@pytest.mark.parametrize("parts", [(), ((1, 2),), ((1, 2), (3, 900), (5,))])
def test_merged_histogram_holds_all(parts: tuple[tuple[int, ...], ...]) -> None:
    merged = merge(*(make(*part) for part in parts))
    all_values = [value for part in parts for value in part]
    assert (merged.count, merged.sum) == (len(all_values), sum(all_values))
    assert merged.percentile(100) == make(*all_values).percentile(100)
