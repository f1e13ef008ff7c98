"""Many transfers in one request: the grammar of the body, and its bounds.

This module owns what `POST /transfers` takes. Its transfers are applied in their order by
one worker, so that a later one may spend what an earlier one brought; each has its own key and
its own outcome. What is malformed refuses the request before anything is applied.
"""

from collections.abc import Iterator
from typing import Any

from sanic.response import HTTPResponse

from ledgercore import Submission, TransferRequest

from ..engine_port import EnginePort
from .answers import PreparedResponse
from .integer_forms import IntegerForms
from .json_bodies import (
    ERRORS_MAX,
    KEY_FIELD,
    KEY_HEADER,
    TRANSFER_CHECKS,
    TRANSFER_REQUIRED,
    check_members,
    find_duplicates,
    make_header_error,
    make_transfer,
    read_text,
    read_value,
    refuse,
    refuse_body,
    refuse_syntax,
    skip_space,
)
from .problems import DEADLINE_PASSED, PAYLOAD_TOO_LARGE, ErrorItem, Kind, Problem
from .transfer_answer import encode_outcomes
from .transfers_json import add_transfers

ITEMS_MAX = 100_000
BODY_BYTES_MAX = 64 * 1024 * 1024
ROW_BYTES = 320
"""What a transfer that was read takes at most, but for its text: 96 bytes, and those of its answer
twice, as it is written and as it is sent."""

_REQUIRED = TRANSFER_REQUIRED | {KEY_FIELD}
_HEADERS = [(b"content-type", b"application/json")]


def fill_submission(engine: EnginePort, body: bytes, client: str) -> Submission:
    """Return a submission of all transfers of a body; raises the problem that names the faults."""
    items_max = min(ITEMS_MAX, engine.options.queue_size)
    submission = engine.new_submission(items_max, keeps_names=False)
    if not add_transfers(submission, body, client.encode()):
        for wanted in read_transfers(body, items_max):
            submission.add(client, *wanted)
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
            members = dict(item)
            transfers.append(make_transfer(members, members[KEY_FIELD]))
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


def check_headers(key_headers: list[str]) -> None:
    """Refuse an `Idempotency-Key` header: in a bulk request each transfer has its own."""
    if key_headers:
        detail = f"Each transfer has its own {KEY_FIELD}."
        refuse([make_header_error(KEY_HEADER, "unexpected", detail)])


# -- the answer ------------------------------------------------------------------------------


def answer_transfers(
    submission: Submission, forms: IntegerForms, late: Kind = DEADLINE_PASSED
) -> HTTPResponse:
    """Return what became of each transfer, in their order."""
    return PreparedResponse(encode_outcomes(submission, forms, late), 200, _HEADERS)
