"""What a server has counted, as Prometheus reads it: text or OpenMetrics.

This module owns the names, units and buckets of the metrics. It reads no count itself, and how a
metric is written is prometheus_client's. Names have base units (seconds, bytes), and what only
grows ends with `_total`.

The bounds of the buckets are where buckets of the native histograms begin, so that no count is an
estimate: for times powers of two of nanoseconds (a time of exactly a bound counts as above it, by
one nanosecond), for sizes one less than powers of two.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from ledgercore import Histogram, ScrubState, Statistics
from ledgercore.client.breaker import State

from ..telemetry.lifecycle_log import VERSION
from ..telemetry.meters import TRANSFER
from ..units import NS_PER_S
from ..wire.answers import REASONS
from .totals import Totals

TIME_EXPONENTS = range(14, 34)
"""The bounds of times, as exponents of two nanoseconds: 16.384 µs to 8.6 s."""
SIZE_EXPONENTS = range(1, 15)
BREAKER_STATES = tuple(state.value for state in State)
OPENMETRICS = "application/openmetrics-text"

_TIME_BOUNDS = np.array([1 << exponent for exponent in TIME_EXPONENTS], np.int64)
_SIZE_BOUNDS = np.array([1 << exponent for exponent in SIZE_EXPONENTS], np.int64)
_TIME_TEXTS = [str(int(bound) / NS_PER_S) for bound in _TIME_BOUNDS]
_SIZE_TEXTS = [str(int(bound) - 1) for bound in _SIZE_BOUNDS]

Exemplars = Mapping[int, tuple[str, float, float]]
"""By how many bits its nanoseconds have: a trace id in hex, its seconds, and when it was (Unix).

