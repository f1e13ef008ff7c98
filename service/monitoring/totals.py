"""Everything that a server has counted, read at one moment.

This module owns what is read, for all who tell it: the metrics in JSON and for Prometheus, the live
page, the log. It keeps nothing, and every number in it is a total since the start or a state of
the present; who wants a rate reads twice.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from ledgercore import Histogram, Measures, Recorder, Statistics

from ..admission.connection_limit import ConnectionLimit
from ..engine_port import EnginePort
from ..process.standard_streams import STDERR
from ..runtime.batcher import Batcher
from ..telemetry.meters import Meters
from ..telemetry.observer import Observer

TRANSFER_ROUTES = ("/transfer", "/transfers")
"""The routes whose latency is that of the service: what all of it is for."""
SUCCESS_BELOW = 400


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """The counts of one server at a moment, `at_ns` by CLOCK_MONOTONIC.

    `answers` counts requests by (route, HTTP status, outcome), where the outcome is the name of a
    problem, or `applied`, or `ok`. `latencies` has by route how long they took, in nanoseconds.
    `inflight_limit` None is no limit.
    """

    at_ns: int
    answers: dict[tuple[str, int, str], int]
    latencies: dict[str, Histogram]
    statistics: Statistics
    measures: Measures
    connections: int
    connections_max: int
    """How many there may be, by the settings and by the descriptors that there are."""
    log_dropped: int
    """How many lines of the log nobody took."""
    inflight: int
    inflight_limit: int | None
    started_s: float
    """When the server was started, since the Unix epoch."""
    traces: Mapping[str, Any] | None
    """What became of the traces, as SpanExporter.describe has it; None where none are exported."""

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(self.answers.values())

    @property
    def successes(self) -> int:
        """How many of them with a status below 400."""
        return sum(
            count for (_, status, _), count in self.answers.items() if status < SUCCESS_BELOW
        )

    @property
    def latency(self) -> Histogram:
        """How long the requests took that move money."""
        known = (self.latencies.get(route) for route in TRANSFER_ROUTES)
        return merge(*(histogram for histogram in known if histogram is not None))

    @property
    def breaker(self) -> str | None:
        """The state of the breaker around the exporter of traces; None where there is none."""
        return None if self.traces is None else str(self.traces["breaker"])


def merge(*histograms: Histogram) -> Histogram:
    """Return one histogram of what is in all of them."""
    return reduce(
        lambda a, b: Histogram(a.counts + b.counts, a.sum + b.sum), histograms, Recorder().read()
    )


class Counting(Protocol):
    """What is read of a server. The first two raise a problem while its ledger is not open."""

    @property
    def engine(self) -> EnginePort: ...
    @property
    def batcher(self) -> Batcher: ...

    meters: Meters
    observer: Observer
    connection_limit: ConnectionLimit
    started_s: float


def read_totals(server: Counting) -> Totals:
    """Return what was counted so far. Raises the problem that says why there is nothing yet."""
    engine, meters, exporter = server.engine, server.meters, server.observer.exporter
    state = server.batcher.regulator.describe()
    return Totals(
        time.monotonic_ns(),
        meters.read_answers(),
        meters.read_latencies(),
        engine.statistics(),
        engine.measures(),
        server.connection_limit.count,
        server.connection_limit.limit,
        STDERR.dropped,
        state["inflight"],
        state["inflight_limit"],
        server.started_s,
        None if exporter is None else exporter.describe(),
    )
