"""The log lines at an interval: load, refusals, clock; and those of slow requests.

This module owns when such a line is due, and how much is told in it: a server under load writes one
line an interval of its work and one of what it has refused, and a few a second of slow requests,
whatever comes. It has no timer: time passes for it by the readings that it is given, and while
there is nothing to see it is given none. It never reads a count itself, and knows nothing of a
request but names and times.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..scaling.workers_rule import find_utilisation
from ..telemetry.lifecycle_log import log_clock
from ..telemetry.observer import is_inspection
from ..telemetry.span_encoding import RequestSpans
from ..units import NS_PER_MS, NS_PER_S
from .sample import is_quiet
from .totals import Totals

CLOCK_NEWS_NS = 60 * NS_PER_S
SLOW_LINES_PER_S = 5
REFUSALS = frozenset({401, 403, 429, 503, 504})
"""The statuses of what the server does not do, and has not begun to."""

Phase = tuple[str, int, int]
"""A part of a request's way: its name, its start and its end in nanoseconds."""

logger = logging.getLogger("ledgercore")


class Reporter:
    """Tells the log what a server does. For the thread of the event loop."""

    def __init__(self, interval_s: int, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Log at most every `interval_s` seconds; 0 tells of slow requests only."""
        self._interval_ns = interval_s * NS_PER_S
        self._clock_ns = clock_ns
        self._first: Totals | None = None
        self._last: Totals | None = None
        self._clock_told_ns = 0
        self._slow_second_ns = -NS_PER_S
        self._slow_lines = 0
        self._slow_suppressed = 0

    # -- at an interval ---------------------------------------------------------------------------

    def note(self, sample: Mapping[str, Any], before: Totals, after: Totals) -> None:
        """Take in two readings of a second, or so. What `sample` makes of them is not used."""
        if self._interval_ns == 0:
            return
        if self._last is not None and self._last.at_ns != before.at_ns:
            self.flush()  # There was a rest, which is no part of an interval.
        if self._first is None:
            self._first = before
        self._last = after
        if after.at_ns - self._first.at_ns >= self._interval_ns or is_quiet(before, after):
            self.flush()

    def flush(self) -> None:
        """Log what was not logged yet: before the sampler stops, and at the end."""
        first, last = self._first, self._last
        self._first = self._last = None
        if first is None or last is None:
            return
        self.note_clock(last.statistics.clock_lead_ns)
        new = Counter(last.answers)
        new.subtract(first.answers)
        if has_work(new, last):
            _log_load(first, last, new)
        refusals = count_refusals(new)
        if refusals:
            _log_refusals(refusals, (last.at_ns - first.at_ns) / NS_PER_S)

    def note_clock(self, lead_ns: int) -> None:
        """Log how far logged time is off the wall clock, where that is news.

        News is that it is off by a second, by a minute more or less than was told, or not any more.
        """
        if abs(lead_ns) < NS_PER_S:
            lead_ns = 0
        changed = (lead_ns == 0) != (self._clock_told_ns == 0)
        if changed or abs(lead_ns - self._clock_told_ns) >= CLOCK_NEWS_NS:
            self._clock_told_ns = lead_ns
            log_clock(lead_ns)

    # -- one by one -------------------------------------------------------------------------------

    def note_request(self, request: RequestSpans) -> None:
        """Log a request that was slow, as `note_slow`."""
        elapsed_ns = request.ended_ns - request.started_ns
        self.note_slow(
            request.route,
            request.http_status,
            request.outcome,
            elapsed_ns,
            request.phases,
            request.trace_id,
            **dict(request.attributes),
        )

    def note_slow(
        self,
        route: str,
        http_status: int,
        outcome: str,
        elapsed_ns: int,
        phases: Iterable[Phase],
        trace_id: int | None = None,
        **fields: str | int,
    ) -> None:
        """Log a request that was slow, with where its time went; or count it, beyond so many."""
        now_ns = self._clock_ns()
        if now_ns - self._slow_second_ns >= NS_PER_S:
            self._slow_second_ns, self._slow_lines = now_ns, 0
        if self._slow_lines >= SLOW_LINES_PER_S:
            self._slow_suppressed += 1
            return
        self._slow_lines += 1
        parts = {name: round((end - start) / NS_PER_MS, 3) for name, start, end in phases}
        told: dict[str, Any] = fields | {
            "event": "slow-request",
            "route": route,
            "status": http_status,
            "outcome": outcome,
            "elapsed_ms": round(elapsed_ns / NS_PER_MS, 3),
            "phases_ms": parts,
        }
        if trace_id is not None:
            told["trace_id"] = f"{trace_id:032x}"
        if self._slow_suppressed:
            told["suppressed"] = self._slow_suppressed
        more = f"; {self._slow_suppressed} more were slow" if self._slow_suppressed else ""
        self._slow_suppressed = 0
        breakdown = ", ".join(f"{name} {part} ms" for name, part in parts.items())
        logger.warning(
            "slow: %s %d %s in %.3f ms (%s)%s",
            route,
            http_status,
            outcome,
            elapsed_ns / NS_PER_MS,
            breakdown,
            more,
            extra=told,
        )


def has_work(answers: Mapping[tuple[str, int, str], int], last: Totals) -> bool:
    """Return whether there was anything to do, inspections apart."""
    is_asked = any(count > 0 for (route, *_), count in answers.items() if not is_inspection(route))
    return is_asked or last.statistics.queue_depth > 0


def count_refusals(answers: Mapping[tuple[str, int, str], int]) -> dict[str, int]:
    """Return how many requests were refused, by the name of the problem, the most frequent first.

    `answers` is as that of Totals.
    """
    refusals: Counter[str] = Counter()
    for (_, http_status, outcome), count in answers.items():
        if http_status in REFUSALS and count > 0:
            refusals[outcome] += count
    return dict(refusals.most_common())


def _log_refusals(refusals: dict[str, int], seconds: float) -> None:
    logger.warning(
        "refused %d requests in %.1f s: %s",
        sum(refusals.values()),
        seconds,
        ", ".join(f"{name} {count}" for name, count in refusals.items()),
        extra={"event": "refusals", "seconds": round(seconds, 3), "refusals": refusals},
    )


def _log_load(first: Totals, last: Totals, answers: Mapping[tuple[str, int, str], int]) -> None:
    seconds = max((last.at_ns - first.at_ns) / NS_PER_S, 1 / NS_PER_MS)
    statistics = last.statistics
    requests_per_s = sum(answers.values()) / seconds
    p50_ns, p99_ns = last.latency.since(first.latency).percentiles((50, 99))
    lag = statistics.lsn_applied - statistics.lsn_durable
    segments = list(_describe_segments(first, last, seconds))
    logger.info(
        "%.0f requests/s, p50 %.3f ms, p99 %.3f ms, %d in flight, %d not durable yet; %s",
        requests_per_s,
        p50_ns / NS_PER_MS,
        p99_ns / NS_PER_MS,
        last.inflight,
        lag,
        "; ".join(_spell_segment(segment) for segment in segments),
        extra={
            "event": "load",
            "seconds": round(seconds, 3),
            "requests_per_s": round(requests_per_s, 1),
            "p50_ms": round(p50_ns / NS_PER_MS, 3),
            "p99_ms": round(p99_ns / NS_PER_MS, 3),
            "queue_depth": statistics.queue_depth,
            "durable_lag": lag,
            "inflight": last.inflight,
            "segments": segments,
        },
    )


def _describe_segments(first: Totals, last: Totals, seconds: float) -> Iterable[dict[str, Any]]:
    pairs = zip(first.statistics.segments, last.statistics.segments, strict=True)
    for number, (old, new) in enumerate(pairs):
        yield {
            "segment": number,
            "queue_depth": new.queue_depth,
            "workers": new.workers,
            "utilisation": round(find_utilisation(old, new, seconds * NS_PER_S), 3),
        }


def _spell_segment(segment: Mapping[str, Any]) -> str:
    return (
        f"segment {segment['segment']}: {segment['queue_depth']} queued,"
        f" {segment['workers']} workers at {segment['utilisation']:.0%}"
    )
