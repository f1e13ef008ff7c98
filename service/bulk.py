"""Many transfers in one request: the grammar of the body, and the answer.

This module owns what `POST /transfers` takes and says. Its transfers are applied in their order by
one worker, so that a later one may spend what an earlier one brought; each has its own key and
its own outcome. What is malformed refuses the request before anything is applied.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sanic import Request
from sanic.http import Http
from sanic.response import HTTPResponse

from ledgercore import Engine, Status, Submission

from .admission import Admission, Client
from .answers import PreparedResponse
from .batcher import Batcher
from .drain import DrainMeter
from .integer_forms import IntegerForms
from .integers import read_integers
from .problems import (
    ABOVE_QUOTA,
    DEADLINE_PASSED,
    NOT_STORED,
    PAYLOAD_TOO_LARGE,
    QUEUE_FULL,
    QUOTA_EXCEEDED,
    RETRY_AFTER_S,
    STATUS_KINDS,
    ErrorItem,
    Kind,
    Problem,
)
from .requests import (
    ERRORS_MAX,
    KEY_FIELD,
    KEY_HEADER,
    TRANSFER_CHECKS,
    TRANSFER_REQUIRED,
    TransferRequest,
    check_members,
    find_duplicates,
    make_header_error,
    read_text,
    read_value,
    refuse,
    refuse_body,
    refuse_syntax,
    skip_space,
)
from .unread import Unread
from .wire import add_transfers, encode_outcomes

ITEMS_MAX = 100_000
BODY_BYTES_MAX = 64 * 1024 * 1024
BYTES_UNDER_WAY_MAX = 4 * BODY_BYTES_MAX
"""How much of all bodies, of what was read from them, and of answers that nobody has read yet may
be in memory; a request beyond that is told to come again."""
ROW_BYTES = 320
"""What a transfer that was read takes at most, but for its text: 96 bytes, and those of its answer
twice, as it is written and as it is sent."""
SKIP_S = 10.0
"""How long what is left of a refused body is read on, so that the client reads why."""
_COPIES = 2
"""How often a body is in memory: as it came, and whole, or as text."""
_TEXT_COPIES = 4
"""How much more a text takes than its body, at the most, where that is not ASCII."""

_REQUIRED = TRANSFER_REQUIRED | {KEY_FIELD}
_HEADERS = [(b"content-type", b"application/json")]


LATE_KINDS = (DEADLINE_PASSED, QUOTA_EXCEEDED, ABOVE_QUOTA)
"""Why an item that is `DEADLINE_PASSED` was not applied: it was late, or only looked up."""


def _make_parts(late: Kind) -> list[bytes]:
    """Return what an item of the answer says of each status."""
    parts = [b""] * (max(Status) + 1)
    for status in Status:
        state = "refused" if status.is_outcome else "not-stored"
        kind = late if status is Status.DEADLINE_PASSED else STATUS_KINDS[status]
        parts[status] = f'"status":"{state}","reason":"{kind.name}"'.encode()
    parts[Status.APPLIED] = b'"status":"applied"'
    return parts


_PARTS = {late: _make_parts(late) for late in LATE_KINDS}


# -- the body --------------------------------------------------------------------------------


class Holding:
    """What one request has taken of the budget."""

    def __init__(self, budget: "BodyBudget") -> None:
        self._budget = budget
        self._taken = 0

    def take(self, count: int) -> None:
        """Take bytes. Raises the problem `queue-full` where there are not so many left."""
        self._budget.take(count)
        self._taken += count

    def take_at_most(self, count: int) -> None:
        """Take bytes, or all that there are where that is less. Raises as `take`."""
        self.take(min(count, self._budget.bytes_max - self._taken))

    def check(self, count: int) -> None:
        """Raise as `take`, and take nothing."""
        self._budget.check(count)

    def give_back(self) -> None:
        """Give back all that was taken."""
        self._budget.give_back(self._taken)
        self._taken = 0


class BodyBudget:
    """How many bytes of bodies are under way, bounded over all requests of a server.

    Answers that are `unread` count as well, so that no more of them are made while they are many.
    """

    def __init__(
        self,
        bytes_max: int = BYTES_UNDER_WAY_MAX,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        unread: Unread | None = None,
    ) -> None:
        self._left = self.bytes_max = bytes_max
        self._clock_ns = clock_ns
        self._drain = DrainMeter(clock_ns)
        self._unread = unread or Unread()

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """Yield what takes bytes from the budget; all of them are given back at the end."""
        holding = Holding(self)
        try:
            yield holding
        finally:
            holding.give_back()

    def check(self, count: int) -> None:
        """Raise the problem `queue-full` where there are not so many bytes left."""
        if count > self._left - self._unread.bytes:
            wait_s = self._drain.find_wait_s(self.bytes_max - self._left, RETRY_AFTER_S)
            raise Problem(
                QUEUE_FULL,
                f"Too many bodies are under way. {NOT_STORED}; try again in {wait_s} s.",
                headers={"retry-after": str(wait_s)},
            )

    def take(self, count: int) -> None:
        """Take bytes. Raises as `check`."""
        self.check(count)
        self._left -= count

    def give_back(self, count: int) -> None:
        """Give bytes back that were taken."""
        self._left += count
        self._drain.add(count, self._clock_ns())


async def read_body(request: Request[Any, Any], holding: Holding) -> bytes:
    """Return a body as it comes in; refused as soon as it is too long, or there is no room for it.

    What is left of it is read then, for a bounded while and without keeping it, so that the answer
    arrives, and the connection is good for another request. Sanic would read it after the answer,
    and close the connection (ordinary.py sees to that end).
    """
    stream = request.stream
    assert isinstance(stream, Http)
    too_long = Problem(PAYLOAD_TOO_LARGE, f"The body is longer than {BODY_BYTES_MAX} bytes.")
    if (stream.request_bytes or 0) > BODY_BYTES_MAX:
        raise too_long  # As its head says already.
    body = bytearray()
    try:
        # What is announced is not taken yet: who announces much and sends little would hold it.
        holding.check(_COPIES * int(request.headers.get("content-length", 0)))
        while part := await stream.read():
            if len(body) + len(part) > BODY_BYTES_MAX:
                raise too_long
            holding.take(_COPIES * len(part))
            body += part
        if not body.isascii():
            holding.take_at_most((_TEXT_COPIES - 1) * len(body))
    except Problem:
        holding.give_back()
        body.clear()
        # Who waits to be asked for the body is not asked.
        if not stream.expecting_continue:
            await skip_rest(stream)
        raise
    return bytes(body)


async def skip_rest(stream: Http) -> None:
    """Read what is left of a body, as much as one may be, and drop it."""
    left = BODY_BYTES_MAX
    with suppress(TimeoutError):
        async with asyncio.timeout(SKIP_S):
            while left > 0 and (part := await stream.read()):
                left -= len(part)


def fill_submission(engine: Engine, body: bytes, client: str) -> Submission:
    """Return a submission of all transfers of a body; raises the problem that names the faults."""
    items_max = min(ITEMS_MAX, engine.options.queue_size)
    submission = engine.new_submission(items_max)
    if not add_transfers(submission, body, client.encode()):
        for wanted in read_transfers(body, items_max):
            submission.add(
                client, wanted.key, wanted.source, wanted.target, wanted.amount, wanted.memo
            )
    return submission


def read_transfers(body: bytes, items_max: int = ITEMS_MAX) -> list[TransferRequest]:
    """Read the transfers of a body by the whole grammar; raises the problem that names faults."""
    transfers: list[TransferRequest] = []
    errors: list[ErrorItem] = []
    for index, item in enumerate(read_items(read_text(body, BODY_BYTES_MAX))):
        if index >= items_max:
            raise Problem(PAYLOAD_TOO_LARGE, f"The body has more than {items_max} transfers.")
        faults = check_item(item)
        errors += (error | {"pointer": f"/{index}{error['pointer']}"} for error in faults)
        if len(errors) >= ERRORS_MAX:
            break
        if not errors:
            transfers.append(_make_request(dict(item)))
    if errors:
        refuse(errors)
    return transfers


def read_items(text: str) -> Iterator[Any]:
    """Yield the items of an array one by one, so that no more than one is held as it was read."""
    at = skip_space(text, 0)
    if text[at : at + 1] != "[":
        read_value(text, at)  # Where it is not JSON at all, that is what is told.
        refuse_body("array-expected", "The body is not a JSON array.")
    at = skip_space(text, at + 1)
    is_over = text[at : at + 1] == "]"
    while not is_over:
        item, at = read_value(text, at)
        yield item
        at = skip_space(text, at)
        sign = text[at : at + 1]
        if sign not in (",", "]"):
            refuse_syntax("Expecting ',' or ']'", at)
        is_over = sign == "]"
        at = at if is_over else skip_space(text, at + 1)
    end = skip_space(text, at + 1)
    if end < len(text):
        refuse_syntax("Extra data", end)


def check_item(item: Any) -> list[ErrorItem]:
    """Return the faults of one transfer."""
    if type(item) is not tuple:
        return [{"pointer": "", "code": "object-expected", "detail": "A transfer is an object."}]
    members = dict(item)
    if len(members) != len(item):
        return find_duplicates(item)
    return check_members(members, TRANSFER_CHECKS, _REQUIRED)


def _make_request(members: dict[str, Any]) -> TransferRequest:
    members = read_integers(members)
    memo = members.get("memo") or None
    return TransferRequest(
        members[KEY_FIELD], members["from"], members["to"], members["amount"], memo
    )


def check_headers(key_headers: list[str]) -> None:
    """Refuse a key for the whole request: it would protect nothing."""
    if key_headers:
        detail = f"Each transfer has its own {KEY_FIELD}."
        refuse([make_header_error(KEY_HEADER, "unexpected", detail)])


# -- the ledger ------------------------------------------------------------------------------


async def apply(
    batcher: Batcher,
    admission: Admission,
    client: Client,
    submission: Submission,
    deadline_ns: int,
) -> Kind:
    """Have the transfers applied, and return why those were not that are `DEADLINE_PASSED`.

    Where the client's money does not reach for all, what is new has to fit in by itself, all of it
    or none: what is known is told, and moves nothing. Raises the problem where there is no more to
    tell than that, of any of them.
    """
    charged_ns, charged = admission.take_all(client, submission), None
    if charged_ns is None:
        await batcher.look_up_all(submission)
        if submission.late_count == 0:
            return QUOTA_EXCEEDED
        charged_ns, charged = admission.take_new(client, submission)
        if charged_ns is None:
            problem = admission.make_money_problem(client, charged)
            if submission.late_count == len(submission):
                raise problem
            return problem.kind
        submission.renew()
    await batcher.apply(client, submission, charged_ns, deadline_ns, charged)
    if 0 < submission.late_count == len(submission):
        detail = f"The deadline passed before any of the transfers. {NOT_STORED}."
        raise Problem(DEADLINE_PASSED, detail, extra={"executed": False})
    return DEADLINE_PASSED


# -- the answer ------------------------------------------------------------------------------


def answer_transfers(
    submission: Submission, forms: IntegerForms, late: Kind = DEADLINE_PASSED
) -> HTTPResponse:
    """Return what became of each transfer, in their order."""
    return PreparedResponse(encode_outcomes(submission, _PARTS[late], forms), 200, _HEADERS)
