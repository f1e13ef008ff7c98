"""From exceptions to problems: what a client is told when a handler raises.

This module owns that translation, in one table per sort of exception. It never tells a client
anything of the inside of the server: that goes to the log.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sanic import Request, Sanic
from sanic import exceptions as web
from sanic.headers import format_http1_response
from sanic.http import Http
from sanic.response import HTTPResponse

from ledgercore import (
    AccountExists,
    AccountNotFound,
    CapacityExceeded,
    DirectoryUnusable,
    EngineClosed,
    EngineFailed,
    FormatTooNew,
    InvalidArgument,
    JournalDamaged,
    LedgerError,
    LimitConflict,
    OutcomeUnknown,
    QueueFull,
)

from . import problems
from .problems import NOT_STORED, Busy, Kind, Problem, answer_problem
from .reply import date_reply
from .requests import make_error

AnyRequest = Request[Any, Any]

logger = logging.getLogger("ledgercore")

LAST = (problems.SHUTTING_DOWN, problems.CONNECTIONS_FULL)
"""The problems after which a connection is closed."""
_BUG = "The fault is in the server, and in its log."

LEDGER_KINDS: dict[type[LedgerError], tuple[Kind, str]] = {
    AccountNotFound: (problems.ACCOUNT_NOT_FOUND, "No account has this id."),
    AccountExists: (problems.ACCOUNT_EXISTS, "The id belongs to an account with other settings."),
    LimitConflict: (problems.LIMIT_CONFLICT, "The balance is already outside of these limits."),
    CapacityExceeded: (problems.CAPACITY_EXCEEDED, "No further account or asset can be opened."),
    QueueFull: (problems.QUEUE_FULL, f"The queue is full. {NOT_STORED}; try again later."),
    EngineClosed: (problems.SHUTTING_DOWN, f"The server is shutting down. {NOT_STORED}."),
    OutcomeUnknown: (
        problems.OUTCOME_UNKNOWN,
        "The journal failed under this request, which may or may not be stored.",
    ),
    EngineFailed: (problems.JOURNAL_FAILED, f"The journal has failed. {NOT_STORED}."),
    # Of what a running ledger is asked, only the past is read from files. It is not a bug; but who
    # runs the server has to act, and the client need not know where its files are.
    **dict.fromkeys(
        (JournalDamaged, DirectoryUnusable, FormatTooNew),
        (problems.DATA_DAMAGED, "What was stored of this cannot be read. The log tells the place."),
    ),
}
"""What each error of the ledger is over HTTP."""

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
    problem = _find_problem(error)
    if problem is not None and problem.kind is problems.DATA_DAMAGED:
        logger.error("a request has met what cannot be read: %s", error, extra={"event": "unread"})
    return answer_problem(problem) if problem else _answer_bug(request, error)


def _find_problem(error: Exception) -> Problem | None:
    """Return the problem that an error of the ledger is; None for a bug."""
    if isinstance(error, Busy):
        return problems.make_busy_problem(problems.QUEUE_FULL, error.retry_after_s)
    kind = LEDGER_KINDS.get(type(error)) if isinstance(error, LedgerError) else None
    return Problem(*kind) if kind else None


def encode_error(error: Exception) -> tuple[bytes, Kind]:
    """Return the whole answer that an error is, and its kind; after one of LAST comes no other.

    For requests that never were one of Sanic's; the bytes are those that Sanic would send.
    """
    if isinstance(error, Problem):
        problem = error
    else:
        problem = _find_problem(error) or Problem(problems.INTERNAL_ERROR, _BUG)
    response = answer_problem(problem)
    response.headers["content-length"] = len(response.body or b"")
    response.headers["connection"] = "close" if problem.kind in LAST else "keep-alive"
    head = format_http1_response(response.status, response.processed_headers)
    return head + (response.body or b""), problem.kind


def refuse_connection(transport: asyncio.Transport) -> None:
    """Tell whoever has connected that there are too many connections, and close."""
    detail = f"There are too many connections. {NOT_STORED}; try again later."
    transport.write(date_reply(encode_error(Problem(problems.CONNECTIONS_FULL, detail))[0]))
    transport.close()


def _answer_web_error(request: AnyRequest, error: web.SanicException) -> HTTPResponse:
    if isinstance(error, web.MethodNotAllowed):
        return _answer_method(request)
    for ancestor in type(error).__mro__:
        if ancestor in WEB_KINDS:
            return answer_problem(Problem(*WEB_KINDS[ancestor]))
    return _answer_bug(request, error)


def _answer_method(request: AnyRequest) -> HTTPResponse:
    """Tell which methods an address has: on OPTIONS because that is the question."""
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
    return problems.HungUp()


def _answer_bug(request: AnyRequest, error: Exception) -> HTTPResponse:
    # The address as it was asked for may hold the key of a transfer; its template does not.
    route = "what has no address" if request.route is None else f"/{request.route.path}"
    trace_id, *_ = request.app.ctx.lifecycle.observer.trace_of(request)
    fields = {"event": "bug", "method": request.method, "route": route}
    fields["trace_id"] = f"{trace_id:032x}"
    logger.error("%s %s failed", request.method, route, exc_info=error, extra=fields)
    return answer_problem(Problem(problems.INTERNAL_ERROR, _BUG))
