"""Errors of the ledger as problems, and a problem as the bytes of a whole answer.

This module owns which problem an error of the ledger is. It never tells a client anything of the
inside of the server, and logs nothing.
"""

from sanic.headers import format_http1_response

from ledgercore import (
    AccountExists,
    AccountNotFound,
    CapacityExceeded,
    DirectoryUnusable,
    EngineClosed,
    EngineFailed,
    FormatTooNew,
    JournalDamaged,
    LedgerError,
    LimitConflict,
    OutcomeUnknown,
    QueueFull,
)

from . import problems
from .problems import NOT_STORED, Busy, Kind, Problem, answer_problem

CLOSING_KINDS = (problems.SHUTTING_DOWN, problems.CONNECTIONS_FULL)
"""The problems after which a connection is closed."""
BUG = "The fault is in the server, and in its log."

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


def find_problem(error: Exception) -> Problem | None:
    """Return the problem that an error of the ledger is; None for a bug."""
    if isinstance(error, Busy):
        return problems.make_busy_problem(problems.QUEUE_FULL, error.retry_after_s)
    kind = LEDGER_KINDS.get(type(error)) if isinstance(error, LedgerError) else None
    return Problem(*kind) if kind else None


def encode_error(error: Exception) -> tuple[bytes, Kind]:
    """Return the whole answer that an error is, and its kind; after CLOSING_KINDS comes no other.

    For requests that never were one of Sanic's; the bytes are those that Sanic would send.
    """
    if isinstance(error, Problem):
        problem = error
    else:
        problem = find_problem(error) or Problem(problems.INTERNAL_ERROR, BUG)
    response = answer_problem(problem)
    response.headers["content-length"] = len(response.body or b"")
    response.headers["connection"] = "close" if problem.kind in CLOSING_KINDS else "keep-alive"
    head = format_http1_response(response.status, response.processed_headers)
    return head + (response.body or b""), problem.kind
