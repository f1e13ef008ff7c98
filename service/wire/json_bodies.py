"""The JSON grammar of requests: from bytes to checked, frozen values.

This module owns which bodies and keys are well formed, and names every fault of a request at once.
It never knows what a ledger would make of it: whether an account exists or can pay is not its
business.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypedDict

import msgspec

from ledgercore import (
    AMOUNT_MAX,
    MEMO_BYTES_MAX,
    TransferRequest,
    match_account_id,
    match_asset,
    match_key,
)

from .integers import read_integer, read_integers
from .problems import (
    KEY_MISSING,
    MALFORMED,
    UNSUPPORTED_MEDIA_TYPE,
    ErrorItem,
    Problem,
)
from .transfers_json import read_plain_transfer

BODY_BYTES_MAX = 16_384
ERRORS_MAX = 20
"""How many faults are told at once; a body of 16 KiB can hold thousands."""
KEY_HEADER = "Idempotency-Key"
KEY_FIELD = "idempotency_key"

_match_quoted = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"').fullmatch
_match_space = re.compile(r"[ \t\n\r]*").match
_find_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search

Fault = tuple[str, str]
"""What is wrong with one value: a stable code, and a sentence for people."""


class AccountRequest(msgspec.Struct, frozen=True, gc=False):
    """An account that someone wants opened."""

    id: str
    asset: str
    floor: int | None
    ceiling: int | None
    frozen: bool


class AccountChanges(TypedDict, total=False):
    """The settings of an account that are to change. What is absent stays."""

    floor: int | None
    ceiling: int | None
    frozen: bool


# -- JSON ------------------------------------------------------------------------------------


class _Inexact(str):
    """A JSON number that is no whole number: a fraction, an exponent, NaN, Infinity.

    It takes the number's place in the parsed body, so that the fault can name its field.
    """


def _read_integer(text: str) -> int:
    # No 64-bit number is longer than this, and int() of thousands of digits is slow or refused.
    return int(text) if len(text) <= 20 else 1 << 64


# The stdlib's decoder, since it is the one that lets us see duplicate members and floats. Objects
# become tuples of pairs, which nothing else in JSON becomes.
_decoder = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_int=_read_integer,
    parse_float=_Inexact,
    parse_constant=_Inexact,
)


def read_text(body: bytes, bytes_max: int) -> str:
    """Return the text that a body is."""
    if len(body) > bytes_max:
        refuse_body("too-large", f"The body is longer than {bytes_max} bytes.")
    if not body:
        refuse_body("empty", "The body is empty.")
    try:
        return body.decode()
    except UnicodeDecodeError:
        refuse_body("not-utf8", "The body is not UTF-8.")


def read_value(text: str, start: int = 0) -> tuple[Any, int]:
    """Return the value that begins exactly at `start`, and where it ends; BODY_BYTES_MAX of it."""
    try:
        value, length = _decoder.raw_decode(text[start : start + BODY_BYTES_MAX])
    except RecursionError:
        refuse_body("too-deep", "The body is nested too deeply.")
    except json.JSONDecodeError as error:
        refuse_syntax(error.msg, start + error.pos)
    return value, start + length


def skip_space(text: str, start: int) -> int:
    """Return the first position from `start` on that is no space of JSON; that may be the end."""
    found = _match_space(text, start)
    assert found is not None  # It matches nothing, too.
    return found.end()


def read_members(body: bytes) -> dict[str, Any]:
    """Return the members of the JSON object that the body is."""
    text = read_text(body, BODY_BYTES_MAX)
    pairs, end = read_value(text, skip_space(text, 0))
    end = skip_space(text, end)
    if end < len(text):
        refuse_syntax("Extra data", end)
    return read_pairs(pairs)


def read_pairs(pairs: object) -> dict[str, Any]:
    """Return the members of an object that `read_value` has read."""
    if type(pairs) is not tuple:
        refuse_body("object-expected", "The body is not a JSON object.")
    members = dict(pairs)
    if len(members) != len(pairs):
        refuse(find_duplicates(pairs))
    return members


def find_duplicates(pairs: Sequence[tuple[str, Any]]) -> list[ErrorItem]:
    """Return the faults of the members that appear twice."""
    times = Counter(name for name, _ in pairs)
    names = [name for name, count in times.items() if count > 1][:ERRORS_MAX]
    return [make_error(name, "duplicate", "The member appears twice.") for name in names]


def refuse_syntax(message: str, position: int) -> NoReturn:
    """Refuse a body that is not JSON."""
    refuse_body("not-json", f"The body is not JSON: {message} at {position}.")


def refuse_body(code: str, detail: str) -> NoReturn:
    """Refuse a body for a fault of the whole."""
    refuse([{"pointer": "", "code": code, "detail": detail}])


def refuse(errors: list[ErrorItem]) -> NoReturn:
    """Raise the problem that tells these faults."""
    errors = errors[:ERRORS_MAX]
    raise Problem(MALFORMED, errors[0]["detail"], errors)


def make_error(name: str, code: str, detail: str) -> ErrorItem:
    """Return the error that points at a member of the body."""
    # A name may hold lone surrogates, which no JSON answer could repeat.
    printable = name[:64].encode(errors="replace").decode()
    pointer = "/" + printable.replace("~", "~0").replace("/", "~1")
    return {"pointer": pointer, "code": code, "detail": detail}


# -- one value -------------------------------------------------------------------------------


def check_account_id(value: object) -> Fault | None:
    """Return what is wrong with an account id."""
    if type(value) is not str:
        return "string-expected", "An account id is a string."
    if not match_account_id(value):
        return "account-id", "An account id is 1 to 64 of A-Z a-z 0-9 . _ : @ / -."
    return None


def check_amount(value: object) -> Fault | None:
    """Return what is wrong with an amount."""
    number = read_integer(value)
    if type(number) is not int:
        return "integer-expected", "An amount is a whole number of minor units, without a fraction."
    if not 0 < number <= AMOUNT_MAX:
        return "out-of-range", f"An amount is between 1 and {AMOUNT_MAX}."
    return None


def check_limit(value: object) -> Fault | None:
    """Return what is wrong with a floor or a ceiling."""
    if value is None:
        return None
    number = read_integer(value)
    if type(number) is not int:
        return "integer-expected", "A limit is a whole number of minor units, or null."
    if not -AMOUNT_MAX - 1 <= number <= AMOUNT_MAX:
        return "out-of-range", f"A limit is between {-AMOUNT_MAX - 1} and {AMOUNT_MAX}."
    return None


def check_flag(value: object) -> Fault | None:
    """Return what is wrong with a flag."""
    return None if type(value) is bool else ("boolean-expected", "A flag is true or false.")


def check_asset(value: object) -> Fault | None:
    """Return what is wrong with an asset."""
    if type(value) is not str:
        return "string-expected", "An asset is a string."
    if not match_asset(value):
        return "asset", "An asset is a code and its decimals, 0 to 18, such as USD/2."
    return None


def check_memo(value: object) -> Fault | None:
    """Return what is wrong with a memo."""
    if type(value) is not str:
        return "string-expected", "A memo is a string."
    if _find_control(value):
        return "control-character", "A memo holds no control characters."
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        return "lone-surrogate", "A memo is text, and half a surrogate pair is none."
    if length > MEMO_BYTES_MAX:
        return "too-long", f"A memo is at most {MEMO_BYTES_MAX} bytes of UTF-8."
    return None


def check_key(value: object) -> Fault | None:
    """Return what is wrong with an idempotency key."""
    if type(value) is not str:
        return "string-expected", "An idempotency key is a string."
    if not match_key(value):
        return "idempotency-key", "An idempotency key is 1 to 255 visible ASCII characters."
    return None


# -- one body --------------------------------------------------------------------------------


Checks = dict[str, Callable[[object], Fault | None]]

TRANSFER_CHECKS: Checks = {
    "from": check_account_id,
    "to": check_account_id,
    "amount": check_amount,
    "memo": check_memo,
    KEY_FIELD: check_key,
}
TRANSFER_REQUIRED = frozenset(("from", "to", "amount"))
_CHANGE_CHECKS: Checks = {"floor": check_limit, "ceiling": check_limit, "frozen": check_flag}
_ACCOUNT_CHECKS: Checks = {"id": check_account_id, "asset": check_asset, **_CHANGE_CHECKS}
_ACCOUNT_REQUIRED = frozenset(("id", "asset"))


def check_members(
    members: dict[str, Any], checks: Checks, required: frozenset[str]
) -> list[ErrorItem]:
    """Return the faults of a body's members, ERRORS_MAX of them or a few more."""
    errors: list[ErrorItem] = []
    for name, value in members.items():
        if len(errors) >= ERRORS_MAX:
            break
        check = checks.get(name)
        fault = check(value) if check else ("unknown", "There is no such member.")
        if fault:
            errors.append(make_error(name, *fault))
    if not required <= members.keys():
        missing = sorted(required - members.keys())
        errors += [make_error(name, "missing", "The member is missing.") for name in missing]
    return errors


