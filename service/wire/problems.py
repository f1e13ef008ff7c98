"""The problems (RFC 9457, `application/problem+json`) of the service, in two tables.

This module owns the stable names, numbers and titles of all problems, and how one is written. It
never decides that something is a problem: routes, parser and ledger do.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from sanic.response import HTTPResponse

from ledgercore import QueueFull, Status

URN = "urn:ledgercore:problem:"
CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""How long a client is asked to wait after a 503, where nothing measured says it better.

Full queues, too much in flight, and too many blocking calls or bodies under way have a measured
rate (drain_rate.py), and this only until there is one. For the others no rate says when there is
room:

* `keys-full`: each part of the table forgets all at once, when a time to live is over (src/keys.h).
  For a key that is anything up to a day; no rate tells it, and what helps is a higher keys_max.
* Too many clients: there is room when a client's buckets are full again, which depends on what it
  does meanwhile.
* `connections-full`: there is room when others hang up, as they please.
* `recovering`, `shutting-down`, `journal-failed`, `nonces-full` and `nonces-unavailable` end with a
  start, a clock or a disk. To look once a second costs neither side anything.
"""

NOT_STORED = "This request has stored nothing"
"""What is said of a request that was turned away. Of its key it says nothing: another request may
have been executed with it, before or at the same time."""

ErrorItem = dict[str, str]
"""One fault of a request: where (`pointer`, `header` or `parameter`), `code` and `detail`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of problem: its HTTP status, the end of its `type`, and its fixed title."""

    http_status: int
    name: str
    title: str

    @property
    def type(self) -> str:
        """The stable identifier of the problem."""
        return URN + self.name


MALFORMED = Kind(400, "malformed", "The request is malformed")
KEY_MISSING = Kind(400, "idempotency-key-missing", "The request has no idempotency key")
FOREIGN_ORIGIN = Kind(403, "foreign-origin", "The page of another origin may change nothing")
UNAUTHORIZED = Kind(401, "unauthorized", "The request has no valid credentials")
FORBIDDEN = Kind(403, "forbidden", "The credentials do not allow this")
NOT_FOUND = Kind(404, "not-found", "There is nothing at this address")
ACCOUNT_NOT_FOUND = Kind(404, "account-not-found", "There is no such account")
KEY_NOT_FOUND = Kind(404, "api-key-not-found", "There is no such API key")
KEYS_UNUSABLE = Kind(500, "api-keys-unusable", "The API keys cannot be read or changed")
TRANSFER_NOT_FOUND = Kind(404, "transfer-not-found", "There is no such transfer")
CHAOS_NOT_ALLOWED = Kind(403, "chaos-not-allowed", "Fault injection is not allowed here")
METHOD_NOT_ALLOWED = Kind(405, "method-not-allowed", "The method is not allowed here")
KEY_EXPIRED = Kind(422, "idempotency-key-expired", "The key was used, longer ago than keys live")
DEADLINE_PASSED = Kind(504, "deadline-passed", "The deadline passed before the transfer was made")
REQUEST_TIMEOUT = Kind(408, "request-timeout", "The request did not arrive in time")
ACCOUNT_EXISTS = Kind(409, "account-exists", "The account exists with other settings")
PROFILE_RUNNING = Kind(409, "profile-running", "Another profile is being taken")
LENGTH_REQUIRED = Kind(411, "length-required", "The request does not say how long its body is")
PAYLOAD_TOO_LARGE = Kind(413, "payload-too-large", "The request is too large")
URI_TOO_LONG = Kind(414, "uri-too-long", "The address is too long")
UNSUPPORTED_MEDIA_TYPE = Kind(415, "unsupported-media-type", "The body is not application/json")
CONTENT_ENCODED = Kind(415, "unsupported-content-encoding", "The body has a content coding")
EXPECTATION_FAILED = Kind(417, "expectation-failed", "The expectation cannot be met")
MISDIRECTED = Kind(421, "misdirected-request", "The server is not known by this name")
LIMIT_CONFLICT = Kind(422, "limit-conflict", "The balance is outside the limits asked for")
ABOVE_QUOTA = Kind(422, "above-quota", "The amount is above the client's whole quota")
HEAD_TOO_LARGE = Kind(431, "header-fields-too-large", "The head of the request is too large")
QUOTA_EXCEEDED = Kind(429, "quota-exceeded", "The client has asked for too much")
INTERNAL_ERROR = Kind(500, "internal-error", "The server has a fault")
DATA_DAMAGED = Kind(500, "data-damaged", "Stored data cannot be read")
PROFILER_MISSING = Kind(501, "profiler-missing", "What takes this profile is not installed")
OUTCOME_UNKNOWN = Kind(500, "outcome-unknown", "It is not known what became of the request")
CAPACITY_EXCEEDED = Kind(507, "capacity-exceeded", "The ledger has no room for another account")
QUEUE_FULL = Kind(503, "queue-full", "The server is busy")
CONNECTIONS_FULL = Kind(503, "connections-full", "The server has too many connections")
VIEWERS_FULL = Kind(503, "viewers-full", "The server is watched by as many as it tells")
OVERLOADED = Kind(503, "overloaded", "The server has more under way than it answers in time")
RECOVERING = Kind(503, "recovering", "The server is reading its journal")
NONCES_FULL = Kind(503, "nonces-full", "The server can remember no further signature")
NONCES_UNAVAILABLE = Kind(503, "nonces-unavailable", "The server can store no signature")
SHUTTING_DOWN = Kind(503, "shutting-down", "The server is shutting down")
JOURNAL_FAILED = Kind(503, "journal-failed", "The journal has failed")

