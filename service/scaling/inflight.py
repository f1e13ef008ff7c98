"""The limit on transfers in flight, moved by the p99 of each window of time.

This module owns the windows of time, the log of the moves, and what is told of both. It has no
timer: a window ends with an answer. Counting is for in_flight.pyx, the rule for inflight_rule.py.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from ledgercore import Recorder

from ..admission.in_flight import InFlight
from ..units import NS_PER_MS, NS_PER_S
from .inflight_rule import UNLIMITED, AdaptiveLimit, Window

WINDOW_NS = 100_000_000
"""How long a window is at least; not shorter than the target either, for it is full of such."""
WINDOW_MAX_NS = NS_PER_S
"""When a window ends with however few answers."""
SAMPLES_MIN = 100
"""Of fewer the p99 is the longest of them, and says little."""
LOG_INTERVAL_NS = 5_000_000_000
LOG_CHANGE = 0.1
"""A move is logged when it is beyond this part of what was logged last."""

logger = logging.getLogger("ledgercore")


class Regulator:
    """Sets the limit on what is in flight in a server. For the thread of the event loop."""

    def __init__(
        self,
        in_flight: InFlight,
        target_p99_ms: int = 0,
        inflight_min: int = 1,
        inflight_max: int = UNLIMITED,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.clock_ns = clock_ns
        self.p99_ns = 0
        """Of the last window that has ended."""
        self._in_flight = in_flight
        self._rule = AdaptiveLimit(target_p99_ms, inflight_min, inflight_max)
        self._latencies = Recorder()
        self._count = 0
        self._started_ns = 0
        self._moved_ns = 0
        self._logged = 0
        self._logged_ns = -LOG_INTERVAL_NS
        self._apply()

    # -- the batcher tells ------------------------------------------------------------------------

    def note(self, count: int, placed_ns: int, now_ns: int) -> None:
        """Take in that transfers were answered now, which were admitted at `placed_ns`."""
        if placed_ns < self._moved_ns:
            return  # What was admitted under the last limit says nothing of this one.
        if self._count == 0:
            self._started_ns = now_ns
        self._latencies.record(now_ns - placed_ns, count)
        self._count += count

    def end_turn(self, now_ns: int) -> None:
        """End the window if it is time to."""
        lasted_ns = now_ns - self._started_ns
        is_full = self._count >= SAMPLES_MIN or lasted_ns >= WINDOW_MAX_NS
        if self._count == 0 or not is_full:
            return
        if lasted_ns >= max(WINDOW_NS, self._rule.target_ns):
            self._end_window(now_ns)

    def _end_window(self, now_ns: int) -> None:
        self.p99_ns = self._latencies.read().percentile(99)
        before, peak = self._rule.limit, self._in_flight.reset_peak()
        limit = self._rule.learn(Window(self.p99_ns, peak))
        self._latencies.clear()
        self._count = 0
        if limit != before:
            self._moved_ns = now_ns
            self._in_flight.limit = limit
            self._log(now_ns, peak)

    def _log(self, now_ns: int, peak: int) -> None:
        """Log a move, unless it is small or the last was logged a moment ago."""
        limit, logged = self._rule.limit, self._logged
        is_small = abs(limit - logged) <= logged * LOG_CHANGE
        if is_small or now_ns - self._logged_ns < LOG_INTERVAL_NS:
            return
        self._logged, self._logged_ns = limit, now_ns
        logger.warning(
            "in-flight limit: %d -> %d (p99 %.1f ms, target %.1f ms, %d in flight)",
            logged,
            limit,
            self.p99_ns / NS_PER_MS,
            self._rule.target_ns / NS_PER_MS,
            peak,
            extra={
                "event": "inflight-limit",
                "before": logged,
                "after": limit,
                "p99_ms": round(self.p99_ns / NS_PER_MS, 3),
                "target_ms": self._rule.target_ns // NS_PER_MS,
                "inflight": peak,
            },
        )

    # -- operators ask ----------------------------------------------------------------------------

    def configure(
        self,
        target_p99_ms: int | None = None,
        inflight_min: int | None = None,
        inflight_max: int | None = None,
    ) -> None:
        """Change settings; None leaves one as it is. Raises ValueError, and then changes none."""
        settings = self.settings()
        self._rule.configure(
            settings["target_p99_ms"] if target_p99_ms is None else target_p99_ms,
            settings["inflight_min"] if inflight_min is None else inflight_min,
            settings["inflight_max"] if inflight_max is None else inflight_max,
        )
        self._apply()

    def settings(self) -> dict[str, int]:
        """Return the settings as `configure` takes them."""
        rule = self._rule
        return {
            "target_p99_ms": rule.target_ns // NS_PER_MS,
            "inflight_min": rule.lowest,
            "inflight_max": rule.highest,
        }

    def describe(self) -> dict[str, Any]:
        """Return the present limit and its target, for operators; a limit of None is none."""
        return {
            "inflight": self._in_flight.count,
            "inflight_limit": self._rule.limit if self._rule.is_on else None,
            "inflight_refused_total": self._in_flight.refused,
            "inflight_p99_ms": round(self.p99_ns / NS_PER_MS, 3),
            "drained_per_s": round(self._in_flight.drain.find_rate(), 1),
        }

    def _apply(self) -> None:
        self._in_flight.limit = self._logged = self._rule.limit
