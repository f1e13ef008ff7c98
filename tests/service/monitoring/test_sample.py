"""A sample: each of its numbers, made of totals that are written down here."""

from typing import Any

import msgspec
import pytest

from ledgercore import SegmentLoad, Status
from ledgercore.service.monitoring.sample import is_quiet, make_quiet, make_sample
from tests.support.scripted_totals import (
    MILLISECOND_NS,
    SECOND_NS,
    make_statistics,
    make_totals,
)
from tests.support.totals_making import make_histogram, make_measures

BEFORE = make_totals(
    10.0,
    answers={("/transfer", 201, "applied"): 100, ("/transfer", 422, "same-account"): 7},
    latencies={"/transfer": [90 * MILLISECOND_NS] * 50},
    statistics=make_statistics(segments=(SegmentLoad(0, 2, SECOND_NS), SegmentLoad(5, 2, 0))),
    measures=make_measures(outcomes={Status.APPLIED: 100}, journal_bytes=1_000),
)
AFTER = make_totals(
    12.0,
    answers={
        ("/transfer", 201, "applied"): 300,
        ("/transfer", 422, "same-account"): 7,
        ("/transfer", 429, "quota-exceeded"): 40,
        ("/transfers", 429, "quota-exceeded"): 20,
        ("/audit", 200, "ok"): 2,
    },
    latencies={
        "/transfer": [90 * MILLISECOND_NS] * 50 + [2 * MILLISECOND_NS] * 99,
        "/transfers": [50 * MILLISECOND_NS],
        "/audit": [500 * MILLISECOND_NS] * 1000,
    },
    statistics=make_statistics(
        segments=(SegmentLoad(3, 2, 3 * SECOND_NS), SegmentLoad(0, 1, 9 * SECOND_NS)),
        queue_depth=3,
        lsn_applied=500,
        lsn_durable=460,
        keys=25,
    ),
    measures=make_measures(
        outcomes={Status.APPLIED: 350, Status.SAME_ACCOUNT: 70},
        queue=make_histogram([MILLISECOND_NS]),
        kernel=make_histogram([2 * MILLISECOND_NS]),
        journal=make_histogram([3 * MILLISECOND_NS]),
        sync=make_histogram([4 * MILLISECOND_NS]),
        groups=make_histogram([10, 30]),
        batches=make_histogram([5]),
        journal_bytes=21_000,
    ),
    connections=8,
    inflight=4,
    inflight_limit=64,
    breaker="open",
)


def test_rates_are_of_the_time_between() -> None:
    sample = make_sample(1234.56789, BEFORE, AFTER)
    assert sample["t"] == 1234.568
    assert sample["rps"] == (200 + 40 + 20 + 2) / 2
    assert sample["ok_ps"] == (200 + 2) / 2
    assert sample["transfers_ps"] == (350 - 100) / 2  # Of bulk requests too: they move money.
    assert sample["journal_bytes_ps"] == 10_000
    assert sample["refused_ps"] == {"429": 30.0}  # Of before, none is told again.


def test_times_are_those_of_the_second_and_of_what_moves_money() -> None:
    sample = make_sample(0.0, BEFORE, AFTER)
    # 99 took 2 ms and one 50 ms; a bucket is 1/32 wide. Neither the 90 of before nor /audit counts.
    assert sample["p50_ms"] == pytest.approx(2, rel=1 / 32)
    assert sample["p90_ms"] == sample["p99_ms"] == sample["p50_ms"]
    assert sample["p999_ms"] == pytest.approx(50, rel=1 / 32)
    names = ("queue_ms_p99", "kernel_ms_p99", "journal_ms_p99", "sync_ms_p99")
    for milliseconds, name in enumerate(names, 1):
        assert sample[name] == pytest.approx(milliseconds, rel=1 / 32)


def test_state_is_that_of_the_end() -> None:
    sample = make_sample(0.0, BEFORE, AFTER)
    state: dict[str, Any]
    state = {"queue_depth": 3, "durable_lag": 40, "inflight": 4, "inflight_limit": 64, "keys": 25}
    state |= {"breaker": "open", "connections": 8, "keys_max": 100}
    assert {name: sample[name] for name in state} == state
    assert (sample["group_size"], sample["batch_size"]) == (20.0, 5.0)


def test_utilisation_is_a_part_of_the_time_of_the_workers() -> None:
    # Two of four worker-seconds; and a worker that was retired has worked on.
    assert make_sample(0.0, BEFORE, AFTER)["segments"] == [
        {"queue_depth": 3, "workers": 2, "utilisation": 0.5},
        {"queue_depth": 0, "workers": 1, "utilisation": 1.0},
    ]


def test_sample_is_json_and_a_quiet_one_has_the_same_members() -> None:
    sample = make_sample(100.0, BEFORE, AFTER)
    assert msgspec.json.decode(msgspec.json.encode(sample)) == sample
    quiet = make_quiet(sample, 101.0)
    assert list(quiet) == list(sample)
    assert make_sample(101.0, AFTER, AFTER) | quiet == quiet  # Both tell the same members.
    kept = {"t", "segments", "inflight_limit", "breaker", "connections", "keys", "keys_max"}
    assert all(not value for name, value in quiet.items() if name not in kept)
    assert quiet["t"] == 101.0 and quiet["keys"] == 25 and quiet["inflight_limit"] == 64
    assert [s["workers"] for s in quiet["segments"]] == [2, 1]
    assert [s["queue_depth"] for s in quiet["segments"]] == [0, 0]
    assert sample["segments"][0]["queue_depth"] == 3  # The one it was made of is left alone.


@pytest.mark.parametrize(
    "members",
    [
        {"answers": {("/healthz", 200, "ok"): 1}},
        {"inflight": 1},
        {"statistics": make_statistics(queue_depth=1)},
        {"statistics": make_statistics(lsn_applied=1)},
        {"statistics": make_statistics(lsn_applied=1, lsn_durable=1)},
    ],
)
def test_anything_at_all_is_not_quiet(members: dict[str, object]) -> None:
    assert is_quiet(make_totals(), make_totals(1.0))
    assert not is_quiet(make_totals(), make_totals(1.0, **members))
