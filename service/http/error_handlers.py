"""Error handlers: exceptions of handlers as problems.

This module owns that translation, in one table per sort of exception. It never tells a client
anything of the inside of the server: that goes to the log.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sanic import Sanic
from sanic import exceptions as web
from sanic.http import Http
from sanic.response import HTTPResponse

from ledgercore import InvalidArgument, LedgerError

from ..wire import problems
from ..wire.errors import BUG, find_problem
from ..wire.json_bodies import make_error
from ..wire.problems import Kind, Problem, answer_problem
from ..wire.sanic_types import AnyRequest

logger = logging.getLogger("ledgercore")

WEB_KINDS: dict[type[web.SanicException], tuple[Kind, str]] = {
    web.NotFound: (problems.NOT_FOUND, "There is nothing at this address."),
    web.RequestTimeout: (problems.REQUEST_TIMEOUT, "The request did not arrive in time."),
    web.PayloadTooLarge: (problems.PAYLOAD_TOO_LARGE, "The head or the body is too large."),
    web.URITooLong: (problems.URI_TOO_LONG, "The address is too long."),
    web.ExpectationFailed: (problems.EXPECTATION_FAILED, "Only 100-continue can be expected."),
    web.BadRequest: (problems.MALFORMED, "The head or the framing of the request is malformed."),
    # Sanic raises this one when a handler takes too long, and by then the transfer is on its way.
    # A 503 would promise that it is not.
    web.ServiceUnavailable: (
        problems.OUTCOME_UNKNOWN,
        "The answer took too long. Ask again with the same key.",
    ),
}
"""What each error of the web server is for a client."""


def install_handlers(app: Sanic[Any, Any]) -> None:
    """Let the app answer every exception with a problem."""
    app.error_handler.add(Problem, _answer_problem)
    app.error_handler.add(LedgerError, _answer_ledger_error)
    app.error_handler.add(web.SanicException, _answer_web_error)
    app.error_handler.add(Exception, _answer_bug)
    app.error_handler.add(asyncio.CancelledError, _answer_nobody)


def _answer_problem(request: AnyRequest, problem: Problem) -> HTTPResponse:
    if problem.kind is problems.SHUTTING_DOWN:
        _close_after(request)
    return answer_problem(problem)


def _close_after(request: AnyRequest) -> None:
    """Close the connection once it is answered, so that the server need not wait for it."""
    if isinstance(request.stream, Http):
        request.stream.keep_alive = False


def _answer_ledger_error(request: AnyRequest, error: LedgerError) -> HTTPResponse:
    if isinstance(error, InvalidArgument):
        errors = [make_error(error.field, "invalid", error.message)]
        return answer_problem(Problem(problems.MALFORMED, str(error), errors))
    problem = find_problem(error)
    if problem is not None and problem.kind is problems.DATA_DAMAGED:
        logger.error(
            "a request needs data that cannot be read: %s", error, extra={"event": "unread"}
        )
    return answer_problem(problem) if problem else _answer_bug(request, error)


def _answer_web_error(request: AnyRequest, error: web.SanicException) -> HTTPResponse:
    if isinstance(error, web.MethodNotAllowed):
        return _answer_method(request)
    for ancestor in type(error).__mro__:
        if ancestor in WEB_KINDS:
            return answer_problem(Problem(*WEB_KINDS[ancestor]))
    return _answer_bug(request, error)


def _answer_method(request: AnyRequest) -> HTTPResponse:
    """Answer with the methods of an address: to OPTIONS, and where the method is not allowed."""
    headers = {"allow": ", ".join([*_list_methods(request), "OPTIONS"])}
    if request.method == "OPTIONS":
        return HTTPResponse(status=204, headers=headers)
    detail = f"The address takes {headers['allow']}."
    return answer_problem(Problem(problems.METHOD_NOT_ALLOWED, detail, headers=headers))


def _list_methods(request: AnyRequest) -> Iterator[str]:
    # Sanic knows the methods of a fixed address, but not those of one with a path in it.
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
        with suppress(web.SanicException):
            request.app.router.get(request.path, method, None)
            yield method


def _answer_nobody(request: AnyRequest, error: asyncio.CancelledError) -> HTTPResponse:
    return problems.ClientGone()


def _answer_bug(request: AnyRequest, error: Exception) -> HTTPResponse:
    # The address as it was asked for may hold the key of a transfer; its template does not.
    route = "what has no address" if request.route is None else f"/{request.route.path}"
    trace_id, *_ = request.app.ctx.lifecycle.observer.trace_of(request)
    fields = {"event": "bug", "method": request.method, "route": route}
    fields["trace_id"] = f"{trace_id:032x}"
    logger.error("%s %s failed", request.method, route, exc_info=error, extra=fields)
    return answer_problem(Problem(problems.INTERNAL_ERROR, BUG))
