"""The export of traces: a bounded queue, a thread that empties it, and a breaker around the posts.

This module owns the queue, the counts and the thread. It never holds a request up: what does not
fit is dropped and counted, and so is what the collector does not take, for a span is not worth a
second attempt. A collector that fails again and again is left alone by the breaker; its changes are
one line each in the log, and there is no other. How spans look is for span_encoding.py, how they
travel for collector.py.

While the queue is empty the thread sleeps without a timer: a server without load does not wake.

Of OpenTelemetry's packages only the messages are used. Its SDK, as of version 1.45, does not do
what is asked for here. BatchSpanProcessor wakes by a timer, queued or not, and drops the oldest of
a full queue uncounted. OTLPSpanExporter bounds each read of an answer, so that a post to a
collector that dribbles never ends; it sends again what was refused, and takes a redirection for
success. Its encoder takes five times as much of the processor as ours.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ledgercore.client.breaker import CircuitBreaker, CircuitOpen, State

from .collector import Collector, PostCut, PostFailed, parse_address, read_headers
from .span_encoding import RequestSpans, SpanEncoder

FAILURES_MAX = 3
OPEN_S = 30.0
"""How long a collector that fails is left alone. Each probe of it is two lines in the log."""
CLOSE_GRACE_S = 0.25
"""What the thread may take beyond the time for closing, to end once it has given up."""

logger = logging.getLogger("ledgercore")


class SpanExporter:
    """Sends sampled requests to the collector at `url`; the counts are of requests, not of spans.

    It begins when it is made, with the headers that the environment asks for. A batch goes out when
    `batch_max` requests are queued, or `interval_s` after the first was. One that is not answered
    within `timeout_s` has failed. Beyond `queue_max` nothing is queued.

    Raises UnusableCollector and MissingPackage, both a ValueError with a sentence for the operator.
    """

    def __init__(
        self,
        url: str,
        *,
        service_name: str = "ledgercore",
        queue_max: int = 2048,
        batch_max: int = 512,
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        breaker: CircuitBreaker | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if queue_max < 1 or batch_max < 1:
            raise ValueError("queue_max, batch_max: they are at least one")
        self._encoder = SpanEncoder(service_name, clock_ns, wall_clock_ns)
        self._breaker = breaker or CircuitBreaker(FAILURES_MAX, OPEN_S)
        self._queue_max = queue_max
        self._batch_max = min(batch_max, queue_max)
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._queue: deque[RequestSpans] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._close_by_s: float | None = None
        self._state_told = State.CLOSED
        self._exported = self._dropped = self._failed = self._rejected_spans = 0
        self._collector = Collector(parse_address(url), read_headers())
        self._thread = threading.Thread(target=self._run, name="ledgercore-spans", daemon=True)
        self._thread.start()

    # -- any thread -------------------------------------------------------------------------------

    def offer(self, request: RequestSpans) -> bool:
        """Queue a request; False where the queue is full, or closed. Never waits for a post."""
        with self._lock:
            count = len(self._queue)
            if count >= self._queue_max or self._close_by_s is not None:
                self._dropped += 1
                return False
            self._queue.append(request)
            # In between, the thread has its reason to wake up already.
            if count == 0 or count + 1 == self._batch_max:
                self._changed.notify()
        return True

    def describe(self) -> dict[str, Any]:
        """Return the counts of the exporter, and the state of its breaker, for operators.

        `dropped_total` never left, for the queue was full, the breaker open, or the exporter
        closed; `failed_total` was sent in vain. `rejected_spans_total` are single spans out of
        what was exported, that the collector says it has left out.
        """
        with self._lock:
            return {
                "exported_total": self._exported,
                "dropped_total": self._dropped,
                "failed_total": self._failed,
                "rejected_spans_total": self._rejected_spans,
                "queued": len(self._queue),
                "breaker": self._breaker.state.value,
            }

    def close(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, as far as that is possible in `timeout_s` seconds, and end."""
        with self._lock:
            if self._close_by_s is None:
                self._close_by_s = time.monotonic() + timeout_s
            self._changed.notify()
        self._collector.hasten(timeout_s)
        self._thread.join(timeout_s + CLOSE_GRACE_S)

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._collector.prepare()
            while batch := self._take():
                self._export(batch)
        finally:
            self._collector.close()

    def _take(self) -> list[RequestSpans]:
        """Wait for a batch, and return it; an empty one at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._close_by_s is not None)
            self._changed.wait_for(
                lambda: len(self._queue) >= self._batch_max or self._close_by_s is not None,
                self._interval_s,
            )
            count = min(len(self._queue), self._batch_max)
            return [self._queue.popleft() for _ in range(count)]

    def _export(self, batch: list[RequestSpans]) -> None:
        if self._close_by_s is not None and time.monotonic() >= self._close_by_s:
            return self._count(dropped=len(batch))
        try:
            ticket = self._breaker.begin()
        except CircuitOpen:
            return self._count(dropped=len(batch))
        self._log_state("a probe is made")
        is_success, reason = self._send(batch)
        self._breaker.end(ticket, is_success)
        return self._log_state(reason)

    def _send(self, batch: list[RequestSpans]) -> tuple[bool | None, str]:
        """Send a batch; return what the breaker is told of it, and the words for the log."""
        body, count = self._encoder.encode(batch)
        try:
            answer = self._collector.post(body, self._timeout_s)
        except PostFailed as failure:
            self._count(failed=len(batch))
            return None if isinstance(failure, PostCut) else False, str(failure)
        rejected = self._encoder.count_rejected(answer)
        self._count(exported=count, failed=len(batch) - count, rejected=rejected)
        return True, "the probe succeeded"

    def _count(
        self, exported: int = 0, dropped: int = 0, failed: int = 0, rejected: int = 0
    ) -> None:
        with self._lock:
            self._exported += exported
            self._dropped += dropped
            self._failed += failed
            self._rejected_spans += rejected

    def _log_state(self, reason: str) -> None:
        """Log the state of the breaker, if it is another than was logged last."""
        state, before = self._breaker.state, self._state_told
        if state is before:
            return
        self._state_told = state
        logger.log(
            logging.WARNING if state is State.OPEN else logging.INFO,
            "breaker of the traces: %s -> %s (%s: %s)",
            before.value,
            state.value,
            self._collector.name,
            reason,
            extra={
                "event": "breaker",
                "breaker": "traces",
                "state": state.value,
                "collector": self._collector.name,
                "reason": reason,
            },
        )