def read_transfer(body: bytes, key_headers: Sequence[str] = ()) -> TransferRequest:
    """Read a transfer from a body and the values of its `Idempotency-Key` headers.

    What is plain is read natively; all else by the whole grammar, which names every fault.
    """
    errors: list[ErrorItem] = []
    members = read_plain_transfer(body) if len(body) <= BODY_BYTES_MAX else None
    if members is None:
        members = read_members(body)
        errors = check_members(members, TRANSFER_CHECKS, TRANSFER_REQUIRED)
    key = members.get(KEY_FIELD)
    if key_headers:
        key = _read_key_headers(key_headers, key, errors)
    if errors:
        refuse(errors)
    if key is None:
        raise Problem(KEY_MISSING, f"Send the header {KEY_HEADER}, or the member {KEY_FIELD}.")
    return make_transfer(members, key)


def make_transfer(members: dict[str, Any], key: str) -> TransferRequest:
    """Return the transfer of members that were checked."""
    memo = members.get("memo") or None
    return TransferRequest(key, members["from"], members["to"], int(members["amount"]), memo)


def _read_key_headers(values: Sequence[str], field: object, errors: list[ErrorItem]) -> str | None:
    """Return the key that the header gives; what is wrong with it joins the errors."""
    if len(values) > 1:
        errors.append(make_header_error(KEY_HEADER, "repeated", "The header appears twice."))
        return None
    key = unquote_key(values[0].strip(" \t"))
    if fault := check_key(key):
        errors.append(make_header_error(KEY_HEADER, *fault))
    elif field is not None and field != key:
        errors.append(make_error(KEY_FIELD, "conflict", f"It differs from {KEY_HEADER}."))
    return key


