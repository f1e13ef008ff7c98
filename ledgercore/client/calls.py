"""What can be asked of a ledger server, each as one value, and how its answer is read.

This module owns the addresses, bodies and answers of the HTTP contract as a client sees them. It
never sends anything. It believes no answer that does not fit what was asked: with money, an answer
about something else is worse than none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from ..grammar import is_addressable
from .retries import URN
from .types import (
    AccountRecord,
    AuditReport,
    KeyRecord,
    Problem,
    TransferIntent,
    TransferRecord,
    TransferResult,
    TransferStatus,
)

PAGE_LIMIT = 1000

_INTEGERS = frozenset(("amount", "balance", "floor", "ceiling", "lsn", "sums"))
_INTEGERS |= {"journal_from_lsn", "journal_to_lsn"}
_match_integer = re.compile(r"0|-?[1-9][0-9]{0,18}").fullmatch
_match_plain = re.compile(r"[A-Za-z0-9._~:@-]+").fullmatch
KEY_EXPIRED = "idempotency-key-expired"

Result = TypeVar("Result")
Members = dict[str, Any]


class UnreadableAnswer(Exception):
    """An answer that is not of the contract, or not about what was asked."""


class Answer(msgspec.Struct, frozen=True):
    """What has come back: the status, the headers by their names in lower case, and the body."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One request, which may take several tries, and how its answer becomes a result.

    `read` takes the answer that tells, which is a 2xx, a refusal by the ledger, or the problem
    named `absent`; it raises UnreadableAnswer. `keys` are the idempotency keys that the call
    carries. `is_change` says that it does something, and does not only read; `is_long`, that a try
    may take as long as all tries together.
    """

    method: str
    target: str
    read: Callable[[Answer], Result]
    body: bytes = b""
    keys: tuple[str, ...] = ()
    absent: str = ""
    is_change: bool = False
    is_long: bool = False


# -- answers ---------------------------------------------------------------------------------


class _Page(msgspec.Struct):
    accounts: list[AccountRecord]
    next: str | None


class _Problem(msgspec.Struct):
    type: str = ""
    title: str = ""
    detail: str = ""
    errors: tuple[dict[str, Any], ...] = ()


class _Single(msgspec.Struct, rename={"source": "from", "target": "to"}):
    """The body of the answer to one transfer, applied or refused.

    The status of an applied one is a word, and the status of a problem the number of HTTP.
    """

    status: str | int
    id: int = 0
    outcome: str = ""
    reason: str | None = None
    detail: str | None = None
    source: str = ""
    target: str = ""
    amount: int = 0
    asset: str | None = None
    created_at: str = ""


class _Item(msgspec.Struct):
    """One of many transfers in an answer, which says no more than what came of it."""

    status: TransferStatus
    id: int = 0
    reason: str | None = None
    created_at: str = ""
    replayed: bool = False


def decode(body: bytes, shape: type[Result]) -> Result:
    """Return the body as what it should be. Raises UnreadableAnswer.

    A server that was started with `--integers string` tells whole numbers as strings.
    """
    try:
        return _decode(body, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableAnswer(f"the answer cannot be read: {error}") from None


def _decode(body: bytes, shape: type[Result]) -> Result:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError:
        return msgspec.convert(_read_integers(msgspec.json.decode(body)), type=shape)


def _read_integers(value: Any) -> Any:
    """Return a value with numbers in place of the strings that stand for them, and for no other."""
    if isinstance(value, list):
        return [_read_integers(part) for part in value]
    if not isinstance(value, dict):
        return value
    # The id of an account is a string of its own, and an account has no status.
    names = _INTEGERS | {"id"} if "status" in value else _INTEGERS
    return {
        name: _read_integer(part) if name in names else _read_integers(part)
        for name, part in value.items()
    }


def _read_integer(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _read_integer(part) for name, part in value.items()}
    return int(value) if isinstance(value, str) and _match_integer(value) else value


def read_problem(answer: Answer) -> Problem:
    """Return what an answer tells of a problem, which may be no more than its status."""
    try:
        told = decode(answer.body, _Problem)
    except UnreadableAnswer:
        told = _Problem()
    if not told.type.startswith(URN):
        return Problem(name="", http_status=answer.http_status, detail=told.detail or told.title)
    return Problem(
        name=told.type.removeprefix(URN),
        http_status=answer.http_status,
        detail=told.detail,
        errors=told.errors,
    )


def read_item(item: _Item, intent: TransferIntent) -> TransferResult:
    """Return what one item of an answer says about the transfer that was asked for."""
    stored = item.status in ("applied", "refused") and item.id > 0
    # Only a key that has lived its time leads to a transfer, and stores none.
    leads_on = item.id > 0 and item.reason == KEY_EXPIRED
    not_stored = item.status == "not-stored" and (item.id == 0 or leads_on)
    if not (stored or not_stored) or (item.reason is None) != (item.status == "applied"):
        raise UnreadableAnswer(f"the answer does not tell what became of key {intent.key}")
    return TransferResult(
        key=intent.key or "",
        id=item.id,
        status=item.status,
        source=intent.source,
        target=intent.target,
        amount=intent.amount,
        created_at=item.created_at,
        reason=item.reason,
        replayed=item.replayed,
    )


def _read_transfer(intent: TransferIntent, answer: Answer) -> TransferResult:
    told = decode(answer.body, _Single)
    is_applied = told.status == "applied"
    if answer.http_status != (201 if is_applied else told.status):
        raise UnreadableAnswer(f"the status is {answer.http_status}, and the body says otherwise")
    if not is_applied and not (told.outcome == "refused" and told.reason):
        raise UnreadableAnswer(f"the answer does not tell what became of key {intent.key}")
    about = (told.source, told.target, told.amount)
    if about != (intent.source, intent.target, intent.amount) or told.id < 1:
        raise UnreadableAnswer("the answer is about another transfer")
    return TransferResult(
        key=intent.key or "",
        id=told.id,
        status="applied" if is_applied else "refused",
        source=told.source,
        target=told.target,
        amount=told.amount,
        asset=told.asset,
        created_at=told.created_at,
        reason=None if is_applied else told.reason,
        detail=told.detail,
        replayed=answer.headers.get("idempotent-replayed") == "true",
    )


def _read_transfers(intents: Sequence[TransferIntent], answer: Answer) -> list[TransferResult]:
    items = decode(answer.body, list[_Item])
    if len(items) != len(intents):
        raise UnreadableAnswer(f"{len(intents)} transfers were asked for, {len(items)} answered")
    return [read_item(item, intent) for item, intent in zip(items, intents, strict=True)]


def _read_account(account_id: str, answer: Answer) -> AccountRecord:
    account = decode(answer.body, AccountRecord)
    if account.id != account_id:
        raise UnreadableAnswer("the answer is about another account")
    return account


def _read_record(transfer_id: int, answer: Answer) -> TransferRecord | None:
    if answer.http_status == 404:
        return None
    record = decode(answer.body, TransferRecord)
    if record.id != transfer_id:
        raise UnreadableAnswer("the answer is about another transfer")
    return record


def _read_key(key: str, answer: Answer) -> KeyRecord:
    record = decode(answer.body, KeyRecord)
    if record.key != key:
        raise UnreadableAnswer("the answer is about another key")
    return record


def _read_page(cursor: str | None, answer: Answer) -> tuple[list[AccountRecord], str | None]:
    page = decode(answer.body, _Page)
    if page.next is not None and (page.next == cursor or not page.accounts):
        raise UnreadableAnswer("the list of accounts goes round in a circle")
    return page.accounts, page.next


def _read_audit(answer: Answer) -> AuditReport:
    return decode(answer.body, AuditReport)


def _read_ready(answer: Answer) -> bool:
    return decode(answer.body, Members).get("status") == "ready"


# -- calls -----------------------------------------------------------------------------------


def _describe_intent(intent: TransferIntent) -> Members:
    # The key is in the body and not in a header, since a signature covers the body alone.
    members: Members = {
        "idempotency_key": intent.key,
        "from": intent.source,
        "to": intent.target,
        "amount": intent.amount,
    }
    return members if intent.memo is None else members | {"memo": intent.memo}


def _encode(body: Any) -> bytes:
    return msgspec.json.encode(body)


def post_transfer(intent: TransferIntent) -> Call[TransferResult]:
    """Ask for one transfer. The intent has its key."""
    return Call(
        "POST",
        "/transfer",
        partial(_read_transfer, intent),
        _encode(_describe_intent(intent)),
        (intent.key or "",),
        is_change=True,
    )


def post_transfers(intents: Sequence[TransferIntent]) -> Call[list[TransferResult]]:
    """Ask for many transfers, in their order. Each intent has its key."""
    return Call(
        "POST",
        "/transfers",
        partial(_read_transfers, intents),
        _encode([_describe_intent(intent) for intent in intents]),
        tuple(intent.key or "" for intent in intents),
        is_change=True,
    )


def post_account(members: Members) -> Call[AccountRecord]:
    """Ask for a new account."""
    read = partial(_read_account, members["id"])
    return Call("POST", "/accounts", read, _encode(members), is_change=True)


def patch_account(account_id: str, members: Members) -> Call[AccountRecord]:
    """Ask for other settings of an account."""
    read = partial(_read_account, account_id)
    return Call("PATCH", _locate(account_id), read, _encode(members), is_change=True)


def get_account(account_id: str) -> Call[AccountRecord]:
    """Ask for an account."""
    return Call("GET", _locate(account_id), partial(_read_account, account_id))


def get_accounts(cursor: str | None) -> Call[tuple[list[AccountRecord], str | None]]:
    """Ask for a page of the accounts, and the cursor of the next; None is the first, or none."""
    query = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
    return Call("GET", f"/accounts?limit={PAGE_LIMIT}{query}", partial(_read_page, cursor))


def get_transfer(transfer_id: int) -> Call[TransferRecord | None]:
    """Ask for a transfer of the past; None if there is none with this id."""
    read = partial(_read_record, transfer_id)
    return Call("GET", f"/transfers/{transfer_id}", read, absent="transfer-not-found")


def get_key(key: str) -> Call[KeyRecord]:
    """Ask what became of an idempotency key."""
    # What has to be escaped in a path may be changed on its way, or be refused by a proxy.
    is_plain = _match_plain(key) and is_addressable(key)
    target = f"/idempotency-keys/{key}" if is_plain else f"/idempotency-keys?key={quote(key, '')}"
    return Call("GET", target, partial(_read_key, key))


def get_audit(journal: bool) -> Call[AuditReport]:
    """Ask for a check of the whole ledger, with its journal or without."""
    query = "" if journal else "?journal=false"
    return Call("GET", f"/audit{query}", _read_audit, is_long=True)


def get_readiness() -> Call[bool]:
    """Ask whether the server takes requests."""
    return Call("GET", "/readyz", _read_ready)


def _locate(account_id: str) -> str:
    name = quote(account_id, safe="")
    # What takes such segments out of a path does so even if they are escaped.
    return f"/accounts/{name}" if is_addressable(account_id) else f"/accounts?id={name}"
