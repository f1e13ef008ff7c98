"""The answers that tell what the ledger said, and nothing but what they are made of.

This module owns how outcomes, accounts and audits are written. The answer to a transfer is a
function of the request and its stored outcome, never of present state, so that a replay has the
bytes of the first answer.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sanic.response import HTTPResponse

from ledgercore import Account, Audit, KeyState, Outcome, Statistics, Status, Transfer

from .addresses import encode_cursor
from .problems import CONTENT_TYPE, STATUS_KINDS, Problem
from .requests import TransferRequest
from .wire import format_time

JSON_TYPE = "application/json"
_JSON_HEADER = (b"content-type", JSON_TYPE.encode())
_PROBLEM_HEADER = (b"content-type", CONTENT_TYPE.encode())
_REPLAYED_HEADER = (b"idempotent-replayed", b"true")

REASONS = {status: status.name.lower().replace("_", "-") for status in Status}
"""The name of each status as clients see it."""

# Where an account did not exist at the time, it may exist by the time of a replay, and the asset
# with it. So the answers to these outcomes never name one.
_WITHOUT_ASSET = frozenset((Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND))

_RENAMED = {"source": "from", "target": "to"}
_encode = msgspec.json.Encoder().encode


class AppliedBody(msgspec.Struct, gc=False, rename=_RENAMED):
    """What is told of a transfer when it is applied."""

    id: int
    status: str
    source: str
    target: str
    amount: int
    asset: str | None
    created_at: str


class RefusedBody(msgspec.Struct, gc=False, rename=_RENAMED):
    """What is told of a transfer when it is refused: a problem, and the transfer as well.

    RFC 9457 keeps `status` for the number of HTTP, so the transfer's own is `outcome` here.
    """

    type: str
    title: str
    status: int
    detail: str
    id: int
    outcome: str
    reason: str
    source: str
    target: str
    amount: int
    asset: str | UnsetType
    created_at: str


class TransferBody(msgspec.Struct, gc=False, rename=_RENAMED, omit_defaults=True):
    """What is told of a transfer afterwards."""

    id: int
    status: str
    source: str
    target: str
    amount: int
    created_at: str
    reason: str | None = None
    asset: str | None = None
    memo: str | None = None


class PreparedResponse(HTTPResponse):
    """A response whose own headers are bytes already.

    Sanic cleans and encodes every header of every response, which for the answer to a transfer
    costs more than to read the request. These headers are ours, and hold nothing to clean.
    """

    __slots__ = ("_prepared",)

    def __init__(self, body: bytes, http_status: int, prepared: list[tuple[bytes, bytes]]) -> None:
        super().__init__(body, http_status)
        self._prepared = prepared

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """All headers: our own, and those that Sanic has added by now."""
        yield from self._prepared
        for name, value in self.headers.items():
            yield name.encode(), str(value).encode()


def answer_json(
    body: Any, http_status: int = 200, headers: dict[str, str] | None = None
) -> HTTPResponse:
    """Return an answer in JSON."""
    return HTTPResponse(_encode(body), http_status, headers, JSON_TYPE)


# -- transfers -------------------------------------------------------------------------------


def answer_transfer(request: TransferRequest, outcome: Outcome, asset: str | None) -> HTTPResponse:
    """Return the answer to a transfer, first or replayed."""
    if outcome.status is Status.APPLIED:
        return _answer_applied(request, outcome, asset)
    if outcome.status.is_outcome:
        return _answer_refused(request, outcome, asset)
    kind = STATUS_KINDS[outcome.status]
    raise Problem(kind, f"{kind.title}. Nothing was stored, and nothing has changed.")


def _answer_applied(request: TransferRequest, outcome: Outcome, asset: str | None) -> HTTPResponse:
    body = AppliedBody(
        outcome.id,
        "applied",
        request.source,
        request.target,
        request.amount,
        asset,
        format_time(outcome.time_ns),
    )
    headers = [_JSON_HEADER, (b"location", b"/transfers/%d" % outcome.id)]
    if outcome.replayed:
        headers.append(_REPLAYED_HEADER)
    return PreparedResponse(_encode(body), 201, headers)


def _answer_refused(request: TransferRequest, outcome: Outcome, asset: str | None) -> HTTPResponse:
    kind = STATUS_KINDS[outcome.status]
    body = RefusedBody(
        kind.type,
        kind.title,
        kind.http_status,
        f"{kind.title}: {request.amount} from {request.source} to {request.target}.",
        outcome.id,
        "refused",
        REASONS[outcome.status],
        request.source,
        request.target,
        request.amount,
        UNSET if asset is None or outcome.status in _WITHOUT_ASSET else asset,
        format_time(outcome.time_ns),
    )
    headers = [_PROBLEM_HEADER]
    if outcome.replayed:
        headers.append(_REPLAYED_HEADER)
    return PreparedResponse(_encode(body), kind.http_status, headers)


def describe_transfer(transfer: Transfer) -> TransferBody:
    """Return a transfer of the past as it is told."""
    is_applied = transfer.status is Status.APPLIED
    return TransferBody(
        transfer.id,
        "applied" if is_applied else "refused",
        transfer.source,
        transfer.target,
        transfer.amount,
        format_time(transfer.time_ns),
        None if is_applied else REASONS[transfer.status],
        transfer.asset,
        transfer.memo,
    )


def describe_key(key: str, state: KeyState) -> dict[str, Any]:
    """Return what is told of an idempotency key."""
    description: dict[str, Any] = {"key": key, "state": state.state}
    if state.transfer is not None:
        description["transfer"] = describe_transfer(state.transfer)
    return description


# -- accounts and audits ---------------------------------------------------------------------


def describe_account(account: Account) -> dict[str, Any]:
    """Return an account as it is told."""
    return {
        "id": account.id,
        "asset": account.asset,
        "balance": account.balance,
        "floor": account.floor,
        "ceiling": account.ceiling,
        "frozen": account.frozen,
    }


def describe_page(accounts: Sequence[Account], limit: int) -> dict[str, Any]:
    """Return a part of the list of accounts, of which one more than `limit` was read."""
    page = accounts[:limit]
    return {
        "accounts": [describe_account(account) for account in page],
        "next": encode_cursor(accounts[limit].slot) if len(accounts) > limit else None,
    }


def describe_audit(audit: Audit) -> dict[str, Any]:
    """Return the result of an audit as it is told."""
    return {
        "ok": audit.ok,
        "lsn": audit.lsn,
        "accounts": audit.accounts,
        "sums": audit.sums,
        "violations": audit.violations,
        "journal_checked": audit.journal_checked,
    }


def describe_statistics(statistics: Statistics) -> dict[str, Any]:
    """Return the counters of an engine as they are told."""
    return {
        "queue_depth": statistics.queue_depth,
        "active_workers": statistics.workers,
        "lsn_applied": statistics.lsn_applied,
        "lsn_durable": statistics.lsn_durable,
        "journal_groups_total": statistics.groups,
        "accounts": statistics.accounts,
        "keys": statistics.keys,
        "keys_max": statistics.keys_max,
        "recovered_records": statistics.recovered_records,
        "recovery_seconds": round(statistics.recovery_seconds, 6),
    }