STATUS_KINDS: dict[Status, Kind] = {
    Status.APPLIED: Kind(201, "applied", "The money has moved"),
    Status.SOURCE_NOT_FOUND: Kind(404, "source-not-found", "There is no source account"),
    Status.TARGET_NOT_FOUND: Kind(404, "target-not-found", "There is no target account"),
    Status.SAME_ACCOUNT: Kind(422, "same-account", "Source and target are one account"),
    Status.ASSET_MISMATCH: Kind(422, "asset-mismatch", "The accounts hold different assets"),
    Status.SOURCE_FROZEN: Kind(422, "source-frozen", "The source account is frozen"),
    Status.TARGET_FROZEN: Kind(422, "target-frozen", "The target account is frozen"),
    Status.INSUFFICIENT_FUNDS: Kind(422, "insufficient-funds", "The source has insufficient funds"),
    Status.CEILING_EXCEEDED: Kind(422, "ceiling-exceeded", "The target would hold too much"),
    Status.BALANCE_OVERFLOW: Kind(422, "balance-overflow", "A balance would grow too large"),
    Status.KEY_MISSING: KEY_MISSING,
    Status.AMOUNT_INVALID: MALFORMED,
    Status.KEY_REUSED: Kind(422, "idempotency-key-reused", "The key belongs to another payload"),
    Status.KEYS_FULL: Kind(503, "keys-full", "The server can remember no further key"),
    Status.DEADLINE_PASSED: DEADLINE_PASSED,
    Status.KEY_EXPIRED: KEY_EXPIRED,
    Status.LEDGER_FULL: Kind(507, "ledger-full", "The ledger has given all its ids"),
}
"""What each status of the ledger is over HTTP. The only place where the two meet."""

LATE_KINDS = (DEADLINE_PASSED, QUOTA_EXCEEDED, ABOVE_QUOTA)
"""Why a transfer that is `DEADLINE_PASSED` was not applied: it was late, or only looked up."""


def list_kinds(late: Kind) -> list[Kind]:
    """Return what each status is by its number, where one that is late is told as `late`.

    The numbers that are no status are told as internal errors.
    """
    kinds = [INTERNAL_ERROR] * (max(Status) + 1)
    for status, kind in STATUS_KINDS.items():
        kinds[status] = late if status is Status.DEADLINE_PASSED else kind
    return kinds


class Problem(Exception):
    """An error that is answered with a problem. `detail` is sent to the client.

    So are the members in `extra`, which a sort of problem has besides those of RFC 9457.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: list[ErrorItem] | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{kind.name}: {detail}")
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.extra = extra


class Busy(QueueFull):
    """A full queue, and the measured time until there is room."""

    def __init__(self, message: str, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def make_busy_problem(kind: Kind, retry_after_s: int) -> Problem:
    """Return the problem of a server that has no room, and when it will have some."""
    detail = f"{kind.title}. {NOT_STORED}; try again in {retry_after_s} s."
    return Problem(kind, detail, headers={"retry-after": str(retry_after_s)})


def encode_problem(
    kind: Kind,
    detail: str,
    errors: list[ErrorItem] | None = None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """Return the body of a problem; `extra` are members that are not among the standard ones."""
    members: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.http_status,
        "detail": detail,
    }
    if errors is not None:
        members["errors"] = errors
    if extra is not None:
        members |= extra
    return msgspec.json.encode(members)


def make_headers(kind: Kind) -> dict[str, str]:
    """Return the headers that every problem of this kind has besides its type and length."""
    return {"retry-after": str(RETRY_AFTER_S)} if kind.http_status == 503 else {}


class ProblemResponse(HTTPResponse):
    """The answer that tells a problem. `outcome` is the name of its kind."""

    __slots__ = ("outcome",)

    def __init__(self, problem: Problem) -> None:
        super().__init__(
            encode_problem(problem.kind, problem.detail, problem.errors, problem.extra),
            problem.kind.http_status,
            make_headers(problem.kind) | (problem.headers or {}),
            CONTENT_TYPE,
        )
        self.outcome = problem.kind.name


class ClientGone(HTTPResponse):
    """The answer to a client that is gone, which Sanic requires and does not send."""

    __slots__ = ()

    outcome = "hung-up"

    def __init__(self) -> None:
        super().__init__(status=499)


def answer_problem(problem: Problem) -> HTTPResponse:
    """Return the answer that tells a problem."""
    return ProblemResponse(problem)
