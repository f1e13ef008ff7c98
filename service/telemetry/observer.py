"""The observer of single requests: it counts the ordinary ones, and exports samples as traces.

This module owns what is made of one request once it is answered: its headers of the trace, its
place in the counts, its spans where it is kept, an example for its bucket in the histogram, and the
word about a slow one. It never holds a request up, and never changes its answer otherwise.

The phases of a transfer follow one another: `admission` to the submission, `queue` to the worker,
`kernel`, `journal` to the disk, `answer` to here. They are those of its batch, which it shares.
"""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from sanic.response import BaseHTTPResponse

from ledgercore import Submission

from ..process.callbacks import ignore
from ..units import NS_PER_S
from ..wire.answers import OK
from ..wire.problems import STATUS_KINDS
from ..wire.sanic_types import AnyRequest
from .meters import TRANSFER, Meters
from .span_encoding import RequestSpans
from .span_exporter import SpanExporter

OTHER = "other"
"""The route of what is at no address of ours: clients make up any number of those."""
INSPECTION_ROUTES = ("/metrics", "/healthz", "/readyz", "/docs", "/openapi", "/debug", "/live")
LONG_ROUTES = "/debug/"
"""Where routes begin that take as long as they are asked to."""
TRACEPARENT, REQUEST_ID = "traceparent", "x-request-id"

Trace = tuple[int, int, int, int]
"""Trace id, span id of the caller or 0, our span id, flags."""
Phases = tuple[tuple[str, int, int], ...]

_match_parameter = re.compile(r"<(\w+)(?::[^<>]*)?>")


class Example(NamedTuple):
    """One request of a bucket of the histogram, by which others of it can be understood."""

    trace_id: str
    seconds: float
    at_s: float
    """Since the Unix epoch."""


class Observer:
    """Observes the requests of one server once they are answered. Used in its event loop only.

    `on_slow` is called with each slow request that was looked at, which are not all.
    """

    def __init__(self, meters: Meters) -> None:
        self.exporter: SpanExporter | None = None
        self.on_slow: Callable[[RequestSpans], None] | None = None
        self.on_work: Callable[[], None] = ignore
        """Called with each ordinary request that is for the ledger, and no inspection."""
        self.examples: dict[int, Example] = {}
        """The last kept transfer whose nanoseconds had so many bits."""
        self._meters = meters
        self._templates: dict[str, str] = {}
        if meters.slow_ns > 0:
            meters.observer = self

    def export(self, exporter: SpanExporter) -> None:
        """Keep traces from now on, by handing them to an exporter."""
        self.exporter = exporter
        self._meters.is_tracing = True
        self._meters.observer = self

    # -- the native way ---------------------------------------------------------------------------

    def observe_transfer(
        self, submission: Submission, row: int, trace: Trace, started_ns: int, ended_ns: int
    ) -> bool:
        """Take in a transfer that the native way answers now; whether it is kept as a trace."""
        kind = STATUS_KINDS[submission.outcome(row).status]
        phases, attributes = describe_transfer(submission, row, started_ns, ended_ns)
        return self._keep(
            RequestSpans(
                trace[0],
                trace[2],
                trace[1],
                "POST",
                TRANSFER,
                kind.http_status,
                kind.name,
                started_ns,
                ended_ns,
                phases,
                attributes,
            )
        )

    # -- the ordinary way -------------------------------------------------------------------------

    def finish(self, request: AnyRequest, response: BaseHTTPResponse) -> None:
        """Take in the answer to a request of Sanic's, before it is sent: Sanic's middleware."""
        meters = self._meters
        if not meters.is_on:
            return
        ended_ns, started_ns = time.monotonic_ns(), request.started_ns  # type: ignore[attr-defined]
        route, outcome = self._name_route(request), getattr(response, "outcome", OK)
        meters.note(route, response.status, outcome, ended_ns - started_ns)
        if not is_inspection(route):
            self.on_work()
        trace = self.trace_of(request)
        is_kept = False
        if meters.interests(ended_ns, ended_ns - started_ns, trace[3]):
            phases: Phases = ()
            attributes: tuple[tuple[str, str | int], ...] = ()
            place: tuple[Submission, int] | None = getattr(request.ctx, "place", None)
            if place is not None:
                phases, attributes = describe_transfer(*place, started_ns, ended_ns)
            is_kept = self._keep(
                RequestSpans(
                    trace[0],
                    trace[2],
                    trace[1],
                    request.method,
                    route,
                    response.status,
                    outcome,
                    started_ns,
                    ended_ns,
                    phases,
                    attributes,
                )
            )
        trace_id = f"{trace[0]:032x}"
        response.headers[TRACEPARENT] = f"00-{trace_id}-{trace[2]:016x}-0{int(is_kept)}"
        response.headers[REQUEST_ID] = trace_id

    def trace_of(self, request: AnyRequest) -> Trace:
        """Return our part of the trace of a request, which begins when it is first asked for."""
        trace: Trace | None = getattr(request.ctx, "trace", None)
        if trace is None:
            told = request.headers.getall(TRACEPARENT, ())
            # Of two, none can be believed.
            text = told[0].encode("latin-1", "replace") if len(told) == 1 else b""
            trace = request.ctx.trace = self._meters.begin_trace(text)
        return trace

    def _name_route(self, request: AnyRequest) -> str:
        if request.route is None:
            return OTHER
        path: str = request.route.path
        template = self._templates.get(path)
        if template is None:
            template = self._templates[path] = "/" + _match_parameter.sub(r"{\1}", path)
        return template

    # -- both -------------------------------------------------------------------------------------

    def _keep(self, request: RequestSpans) -> bool:
        """Export a request, and tell a slow one; whether it is on its way to the collector."""
        elapsed_ns = request.ended_ns - request.started_ns
        is_slow = elapsed_ns >= self._meters.slow_ns > 0
        if self.on_slow is not None and is_slow and not request.route.startswith(LONG_ROUTES):
            self.on_slow(request)
        if self.exporter is None or not self.exporter.offer(request):
            return False
        if request.route == TRANSFER:
            self.examples[elapsed_ns.bit_length()] = Example(
                f"{request.trace_id:032x}", elapsed_ns / NS_PER_S, time.time()
            )
        return True


def is_inspection(route: str) -> bool:
    """Return whether a route is for looking at the server, and not for work with the ledger."""
    return route == "/" or route.startswith(INSPECTION_ROUTES)


def describe_transfer(
    submission: Submission, row: int, started_ns: int, ended_ns: int
) -> tuple[Phases, tuple[tuple[str, str | int], ...]]:
    """Return the phases of a transfer that has completed, and what is told of it besides."""
    queued_ns, begun_ns, applied_ns, durable_ns = submission.stamps
    attributes = (
        ("ledger.transfer.id", submission.outcome(row).id),
        ("ledger.batch.size", len(submission)),
    )
    if queued_ns == 0:
        return (), attributes
    bounds = (started_ns, queued_ns, begun_ns, applied_ns, durable_ns, ended_ns)
    names = ("admission", "queue", "kernel", "journal", "answer")
    return tuple(zip(names, bounds, bounds[1:], strict=False)), attributes
