"""Finished requests as OpenTelemetry spans: one span and its phases each.

This module owns the names of spans and attributes, the wall clock in them, and the bytes of the
protocol. It never sends anything, and never decides which requests are told of. W3C `tracestate` is
not kept: our spans have the trace id and the parent of `traceparent`, and nothing of the state.
Source: opentelemetry-proto, trace.proto; OpenTelemetry's semantic conventions for HTTP spans.
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

PIECE_SIZE = 8
"""How many requests are encoded before other threads have a turn: a tenth of a millisecond."""
SERVER_ERROR_MIN = 500
SCOPE_NAME = "ledgercore"

_SAMPLED = 0x01
_KNOWS_WHETHER_REMOTE = 0x100
_IS_REMOTE = 0x200


class MissingPackage(ValueError):
    """What the messages are made with is not installed. The message says how to install it."""


class RequestSpans(NamedTuple):
    """One finished request that is sampled. All times are CLOCK_MONOTONIC, in nanoseconds."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0: of the span of the whole request."""
    parent_id: int
    """64 bits; 0 where the request brought no `traceparent`."""
    method: str
    route: str
    """The template, as in `/accounts/{id}`."""
    http_status: int
    outcome: str
    """The name of a problem, or `applied`, or `ok`."""
    started_ns: int
    ended_ns: int
    phases: tuple[tuple[str, int, int], ...]
    """(name, start, end) of each phase that the request came to."""
    attributes: tuple[tuple[str, str | int], ...]


class SpanEncoder:
    """Encodes requests as `ExportTraceServiceRequest`. Raises MissingPackage when it is made."""

    def __init__(
        self,
        service_name: str,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        try:
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
            from opentelemetry.proto.trace.v1 import trace_pb2
        except ImportError:
            raise MissingPackage(
                "to export traces, install what that needs: pip install opentelemetry-proto"
            ) from None
        self._messages: Any = messages
        self._span: Any = trace_pb2.Span
        self._failed = trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR)
        self._clock_ns = clock_ns
        self._wall_clock_ns = wall_clock_ns
        self._random = random.Random()
        self._resource = (
            ("service.name", service_name),
            # What tells this process from the one before it and from others of its kind.
            ("service.instance.id", str(uuid4())),
            ("process.pid", os.getpid()),
        )

    def encode(self, requests: Sequence[RequestSpans]) -> tuple[bytes, int]:
        """Return the bytes of a message, and how many requests are in it.

        Left out is what no message can hold, such as an id of too many bits.
        """
        message = self._messages.ExportTraceServiceRequest()
        group = message.resource_spans.add()
        _add_attributes(group.resource, self._resource)
        scope = group.scope_spans.add()
        scope.scope.name = SCOPE_NAME
        # Once a message, so that the wall clock is followed where it is set anew.
        offset_ns = self._wall_clock_ns() - self._clock_ns()
        count = 0
        for number, request in enumerate(requests, 1):
            try:
                scope.spans.extend(self._make_spans(request, offset_ns))
                count += 1
            except (ArithmeticError, TypeError, ValueError):
                pass
            if number % PIECE_SIZE == 0:
                # No wait: it lets go of the interpreter, for which the event loop would otherwise
                # wait until it takes it by force, after five milliseconds.
                time.sleep(0)
        return message.SerializeToString(), count

    def count_rejected(self, answer: bytes) -> int:
        """Return how many spans a collector says that it took no notice of."""
        try:
            told = self._messages.ExportTraceServiceResponse.FromString(answer)
        except Exception:  # It is whatever the package of the messages raises, which differs.
            return 0
        return max(0, int(told.partial_success.rejected_spans))

    def _make_spans(self, request: RequestSpans, offset_ns: int) -> list[Any]:
        trace_id = request.trace_id.to_bytes(16, "big")
        span_id = request.span_id.to_bytes(8, "big")
        whole = self._span(
            trace_id=trace_id,
            span_id=span_id,
            name=f"{request.method} {request.route}",
            kind=self._span.SPAN_KIND_SERVER,
            start_time_unix_nano=request.started_ns + offset_ns,
            end_time_unix_nano=request.ended_ns + offset_ns,
            flags=_SAMPLED | _KNOWS_WHETHER_REMOTE,
        )
        if request.parent_id:
            whole.parent_span_id = request.parent_id.to_bytes(8, "big")
            whole.flags |= _IS_REMOTE
        _add_attributes(
            whole,
            (
                ("http.request.method", request.method),
                ("http.route", request.route),
                ("http.response.status_code", request.http_status),
                ("ledger.outcome", request.outcome),
                *request.attributes,
            ),
        )
        if request.http_status >= SERVER_ERROR_MIN:
            # A refusal of 4xx is the server at work, and no error of its own.
            whole.status.CopyFrom(self._failed)
            _add_attributes(whole, (("error.type", request.outcome),))
        return [
            whole,
            *(
                self._span(
                    trace_id=trace_id,
                    # 0 would be no id; it comes up once in 2^64.
                    span_id=(self._random.getrandbits(64) or 1).to_bytes(8, "big"),
                    parent_span_id=span_id,
                    name=name,
                    kind=self._span.SPAN_KIND_INTERNAL,
                    start_time_unix_nano=start_ns + offset_ns,
                    end_time_unix_nano=end_ns + offset_ns,
                    flags=_SAMPLED | _KNOWS_WHETHER_REMOTE,
                )
                for name, start_ns, end_ns in request.phases
            ),
        ]


def _add_attributes(message: Any, attributes: Sequence[tuple[str, str | int]]) -> None:
    for name, value in attributes:
        told = message.attributes.add(key=name).value
        if isinstance(value, str):
            told.string_value = value
        else:
            told.int_value = value
