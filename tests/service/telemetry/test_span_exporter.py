"""The exporter against a real collector: what arrives, what is dropped, and what it costs."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.telemetry.collector import UnusableCollector
from ledgercore.service.telemetry.span_exporter import SpanExporter
from tests.support.exporting import (
    clear_environment,
    export,
    make_request,
    servers,
    wait_for_counts,
)
from tests.support.otlp_receiver import Receiver
from tests.support.waiting import DEADLINE_S, wait_until

OFFER_US_MAX = 20.0
"""Far above what an offer takes (about one), for machines that are busy."""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


# -- what arrives ---------------------------------------------------------------------------------


def test_a_request_arrives() -> None:
    with Receiver() as receiver, export(receiver.url, service_name="a ledger") as exporter:
        assert exporter.offer(make_request(7, parent_id=5))
        wait_for_counts(exporter, exported_total=1, queued=0, failed_total=0, dropped_total=0)
        whole, *phases = receiver.spans
        assert whole.parent_span_id == (5).to_bytes(8, "big")
        assert whole.end_time_unix_nano - whole.start_time_unix_nano == 8_000
        assert {span.parent_span_id for span in phases} == {whole.span_id}
        (group,) = receiver.messages[0].resource_spans
        assert group.resource.attributes[0].value.string_value == "a ledger"
        assert receiver.requests[0][0] == "/v1/traces"


def test_times_are_of_the_clocks() -> None:
    clocks = {"clock_ns": lambda: 50_000, "wall_clock_ns": lambda: 10**18 + 50_000}
    with Receiver() as receiver, export(receiver.url, **clocks) as exporter:
        exporter.offer(make_request())
        wait_for_counts(exporter, exported_total=1)
        assert receiver.spans[0].start_time_unix_nano == 10**18 + 1_000


def test_time_now_is_told_as_now() -> None:
    with Receiver() as receiver, export(receiver.url) as exporter:
        before_ns = time.time_ns()
        started_ns = time.monotonic_ns()
        exporter.offer(make_request(started_ns=started_ns, ended_ns=started_ns, phases=()))
        wait_for_counts(exporter, exported_total=1)
        assert abs(receiver.spans[0].start_time_unix_nano - before_ns) < 1_000_000_000


def test_full_batch_goes_out_at_once_and_the_rest_at_the_end() -> None:
    with Receiver() as receiver, export(receiver.url, batch_max=3) as exporter:
        for number in range(1, 3):
            exporter.offer(make_request(number))
        # The thread has found the first, and sleeps until the batch is full.
        changed: Any = exporter._changed
        wait_until(lambda: changed._waiters, "the thread to wait")
        assert exporter.describe()["queued"] == 2
        exporter.offer(make_request(3))
        wait_for_counts(exporter, exported_total=3)
        exporter.offer(make_request(4))
        exporter.close()
        assert [servers(batch) for batch in receiver.batches] == [[1, 2, 3], [4]]
        assert exporter.describe()["exported_total"] == 4


def test_batch_that_is_not_full_goes_out_after_the_interval() -> None:
    with Receiver() as receiver, export(receiver.url, batch_max=100, interval_s=0.05) as exporter:
        for number in range(1, 4):
            exporter.offer(make_request(number))
        wait_for_counts(exporter, exported_total=3)
        assert servers(receiver.spans) == [1, 2, 3]


def test_what_queued_up_meanwhile_goes_out_in_full_batches() -> None:
    with Receiver() as receiver, export(receiver.url, batch_max=4) as exporter:
        receiver.is_silent = True
        for number in range(1, 14):
            exporter.offer(make_request(number))
            if number == 4:
                receiver.wait_for(1)
        receiver.is_silent = False
        receiver.is_over.set()  # The first batch is lost: the connection ends without an answer.
        wait_for_counts(exporter, failed_total=4, exported_total=8, queued=1)
        assert [servers(batch) for batch in receiver.batches] == [[5, 6, 7, 8], [9, 10, 11, 12]]


def test_headers_of_the_environment_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    with Receiver() as receiver, export(receiver.url) as exporter:
        exporter.offer(make_request())
        wait_for_counts(exporter, exported_total=1)
        assert receiver.requests[0][1]["authorization"] == "Bearer abc"


def test_rejected_spans_are_counted() -> None:
    with Receiver() as receiver, export(receiver.url) as exporter:
        receiver.reject(2)
        exporter.offer(make_request())
        wait_for_counts(exporter, exported_total=1, rejected_spans_total=2)


def test_what_cannot_be_encoded_costs_itself_alone() -> None:
    with Receiver() as receiver, export(receiver.url, batch_max=2) as exporter:
        exporter.offer(make_request(1, trace_id=2**200))
        exporter.offer(make_request(2))
        wait_for_counts(exporter, exported_total=1, failed_total=1, breaker="closed")
        assert servers(receiver.spans) == [2]


def test_many_threads_offer() -> None:
    options = {"queue_max": 5_000, "batch_max": 100, "interval_s": 0.01}
    with Receiver() as receiver, export(receiver.url, **options) as exporter:

        def offer(first: int) -> None:
            for number in range(first, first + 500):
                assert exporter.offer(make_request(number, phases=()))

        threads = [threading.Thread(target=offer, args=(1 + 500 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        wait_for_counts(exporter, exported_total=4_000, dropped_total=0)
        assert sorted(servers(receiver.spans)) == list(range(1, 4_001))


# -- what is dropped ------------------------------------------------------------------------------


def test_queue_is_bounded() -> None:
    options = {"queue_max": 5, "batch_max": 5}
    with Receiver() as receiver, export(receiver.url, **options) as exporter:
        receiver.is_silent = True
        for number in range(1, 6):
            assert exporter.offer(make_request(number))
        receiver.wait_for(1)
        taken = [exporter.offer(make_request(number)) for number in range(6, 106)]
        assert taken == [True] * 5 + [False] * 95
        counts = exporter.describe()
        assert (counts["queued"], counts["dropped_total"]) == (5, 95)


def test_closed_exporter_takes_nothing() -> None:
    with Receiver() as receiver, export(receiver.url) as exporter:
        exporter.close()
        assert not exporter.offer(make_request())
        assert exporter.describe()["dropped_total"] == 1
        exporter.close()
        assert receiver.requests == []


# -- what it costs --------------------------------------------------------------------------------


def test_nothing_runs_while_nothing_is_queued() -> None:
    with Receiver() as receiver, export(receiver.url, interval_s=0.01) as exporter:
        exporter.offer(make_request())
        wait_for_counts(exporter, exported_total=1)
        schedstat = Path(f"/proc/self/task/{exporter._thread.native_id}/schedstat")

        def is_at_rest() -> bool:
            before = schedstat.read_text().split()[2]
            end_s = time.monotonic() + 0.5
            wait_until(lambda: time.monotonic() >= end_s, "the time to pass")
            return schedstat.read_text().split()[2] == before

        wait_until(is_at_rest, "the thread to stay asleep")


def test_an_offer_is_cheap() -> None:
    request = make_request()
    with Receiver() as receiver:
        costs_us = []
        for _ in range(20):
            with export(receiver.url, queue_max=1_000, batch_max=1_000) as exporter:
                started_s = time.perf_counter()
                for _ in range(999):
                    exporter.offer(request)
                costs_us.append((time.perf_counter() - started_s) / 999 * 1e6)
        sys.stdout.write(f"offer: {min(costs_us):.2f} to {max(costs_us):.2f} us\n")
        assert min(costs_us) < OFFER_US_MAX


# -- what makes no sense --------------------------------------------------------------------------


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    with pytest.raises(ValueError, match="pip install opentelemetry-proto"):
        SpanExporter("http://127.0.0.1:4318")


def test_address_that_makes_no_sense() -> None:
    threads = threading.active_count()
    with pytest.raises(UnusableCollector):
        SpanExporter("file:///tmp/spans")
    assert threading.active_count() == threads


@pytest.mark.parametrize("settings", [{"queue_max": 0}, {"batch_max": 0}])
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        SpanExporter("http://127.0.0.1:4318", **settings)
