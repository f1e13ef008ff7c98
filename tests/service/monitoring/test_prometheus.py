"""The exposition: what Prometheus reads is what was counted."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

import ledgercore
from ledgercore import SegmentLoad, Status
from ledgercore.service.monitoring.prometheus import encode_metrics
from ledgercore.service.monitoring.totals import Totals
from tests.support.totals_making import make_histogram, make_measures, make_statistics, make_totals

OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
Parse = Callable[[str], Iterable[Metric]]
FORMS: list[tuple[str, str, Parse]] = [
    ("", "text/plain; version=0.0.4", parse_text),
    ("text/plain", "text/plain; version=0.0.4", parse_text),
    ("*/*", "text/plain; version=0.0.4", parse_text),
    (OPEN, "application/openmetrics-text; version=1.0.0", parse_open),
    ("application/openmetrics-text; version=x", "application/openmetrics-text", parse_open),
]


def make_busy_totals() -> Totals:
    outcomes = dict.fromkeys(Status, 0) | {Status.APPLIED: 30, Status.KEY_REUSED: 2}
    measures = make_measures(
        queue=make_histogram([20_000, 40_000]),
        sync=make_histogram([5_000_000] * 3),
        batches=make_histogram([1, 2, 3, 4, 8192]),
        outcomes=outcomes,
        replays=6,
        journal_bytes=4096,
    )
    answers = {
        ("/transfer", 201, "applied"): 30,
        ("/transfer", 422, "key-reused"): 2,
        ("/accounts/<account_id:path>", 200, "ok"): 5,
    }
    return make_totals(
        1,
        answers,
        {"/transfer": [1_000_000] * 32, "/accounts/<account_id:path>": [9] * 5},
        measures=measures,
        statistics=make_statistics([SegmentLoad(4, 2, 1_500_000_000), SegmentLoad(5, 1, 0)]),
        breaker="half-open",
        inflight_limit=64,
    )


def read(totals: Totals, accept: str = "", parse: Parse = parse_text, **options: Any) -> Any:
    """Return what a parser makes of the metrics: samples by name."""
    body, _ = encode_metrics(totals, accept, **options)
    samples: dict[str, list[Any]] = {}
    for family in parse(body.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def value_of(samples: Any, name: str, **labels: str) -> float:
    (value,) = (s.value for s in samples[name] if s.labels.items() >= labels.items())
    return float(value)


@pytest.mark.parametrize(("accept", "content_type", "parse"), FORMS)
def test_each_form_is_read_by_its_parser(accept: str, content_type: str, parse: Parse) -> None:
    totals = make_busy_totals()
    assert encode_metrics(totals, accept)[1].startswith(content_type)
    samples = read(totals, accept, parse)
    assert sum(s.value for s in samples["ledgercore_requests_total"]) == totals.requests == 37
    assert value_of(samples, "ledgercore_requests_total", status="422") == 2
    assert value_of(samples, "ledgercore_transfers_total", outcome="applied") == 30
    assert sum(s.value for s in samples["ledgercore_transfers_total"]) == 32
    assert value_of(samples, "ledgercore_replays_total") == 6
    assert value_of(samples, "ledgercore_journal_bytes_total") == 4096
    assert value_of(samples, "ledgercore_journal_groups_total") == 4
    assert value_of(samples, "ledgercore_build_info", version=ledgercore.__version__) == 1


def test_state_is_told() -> None:
    samples = read(make_busy_totals())
    expected = {
        "lsn_applied": 12,
        "lsn_durable": 10,
        "accounts": 3,
        "keys": 7,
        "keys_max": 100,
        "lsn_max": 2**47,
        "clock_lead_seconds": 0.5,
        "connections": 2,
        "inflight": 1,
        "inflight_limit": 64,
        "recovery_records": 5,
        "recovery_seconds": 0.25,
        "scrub_bytes_total": 8192,
        "scrub_passes_total": 2,
        "scrub_progress_ratio": 0.5,
        "scrub_last_pass_timestamp_seconds": 1_700_000_000,
        "damaged_files": 1,
    }
    assert {name: value_of(samples, f"ledgercore_{name}") for name in expected} == expected
    for segment, depth, workers, busy in (("0", 4, 2, 1.5), ("1", 5, 1, 0)):
        assert value_of(samples, "ledgercore_queue_depth", segment=segment) == depth
        assert value_of(samples, "ledgercore_workers", segment=segment) == workers
        assert value_of(samples, "ledgercore_worker_busy_seconds_total", segment=segment) == busy


@pytest.mark.parametrize("state", ["closed", "open", "half-open"])
def test_breaker_has_one_state(state: str) -> None:
    samples = read(make_totals(breaker=state))["ledgercore_breaker_state"]
    assert {s.labels["state"]: s.value for s in samples} == {
        each: float(each == state) for each in ("closed", "open", "half-open")
    }


def test_what_is_not_there_is_not_told() -> None:
    samples = read(make_totals())
    assert "ledgercore_breaker_state" not in samples
    assert value_of(samples, "ledgercore_inflight_limit") == math.inf


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPEN, parse_open)])
def test_buckets_are_exact_and_cumulative(accept: str, parse: Parse) -> None:
    random = np.random.default_rng(7)
    times = np.exp(random.normal(14, 2.5, 50_000)).astype(np.int64)
    samples = read(make_totals(latencies={"/transfer": times}), accept, parse)
    name = "ledgercore_request_duration_seconds"
    bounds = {float(s.labels["le"]): s.value for s in samples[f"{name}_bucket"]}
    assert len(bounds) == 21 and list(bounds) == sorted(bounds)
    assert (min(bounds), sorted(bounds)[-2]) == (16.384e-6, 8.589934592)
    for bound, count in bounds.items():
        # A time of exactly a bound is above it: that is where the native bucket begins.
        assert count == (times / 1e9 < bound).sum()
    assert bounds[math.inf] == value_of(samples, f"{name}_count") == 50_000
    assert value_of(samples, f"{name}_sum") == pytest.approx(times.sum() / 1e9)


def test_sizes_are_exact() -> None:
    sizes = np.random.default_rng(8).integers(1, 8_193, 5_000)
    samples = read(make_totals(measures=make_measures(batches=make_histogram(sizes))))
    buckets = samples["ledgercore_batch_transfers_bucket"]
    for sample in buckets:
        assert sample.value == (sizes <= float(sample.labels["le"])).sum()
    assert float(buckets[0].labels["le"]) == 1
    assert buckets[-2].value == buckets[-1].value == 5_000
    assert value_of(samples, "ledgercore_batch_transfers_sum") == sizes.sum()


def test_exemplars_are_on_their_buckets_in_openmetrics() -> None:
    totals = make_totals(latencies={"/transfer": [900_000], "/accounts": [900_000]})
    exemplars = {20: ("ab" * 16, 0.0009, 1_700_000_000.5), 34: ("cd" * 16, 9.5, 1_700_000_001.0)}
    samples = read(totals, OPEN, parse_open, exemplars=exemplars)
    found = {
        (s.labels["route"], float(s.labels["le"])): s.exemplar
        for s in samples["ledgercore_request_duration_seconds_bucket"]
        if s.exemplar is not None
    }
    assert set(found) == {("/transfer", 0.001048576), ("/transfer", math.inf)}
    told = found["/transfer", 0.001048576]
    assert (told.labels, told.value) == ({"trace_id": "ab" * 16}, 0.0009)
    assert float(told.timestamp) == 1_700_000_000.5
    body, _ = encode_metrics(totals, "text/plain", exemplars)
    assert b"trace_id" not in body


def test_exemplars_beyond_the_bounds_are_in_the_outer_buckets() -> None:
    totals = make_totals(latencies={"/transfer": [5, 9, 1 << 39]})
    exemplars = {
        4: ("aa" * 16, 9e-9, 200.0),
        3: ("bb" * 16, 5e-9, 100.0),
        40: ("cc" * 16, 549.7, 100.0),
    }
    samples = read(totals, OPEN, parse_open, exemplars=exemplars)
    found = {
        float(s.labels["le"]): s.exemplar.labels["trace_id"]
        for s in samples["ledgercore_request_duration_seconds_bucket"]
        if s.exemplar is not None
    }
    assert found == {16.384e-6: "aa" * 16, math.inf: "cc" * 16}


def test_every_metric_says_what_it_is() -> None:
    body, _ = encode_metrics(make_busy_totals(), OPEN)
    families = list(parse_open(body.decode()))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("ledgercore_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.unit == "seconds" or family.name.endswith(("_transfers", "_records"))
