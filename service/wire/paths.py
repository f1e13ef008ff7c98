"""Paths and queries: ids and keys in either, pages and switches in the query.

An id or key that a path cannot end in, since libraries resolve it away (`..`, `a//b`), is asked for
in the query; every other may be. This module owns which addresses are well formed. It never looks
anything up: what is well formed and not there is told by the ledger.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote

import msgspec

from ledgercore import AMOUNT_MAX, is_addressable, match_account_id

from .json_bodies import check_key, refuse
from .problems import ACCOUNT_NOT_FOUND, ErrorItem, Problem

ACCOUNT_PARAMETER = "id"
KEY_PARAMETER = "key"
PAGE_DEFAULT = 100
PAGE_MAX = 1000
SLOT_MAX = 2**32 - 1
CURSOR_BYTES = 6
"""More than a slot needs, so that its Base64 comes without padding."""

Handler = TypeVar("Handler", bound=Callable[..., Any])

_match_count = re.compile(r"[1-9][0-9]{0,18}").fullmatch


class PageRequest(msgspec.Struct, frozen=True, gc=False):
    """A part of a list: where it starts and how long it is at most."""

    start: int
    limit: int


def read_transfer_id(text: str) -> int | None:
    """Return the id in a path, None if no transfer can have it."""
    if not _match_count(text):
        return None
    number = int(text)
    return number if number <= AMOUNT_MAX else None


def read_path_account(text: str) -> str:
    """Return the account id in a path, where Sanic has left the percent signs to us."""
    return _check_account(unquote(text))


def read_query_account(query: str) -> str:
    """Return the account id that a query names, and nothing beside it."""
    return _check_account(_read_only(query, ACCOUNT_PARAMETER))


def _check_account(account_id: str) -> str:
    if not match_account_id(account_id):
        raise Problem(ACCOUNT_NOT_FOUND, "No account can have this id.")
    return account_id


def locate_account(account_id: str) -> str:
    """Return the address of an account."""
    if is_addressable(account_id):
        return f"/accounts/{quote(account_id, safe=':@')}"
    return f"/accounts?{ACCOUNT_PARAMETER}={quote(account_id, safe=':@/')}"


def read_path_key(text: str) -> str:
    """Return the idempotency key in a path, where Sanic has left the percent signs to us."""
    return _check_key(unquote(text))


def read_query_key(query: str) -> str:
    """Return the idempotency key that a query names, and nothing beside it."""
    return _check_key(_read_only(query, KEY_PARAMETER))


def _check_key(key: str) -> str:
    if fault := check_key(key):
        refuse([make_parameter_error(KEY_PARAMETER, *fault)])
    return key


def has_parameter(query: str, name: str) -> bool:
    """Whether a query has such a parameter."""
    return any(told == name for told, _ in parse_qsl(query, keep_blank_values=True))


def _read_only(query: str, name: str) -> str:
    """Return the one parameter of a query."""
    # Neither ids nor keys have spaces, so that a plus is what it looks like.
    value = read_parameters(query.replace("+", "%2B"), (name,)).get(name)
    if value is None:
        refuse([make_parameter_error(name, "missing", "The parameter is missing.")])
    return value


def make_parameter_error(name: str, code: str, detail: str) -> ErrorItem:
    """Return the error that names a part of the address."""
    return {"parameter": name, "code": code, "detail": detail}


def read_parameters(query: str, allowed: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a query; each of them may appear once."""
    pairs = parse_qsl(query, keep_blank_values=True)
    parameters = dict(pairs)
    errors = [
        make_parameter_error(name[:64], "unknown", "There is no such parameter.")
        for name in parameters
        if name not in allowed
    ]
    if len(parameters) != len(pairs):
        errors.append(make_parameter_error("", "duplicate", "A parameter appears twice."))
    if errors:
        refuse(errors)
    return parameters


def takes(*names: str) -> Callable[[Handler], Handler]:
    """Return the decorator that says which parameters an address takes; others take none.

    It comes below the guard, which looks at them.
    """

    def decorate(handler: Handler) -> Handler:
        handler.parameters = names  # type: ignore[attr-defined]  # For `check_parameters`.
        return handler

    return decorate


def check_parameters(query: str, handler: object = None) -> None:
    """Refuse a query that an address does not take."""
    if query:
        read_parameters(query, getattr(handler, "parameters", ()))


def read_page(query: str) -> PageRequest:
    """Read which part of a list is asked for."""
    parameters = read_parameters(query, ("limit", "cursor"))
    limit = parameters.get("limit", str(PAGE_DEFAULT))
    if not _match_count(limit) or int(limit) > PAGE_MAX:
        detail = f"A limit is between 1 and {PAGE_MAX}."
        refuse([make_parameter_error("limit", "out-of-range", detail)])
    cursor = parameters.get("cursor")
    return PageRequest(0 if cursor is None else decode_cursor(cursor), int(limit))


def read_switch(query: str, name: str) -> bool:
    """Read a parameter that is true unless it says false."""
    value = read_parameters(query, (name,)).get(name, "true")
    if value not in ("true", "false"):
        refuse([make_parameter_error(name, "boolean-expected", "It is true or false.")])
    return value == "true"


def encode_cursor(slot: int) -> str:
    """Return the cursor that stands for a place in the list of accounts."""
    return base64.urlsafe_b64encode(slot.to_bytes(CURSOR_BYTES)).decode()


def decode_cursor(cursor: str) -> int:
    """Return the place that a cursor stands for."""
    try:
        place = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        place = b""
    if len(place) != CURSOR_BYTES or int.from_bytes(place) > SLOT_MAX:
        refuse([make_parameter_error("cursor", "cursor", "The cursor is not one of ours.")])
    return int.from_bytes(place)
