"""The live page at `/`, and the stream that it reads.

This module owns their addresses. The page is the same for everybody and holds nothing, so nobody is
asked for a key; the stream asks for one. It never samples and never encodes.
"""

from typing import Any

from sanic import Blueprint
from sanic.exceptions import RequestCancelled
from sanic.http import Http
from sanic.response import HTTPResponse

from ..access.key_ring import Scope
from ..admission.guard import guard, readable
from ..monitoring.live_stream import viewers_of
from ..wire.sanic_types import AnyRequest
from .documents import answer_document, answer_part, load_document

page_routes = Blueprint("page")

_PAGE = load_document("pages/live.html")
_PARTS = {
    path.rpartition("/")[2]: load_document(f"pages/{path}")
    for path in (
        "live.css",
        "live.js",
        "live-audit.js",
        "live-chart.js",
        "live-format.js",
        "live-history.js",
        "live-plots.js",
        "live-stream.js",
        "live.svg",
        "vendor/uPlot.iife.min.js",
        "vendor/uPlot.min.css",
    )
}
"""What the page is made of."""

_STREAM_TYPE = "text/event-stream"
_STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


@readable(page_routes, "/")
async def get_page(request: AnyRequest) -> HTTPResponse:
    """Return the live page."""
    return answer_document(request, _PAGE)


@readable(page_routes, "/live/<file:str>")
async def get_part(request: AnyRequest, file: str) -> HTTPResponse:
    """Return a script, style or picture of the page."""
    return answer_part(request, _PARTS, file)


@readable(page_routes, "/metrics/stream")
@guard(Scope.READ)
async def stream_metrics(request: AnyRequest) -> HTTPResponse | None:
    """Return what the server did in the last five minutes, and then what it does, each second."""
    if request.method == "HEAD":
        return HTTPResponse(headers=_STREAM_HEADERS, content_type=_STREAM_TYPE)
    transport: Any = request.transport
    with viewers_of(request).watching(transport.abort) as viewer:
        if isinstance(request.stream, Http):
            request.stream.keep_alive = False  # So that a server that stops need not wait for it.
        response = await request.respond(
            HTTPResponse(headers=_STREAM_HEADERS, content_type=_STREAM_TYPE)
        )
        try:
            async for event in viewer.events():
                await response.send(event)
            await response.eof()
        except RequestCancelled:
            pass  # The viewer has hung up within an event.
    return None