So many bits are the exponent of the bound that they are below.
"""


def encode_metrics(
    totals: Totals, accept: str = "", exemplars: Exemplars | None = None
) -> tuple[bytes, str]:
    """Return all metrics, and their content type, in the form that an Accept header asks for.

    That is OpenMetrics where it names that, the older text otherwise. `exemplars` are of
    `POST /transfer`, and only OpenMetrics has them.
    """
    # Not the header as it came: its version would come back, whatever it is.
    is_open = OPENMETRICS in accept.lower()
    encode, content_type = choose_encoder(f"{OPENMETRICS}; version=1.0.0" if is_open else "")
    return encode(_Totals(totals, _place_exemplars(exemplars or {}))), content_type


def _place_exemplars(exemplars: Exemplars) -> Exemplars:
    """Return the exemplars by the buckets that there are; of several in one, the latest."""
    first, last = TIME_EXPONENTS.start, TIME_EXPONENTS.stop
    by_age = sorted(exemplars.items(), key=lambda item: item[1][2])
    return {min(max(exponent, first), last): exemplar for exponent, exemplar in by_age}


class _Totals(Collector):
    """The metrics of one moment, as prometheus_client takes them: with no registry."""

    def __init__(self, totals: Totals, exemplars: Exemplars) -> None:
        self._totals = totals
        self._exemplars = exemplars

    def collect(self) -> Iterator[Metric]:
        """Yield each metric, with all its labels."""
        totals = self._totals
        yield _make_build(totals.statistics)
        yield GaugeMetricFamily(
            "ledgercore_start_time_seconds",
            "When the server was started, since the Unix epoch.",
            totals.started_s,
        )
        yield _count_requests(totals)
        yield _time_requests(totals, self._exemplars)
        yield from _make_transfers(totals)
        yield from _make_journal(totals)
        yield from _make_segments(totals.statistics)
        yield from _make_state(totals)


def _make_build(statistics: Statistics) -> Metric:
    info = InfoMetricFamily("ledgercore_build", "The version that runs, and what an answer means.")
    labels = {"version": VERSION, "durability": statistics.durability}
    info.add_metric([], labels)
    return info


def _count_requests(totals: Totals) -> Metric:
    requests = CounterMetricFamily(
        "ledgercore_requests",
        "Requests that were answered, by route, HTTP status, and the name of what was told.",
        labels=("route", "status", "outcome"),
    )
    for (route, http_status, outcome), count in sorted(totals.answers.items()):
        requests.add_metric((route, str(http_status), outcome), count)
    return requests


def _time_requests(totals: Totals, exemplars: Exemplars) -> Metric:
    family = HistogramMetricFamily(
        "ledgercore_request_duration",
        "From the arrival of a request to its answer, by route.",
        labels=("route",),
        unit="seconds",
    )
    for route, histogram in sorted(totals.latencies.items()):
        _add_times(family, (route,), histogram, exemplars if route == TRANSFER else {})
    return family


def _make_transfers(totals: Totals) -> Iterator[Metric]:
    measures = totals.measures
    transfers = CounterMetricFamily(
        "ledgercore_transfers",
        "What the ledger has said of transfers for the first time, by outcome.",
        labels=("outcome",),
    )
    for status, count in measures.outcomes.items():
        transfers.add_metric((REASONS[status],), count)
    yield transfers
    yield CounterMetricFamily(
        "ledgercore_replays", "Transfers whose key had its answer already.", measures.replays
    )
    for name, histogram, text in (
        ("queue", measures.queue, "From the queue's taking a transfer to a worker's."),
        ("kernel", measures.kernel, "The batch in which a transfer was applied."),
        ("journal", measures.journal, "From the end of its batch until a transfer was durable."),
    ):
        yield _time(f"ledgercore_transfer_{name}", histogram, text)
    yield _size("ledgercore_batch_transfers", measures.batches, "Transfers of each batch.")


def _make_journal(totals: Totals) -> Iterator[Metric]:
    statistics, measures = totals.statistics, totals.measures
    yield _time(
        "ledgercore_journal_sync", measures.sync, "The write and the sync of each group of records."
    )
    yield _size(
        "ledgercore_group_records", measures.groups, "Records of each group that was synced."
    )
    yield CounterMetricFamily(
        "ledgercore_journal_groups", "Groups of records that were synced.", statistics.groups
    )
    yield CounterMetricFamily(
        "ledgercore_journal_bytes", "Bytes written to the journal.", measures.journal_bytes
    )
    yield GaugeMetricFamily(
        "ledgercore_lsn_applied", "The last record in memory.", statistics.lsn_applied
    )
    yield GaugeMetricFamily(
        "ledgercore_lsn_durable", "The last record on the disk.", statistics.lsn_durable
    )
    yield GaugeMetricFamily(
        "ledgercore_recovery_records",
        "Records that were read from the journal at the start.",
        statistics.recovered_records,
    )
    yield GaugeMetricFamily(
        "ledgercore_recovery_seconds",
        "How long the start took to read them.",
        statistics.recovery_seconds,
    )
    if statistics.scrub is not None:
        yield from _make_scrub(statistics.scrub)


def _make_scrub(scrub: ScrubState) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "ledgercore_scrub_bytes", "Bytes of sealed files that were read again.", scrub.bytes
    )
    yield CounterMetricFamily(
        "ledgercore_scrub_passes", "How often all sealed files were read again.", scrub.passes
    )
    yield GaugeMetricFamily(
        "ledgercore_scrub_progress_ratio",
        "How much of the sealed files the pass has read that is under way, or was last.",
        scrub.progress,
    )
    yield GaugeMetricFamily(
        "ledgercore_scrub_last_pass_timestamp_seconds",
        "When all sealed files had last been read again, since the Unix epoch; 0: not yet.",
        (scrub.last_pass_ns or 0) / NS_PER_S,
    )
    yield GaugeMetricFamily(
        "ledgercore_damaged_files",
        "Sealed files that are damaged or missing, as of when they were last read.",
        len(scrub.damage),
    )


def _make_segments(statistics: Statistics) -> Iterator[Metric]:
    labels = ("segment",)
    depth = GaugeMetricFamily(
        "ledgercore_queue_depth", "Transfers that wait or are being applied.", labels=labels
    )
    workers = GaugeMetricFamily("ledgercore_workers", "Workers of a segment.", labels=labels)
    busy = CounterMetricFamily(
        "ledgercore_worker_busy_seconds", "How long workers were at work, summed.", labels=labels
    )
    for number, load in enumerate(statistics.segments):
        segment = (str(number),)
        depth.add_metric(segment, load.queue_depth)
        workers.add_metric(segment, load.workers)
        busy.add_metric(segment, load.busy_ns / NS_PER_S)
    yield from (depth, workers, busy)


def _make_state(totals: Totals) -> Iterator[Metric]:
    statistics = totals.statistics
    limit = float("inf") if totals.inflight_limit is None else totals.inflight_limit
    for name, text, value in (
        ("accounts", "Accounts that are open.", statistics.accounts),
        ("keys", "Idempotency keys that are remembered.", statistics.keys),
        ("keys_max", "Idempotency keys that there is room for.", statistics.keys_max),
        ("lsn_max", "The last LSN that the ledger gives.", statistics.lsn_max),
        (
            "clock_lead_seconds",
            "How far logged time is ahead of the wall clock; below 0 where it is behind.",
            statistics.clock_lead_ns / NS_PER_S,
        ),
        ("connections", "Connections that are open.", totals.connections),
        ("connections_max", "Connections that there may be.", totals.connections_max),
        ("inflight", "Transfers that were let in and have no answer yet.", totals.inflight),
        ("inflight_limit", "How many are let in at most; +Inf: any number.", limit),
    ):
        yield GaugeMetricFamily(f"ledgercore_{name}", text, value)
    yield CounterMetricFamily(
        "ledgercore_log_lines_dropped", "Lines of the log that nobody took.", totals.log_dropped
    )
    if totals.traces is not None:
        yield from _make_traces(totals.traces)


# -- histograms -------------------------------------------------------------------------------


def _time(name: str, histogram: Histogram, text: str) -> Metric:
    family = HistogramMetricFamily(name, text, unit="seconds")
    _add_times(family, (), histogram, {})
    return family


def _add_times(
    family: HistogramMetricFamily,
    labels: tuple[str, ...],
    histogram: Histogram,
    exemplars: Exemplars,
) -> None:
    counts = [*histogram.count_below(_TIME_BOUNDS), histogram.count]
    exponents = [*TIME_EXPONENTS, TIME_EXPONENTS.stop]
    buckets: list[Any] = []
    for exponent, bound, count in zip(exponents, [*_TIME_TEXTS, "+Inf"], counts, strict=True):
        exemplar = exemplars.get(exponent)
        if exemplar is None:
            buckets.append((bound, int(count)))
        else:
            trace_id, seconds, time_s = exemplar
            told = Exemplar({"trace_id": trace_id}, seconds, time_s)
            buckets.append((bound, int(count), told))
    family.add_metric(labels, buckets, histogram.sum / NS_PER_S)


def _size(name: str, histogram: Histogram, text: str) -> Metric:
    counts = histogram.count_below(_SIZE_BOUNDS)
    buckets: list[Any] = [
        (bound, int(count)) for bound, count in zip(_SIZE_TEXTS, counts, strict=True)
    ]
    buckets.append(("+Inf", histogram.count))
    return HistogramMetricFamily(name, text, buckets, histogram.sum)


def _make_traces(traces: Mapping[str, Any]) -> Iterator[Metric]:
    breaker = GaugeMetricFamily(
        "ledgercore_breaker_state",
        "1 for the state of the breaker around the exporter of traces, 0 for the others.",
        labels=["state"],
    )
    for state in BREAKER_STATES:
        breaker.add_metric((state,), int(traces["breaker"] == state))
    yield breaker
    requests = CounterMetricFamily(
        "ledgercore_traced_requests", "Requests that were kept as traces.", labels=["result"]
    )
    for result in ("exported", "dropped", "failed"):
        requests.add_metric((result,), traces[f"{result}_total"])
    yield requests
