"""What tests of the export of traces begin with: requests, an exporter, and a breaker to watch.

This module owns no collector; that is in otlp_receiver.py. It asserts nothing about spans.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ledgercore.client.breaker import CircuitBreaker
from ledgercore.service.telemetry.collector import HEADER_VARIABLES
from ledgercore.service.telemetry.span_encoding import RequestSpans
from ledgercore.service.telemetry.span_exporter import SpanExporter
from tests.support.waiting import DEADLINE_S, wait_until

NEVER_S = 3600.0
"""An interval that does not end within a test."""
OPEN_S = 5.0


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxies and headers of whoever runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in HEADER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make_request(number: int = 1, **members: Any) -> RequestSpans:
    """Return a transfer that was answered, of which only the ids are told by the number."""
    return RequestSpans(
        trace_id=(0xABC << 116) | number,
        span_id=(0xD << 60) | number,
        parent_id=0,
        method="POST",
        route="/transfer",
        http_status=201,
        outcome="applied",
        started_ns=1_000,
        ended_ns=9_000,
        phases=(
            ("admission", 1_000, 1_500),
            ("queue", 1_500, 3_000),
            ("kernel", 3_000, 3_200),
            ("journal", 3_200, 8_000),
            ("answer", 8_000, 9_000),
        ),
        attributes=(
            ("ledger.transfer.id", number),
            ("ledger.segment", 0),
            ("ledger.batch.size", 12),
        ),
    )._replace(**members)


@contextmanager
def export(url: str, **options: Any) -> Iterator[SpanExporter]:
    """Export one request a batch, unless told otherwise."""
    exporter = SpanExporter(url, **{"batch_max": 1, "interval_s": NEVER_S, **options})
    try:
        yield exporter
    finally:
        exporter.close(0.2)
        exporter._thread.join(DEADLINE_S)
        assert not exporter._thread.is_alive()


def make_breaker(failures_max: int = 3) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(failures_max, OPEN_S, 1, clock), clock


def wait_for_counts(exporter: SpanExporter, **counts: Any) -> None:
    wait_until(lambda: exporter.describe().items() >= counts.items(), f"{counts}")


def servers(spans: list[Any]) -> list[int]:
    """The numbers of the requests of which these spans tell."""
    return [s.span_id[-1] + 256 * s.span_id[-2] for s in spans if s.kind == Span.SPAN_KIND_SERVER]
