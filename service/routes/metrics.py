"""The addresses of the metrics: in JSON for people and programs, in text for Prometheus.

This module owns the members of the JSON, and who gets which form. It counts nothing; it tells what
totals.py has read.
"""

from collections import Counter
from functools import partial
from typing import Any

from sanic import Blueprint
from sanic.exceptions import InvalidHeader
from sanic.response import HTTPResponse

from ledgercore import Histogram

from ..access.key_ring import Scope
from ..admission.guard import guard, readable
from ..monitoring.prometheus import OPENMETRICS, encode_metrics
from ..monitoring.totals import Totals, read_totals
from ..runtime.lifecycle import Lifecycle, lifecycle_of
from ..units import NS_PER_MS
from ..wire.answers import REASONS, answer_json, describe_statistics
from ..wire.sanic_types import AnyRequest
from ..wire.transfer_answer import JSON_TYPE
from .admin_limits import format_limits

PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
SCRAPED = (OPENMETRICS, "text/plain")

metrics_routes = Blueprint("metrics")
_get = partial(readable, metrics_routes)


@_get("/metrics")
@guard(Scope.READ)
async def get_metrics(request: AnyRequest) -> HTTPResponse:
    """Return the counts, what is in flight, and the limits in force; as text where asked to."""
    form = _choose_form(request)
    if form != JSON_TYPE:
        return _answer_text(request, form)
    lifecycle = lifecycle_of(request)
    totals = read_totals(lifecycle)
    return answer_json(describe_totals(totals) | _describe_present(lifecycle))


@_get("/metrics/prometheus")
@guard(Scope.READ)
async def get_prometheus(request: AnyRequest) -> HTTPResponse:
    """Return what was counted, for Prometheus."""
    return _answer_text(request, request.headers.get("accept", ""))


def _choose_form(request: AnyRequest) -> str:
    """Return the form that is asked for; JSON of what is asked for equally, as by "*/*"."""
    try:
        found = request.accept.match(JSON_TYPE, *SCRAPED)
    except InvalidHeader:
        return JSON_TYPE
    return found.mime if found and found.mime in SCRAPED else JSON_TYPE


def _answer_text(request: AnyRequest, accept: str) -> HTTPResponse:
    lifecycle = lifecycle_of(request)
    exemplars = lifecycle.observer.examples
    body, content_type = encode_metrics(read_totals(lifecycle), accept, exemplars)
    return HTTPResponse(body, content_type=content_type)


def _describe_present(lifecycle: Lifecycle) -> dict[str, Any]:
    return lifecycle.batcher.regulator.describe() | {"limits": format_limits(lifecycle)}


def describe_totals(totals: Totals) -> dict[str, Any]:
    """Return the counts as JSON has them; the success rate in percent."""
    requests, latency, measures = totals.requests, totals.latency, totals.measures
    rate = 100.0 * totals.successes / requests if requests else 100.0
    return {
        "requests_total": requests,
        "success_rate": round(rate, 3),
        "avg_latency_ms": _round_ms(latency.mean),
        **describe_statistics(totals.statistics),
        "latency_ms": describe_times(latency),
        "queue_ms": describe_times(measures.queue),
        "kernel_ms": describe_times(measures.kernel),
        "journal_ms": describe_times(measures.journal),
        "sync_ms": describe_times(measures.sync),
        "batch_size": describe_sizes(measures.batches),
        "group_size": describe_sizes(measures.groups),
        "outcomes": {
            REASONS[status]: count for status, count in measures.outcomes.items() if count
        },
        "replays_total": measures.replays,
        "journal_bytes_total": measures.journal_bytes,
        "answers": _describe_answers(totals),
        "connections": totals.connections,
        "connections_max": totals.connections_max,
        "log_lines_dropped_total": totals.log_dropped,
        "breaker": totals.breaker,
        "traces": totals.traces,
    }


def describe_times(histogram: Histogram) -> dict[str, float]:
    """Return the percentiles of times, in milliseconds."""
    found = histogram.percentiles(tuple(PERCENTS.values()))
    return {name: _round_ms(value) for name, value in zip(PERCENTS, found, strict=True)}


def describe_sizes(histogram: Histogram) -> dict[str, float]:
    """Return the mean and the percentiles of sizes."""
    found = histogram.percentiles(tuple(PERCENTS.values()))
    return {"mean": round(histogram.mean, 2), **dict(zip(PERCENTS, found, strict=True))}


def _describe_answers(totals: Totals) -> dict[str, dict[str, int]]:
    """Return how many answers there were, by route and by `status outcome`."""
    answers: dict[str, Counter[str]] = {}
    for (route, http_status, outcome), count in sorted(totals.answers.items()):
        answers.setdefault(route, Counter())[f"{http_status} {outcome}"] += count
    return {route: dict(counts) for route, counts in answers.items()}


def _round_ms(value_ns: float) -> float:
    return round(value_ns / NS_PER_MS, 3)