def make_header_error(name: str, code: str, detail: str) -> ErrorItem:
    """Return the error that names a header."""
    return {"header": name, "code": code, "detail": detail}


def unquote_key(text: str) -> str | None:
    """Return the key that a header's value stands for: bare, or a string of RFC 8941."""
    if not text.startswith('"'):
        return text
    quoted = _match_quoted(text)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""


def read_account(body: bytes) -> AccountRequest:
    """Read an account to open."""
    members = read_members(body)
    if errors := check_members(members, _ACCOUNT_CHECKS, _ACCOUNT_REQUIRED):
        refuse(errors)
    return AccountRequest(
        **{"floor": 0, "ceiling": None, "frozen": False, **read_integers(members)}
    )


def read_account_changes(body: bytes) -> AccountChanges:
    """Read the settings of an account that are to change."""
    members = read_members(body)
    if errors := check_members(members, _CHANGE_CHECKS, frozenset()):
        refuse(errors)
    changes: AccountChanges = read_integers(members)  # type: ignore[assignment]  # Checked above.
    return changes


def check_content_type(values: Sequence[str]) -> None:
    """Refuse a body that does not say that it is JSON: any page can send one that is silent."""
    if len(values) > 1:
        refuse([make_header_error("Content-Type", "repeated", "The header appears twice.")])
    if not values or values[0].partition(";")[0].strip().lower() != "application/json":
        detail = "Send the body as application/json, and say so in Content-Type."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail)
