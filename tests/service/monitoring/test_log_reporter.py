"""The reporter: one line an interval of work, one of refusals, a few of what was slow."""

import json
import logging
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from ledgercore import SegmentLoad
from ledgercore.service.monitoring.log_reporter import Reporter, count_refusals
from ledgercore.service.monitoring.totals import Totals
from ledgercore.service.telemetry.logs import JsonLines
from ledgercore.service.telemetry.span_encoding import RequestSpans
from tests.support.totals_making import make_statistics, make_totals

MS = 1_000_000
DONE = ("/transfer", 201, "applied")
LOOK = ("/metrics", 200, "ok")


class Lines:
    """The lines that were logged, as they are written."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def take(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(JsonLines().format(record)) for record in self._caplog.records]
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    monkeypatch.setattr(logging.getLogger("ledgercore"), "propagate", True)
    with caplog.at_level(logging.INFO, "ledgercore"):
        yield Lines(caplog)


def run(reporter: Reporter, *readings: Totals) -> None:
    for before, after in pairwise(readings):
        reporter.note({}, before, after)


def read_seconds(count: int, each: Mapping[tuple[str, int, str], int], start: int = 0) -> Any:
    """Return readings a second apart, between which the same was answered again."""
    return [
        make_totals(start + second, {answer: n * second for answer, n in each.items()})
        for second in range(count)
    ]


def test_a_clock_that_is_off_is_told_when_it_is_news(lines: Lines) -> None:
    reporter = Reporter(1)
    for seconds in (0.9, 1.0, 30.0, 60.9, 61.5, -5.0, 0.5, 0.2):
        reporter.note_clock(int(seconds * 1_000_000_000))
    assert [line["lead_seconds"] for line in lines.take("clock")] == [1.0, 61.5, -5.0, 0.0]


def test_one_line_an_interval(lines: Lines) -> None:
    run(Reporter(10), *read_seconds(31, {DONE: 500}))
    told = lines.take("load")
    assert [line["seconds"] for line in told] == [10, 10, 10]
    assert {line["requests_per_s"] for line in told} == {500}


def test_line_tells_latency_lag_and_segments(lines: Lines) -> None:
    loads = [SegmentLoad(9, 2, 5_000 * MS), SegmentLoad(0, 1, 0)]
    before = make_totals(
        100,
        {DONE: 10},
        {"/transfer": [900 * MS] * 10},
        statistics=make_statistics([SegmentLoad(0, 1, 1_000 * MS), SegmentLoad(0, 1, 0)]),
    )
    after = make_totals(
        102,
        {DONE: 110, LOOK: 2},
        {"/transfer": [900 * MS] * 10 + [4 * MS] * 98 + [64 * MS] * 2},
        statistics=make_statistics(loads, lsn_applied=50, lsn_durable=43),
        inflight=17,
    )
    run(Reporter(2), before, after)
    (line,) = lines.take("load")
    assert line["p50_ms"] == pytest.approx(4, rel=1 / 32)
    assert line["p99_ms"] == pytest.approx(64, rel=1 / 32)
    assert (line["queue_depth"], line["durable_lag"], line["inflight"]) == (9, 7, 17)
    assert line["requests_per_s"] == 51
    assert line["segments"] == [
        {"segment": 0, "queue_depth": 9, "workers": 2, "utilisation": 1.0},
        {"segment": 1, "queue_depth": 0, "workers": 1, "utilisation": 0.0},
    ]
    assert "segment 0: 9 queued, 2 workers at 100%" in line["message"]


def test_utilisation_is_of_the_workers_that_could_work(lines: Lines) -> None:
    old, new = (make_statistics([SegmentLoad(0, 2, busy * MS)]) for busy in (500, 2_000))
    run(
        Reporter(1),
        make_totals(0, statistics=old),
        make_totals(3, {DONE: 1}, statistics=new),
    )
    (line,) = lines.take("load")
    assert line["segments"][0]["utilisation"] == 0.25


def test_nothing_is_told_of_a_server_that_is_only_watched(lines: Lines) -> None:
    looks = {(route, 200, "ok"): 5 for route in ("/", "/metrics", "/metrics/stream", "/healthz")}
    run(Reporter(5), *read_seconds(30, looks))
    assert lines.take("load") == lines.take("refusals") == []


def test_a_queue_that_stands_still_is_told(lines: Lines) -> None:
    stuck = make_statistics([SegmentLoad(80, 1, 0)])
    run(Reporter(5), make_totals(0), make_totals(6, statistics=stuck))
    assert lines.take("load")[0]["queue_depth"] == 80


def test_no_interval_tells_nothing(lines: Lines) -> None:
    reporter = Reporter(0)
    run(reporter, *read_seconds(100, {DONE: 500, ("/transfer", 429, "quota-exceeded"): 1}))
    reporter.flush()
    assert lines.take("load") == lines.take("refusals") == []


def test_a_rest_is_no_part_of_an_interval(lines: Lines) -> None:
    reporter = Reporter(10)
    run(reporter, *read_seconds(4, {DONE: 100}))
    assert lines.take("load") == []
    run(reporter, make_totals(3600, {DONE: 300}), make_totals(3601, {DONE: 400}))
    (line,) = lines.take("load")
    assert (line["seconds"], line["requests_per_s"]) == (3, 100)
    reporter.flush()
    assert [line["seconds"] for line in lines.take("load")] == [3, 1]
    reporter.flush()
    assert len(lines.take("load")) == 2


def test_what_came_before_a_rest_is_told_at_once(lines: Lines) -> None:
    reporter = Reporter(10)
    rest: dict[str, Any] = {"statistics": make_statistics(lsn_durable=12), "inflight": 0}
    run(reporter, make_totals(0.0), make_totals(1.0, {DONE: 100}, **rest))
    assert lines.take("load") == []
    run(reporter, *(make_totals(second, {DONE: 100}, **rest) for second in (1.0, 2.0)))
    (line,) = lines.take("load")
    assert line["requests_per_s"] == 50


def test_refusals_are_summed_up(lines: Lines) -> None:
    each = {
        DONE: 100,
        ("/transfer", 429, "quota-exceeded"): 80,
        ("/transfers", 429, "quota-exceeded"): 1,
        ("/transfer", 503, "overloaded"): 3,
        ("/transfer", 422, "insufficient-funds"): 9,
    }
    run(Reporter(10), *read_seconds(21, each))
    told = lines.take("refusals")
    assert len(told) == 2
    for line in told:
        assert line["refusals"] == {"quota-exceeded": 810, "overloaded": 30}
        assert line["level"] == "warning" and line["seconds"] == 10
    assert told[0]["message"] == (
        "refused 840 requests in 10.0 s: quota-exceeded 810, overloaded 30"
    )


def test_what_is_refused_of_those_who_look_is_told_too() -> None:
    assert count_refusals({("/metrics", 401, "unauthorized"): 4, DONE: 0}) == {"unauthorized": 4}


# -- what was slow --------------------------------------------------------------------------------


class Clock:
    now_ns = 10**15

    def __call__(self) -> int:
        return self.now_ns


def note_slow(reporter: Reporter, **fields: int) -> None:
    start = 5 * MS
    phases = [("admission", start, start + MS), ("queue", start + MS, start + 1_201 * MS)]
    reporter.note_slow("/transfer", 201, "applied", 1_234_567_890, phases, 0xABC, **fields)


def test_slow_request_is_told_with_its_breakdown(lines: Lines) -> None:
    note_slow(Reporter(0, Clock()), segment=3)
    (line,) = lines.take("slow-request")
    assert line["phases_ms"] == {"admission": 1.0, "queue": 1200.0}
    assert (line["route"], line["status"], line["outcome"]) == ("/transfer", 201, "applied")
    assert (line["elapsed_ms"], line["segment"]) == (1234.568, 3)
    assert line["trace_id"] == "0" * 29 + "abc"
    assert "suppressed" not in line


def test_request_of_the_observer_is_told(lines: Lines) -> None:
    start = 9 * MS
    request = RequestSpans(
        trace_id=0xABC,
        span_id=1,
        parent_id=0,
        method="POST",
        route="/transfer",
        http_status=422,
        outcome="insufficient-funds",
        started_ns=start,
        ended_ns=start + 2_000 * MS,
        phases=(("kernel", start, start + 7 * MS),),
        attributes=(("ledger.transfer.id", 17),),
    )
    Reporter(0, Clock()).note_request(request)
    (line,) = lines.take("slow-request")
    assert (line["elapsed_ms"], line["status"], line["phases_ms"]) == (2000, 422, {"kernel": 7})
    assert (line["outcome"], line["ledger.transfer.id"]) == ("insufficient-funds", 17)
    assert line["trace_id"].endswith("abc")


def test_five_slow_lines_a_second_and_the_rest_is_counted(lines: Lines) -> None:
    clock = Clock()
    reporter = Reporter(10, clock)
    for _ in range(1_005):
        note_slow(reporter)
    assert len(lines.take("slow-request")) == 5
    clock.now_ns += 999 * MS
    note_slow(reporter)
    assert len(lines.take("slow-request")) == 5
    clock.now_ns += MS
    note_slow(reporter)
    note_slow(reporter)
    told = lines.take("slow-request")
    assert [line.get("suppressed") for line in told] == [None] * 5 + [1_001, None]
    assert "1001 more were slow" in told[5]["message"]
