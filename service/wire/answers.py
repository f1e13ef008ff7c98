"""The successful answers, written from the values of the ledger.

This module owns how accounts and audits are written; what is told of a transfer is
transfer_answer.pyx's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sanic.response import HTTPResponse

from ledgercore import (
    Account,
    Audit,
    KeyState,
    ScrubState,
    SegmentLoad,
    Statistics,
    Status,
    Submission,
    Transfer,
)

from .integer_forms import IntegerForms
from .paths import encode_cursor
from .problems import STATUS_KINDS
from .transfer_answer import (
    JSON_TYPE,
    NUMBERS,
    REPLAYED,
    encode_body,
    encode_transfer,
    format_time,
    list_headers,
)

OK = "ok"
"""The outcome of a request that is neither a problem nor one transfer."""

_HEADERS = {status: list_headers(status) for status in Status}
_REPLAYED_HEADER = (REPLAYED.encode(), b"true")

REASONS = {status: status.name.lower().replace("_", "-") for status in Status}
"""The name of each status as clients see it."""

_encode = msgspec.json.Encoder().encode
_NANOSECONDS = 1_000_000_000


class PreparedResponse(HTTPResponse):
    """A response whose own headers are bytes already.

    Sanic cleans and encodes every header of every response, which for the answer to a transfer
    costs more than to read the request. These headers are ours, and hold nothing to clean.
    """

    __slots__ = ("outcome", "prepared")

    def __init__(
        self, body: bytes, http_status: int, prepared: list[tuple[bytes, bytes]], outcome: str = OK
    ) -> None:
        super().__init__(body, http_status)
        self.prepared = prepared
        self.outcome = outcome

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """All headers: our own, and those that Sanic has added by now."""
        yield from self.prepared
        for name, value in self.headers.items():
            yield name.encode(), str(value).encode()


def answer_json(
    body: Any, http_status: int = 200, headers: dict[str, str] | None = None
) -> HTTPResponse:
    """Return an answer in JSON."""
    return HTTPResponse(_encode(body), http_status, headers, JSON_TYPE)


# -- transfers -------------------------------------------------------------------------------


def answer_transfer(
    submission: Submission, index: int, forms: IntegerForms = NUMBERS
) -> HTTPResponse:
    """Return the answer to a transfer of a submission that has completed, first or replayed."""
    outcome = submission.outcome(index)
    status = outcome.status
    headers = list(_HEADERS[status])
    if status is Status.APPLIED:
        headers.append((b"location", b"/transfers/%d" % outcome.id))
    if outcome.replayed:
        headers.append(_REPLAYED_HEADER)
    body = encode_body(submission, index, forms)
    kind = STATUS_KINDS[status]
    return PreparedResponse(body, kind.http_status, headers, kind.name)


def describe_transfer(transfer: Transfer, forms: IntegerForms = NUMBERS) -> msgspec.Raw:
    """Return a transfer of the past as JSON has it."""
    return msgspec.Raw(encode_transfer(transfer, forms))


def describe_key(key: str, state: KeyState, forms: IntegerForms = NUMBERS) -> dict[str, Any]:
    """Return what is told of an idempotency key."""
    description: dict[str, Any] = {"key": key, "state": state.state}
    if state.transfer is not None:
        description["transfer"] = describe_transfer(state.transfer, forms)
    return description


# -- accounts and audits ---------------------------------------------------------------------


def describe_account(account: Account, forms: IntegerForms = NUMBERS) -> dict[str, Any]:
    """Return an account as JSON has it."""
    return {
        "id": account.id,
        "asset": account.asset,
        "balance": forms.write(account.balance),
        "floor": forms.write(account.floor),
        "ceiling": forms.write(account.ceiling),
        "frozen": account.frozen,
    }


def describe_page(
    accounts: Sequence[Account], limit: int, forms: IntegerForms = NUMBERS
) -> dict[str, Any]:
    """Return a part of the list of accounts, of which one more than `limit` was read."""
    page = accounts[:limit]
    return {
        "accounts": [describe_account(account, forms) for account in page],
        "next": encode_cursor(accounts[limit].slot) if len(accounts) > limit else None,
    }


def describe_audit(audit: Audit, forms: IntegerForms = NUMBERS) -> dict[str, Any]:
    """Return the result of an audit as JSON has it."""
    return {
        "ok": audit.ok,
        "lsn": forms.write(audit.lsn),
        "accounts": audit.accounts,
        "sums": {asset: forms.write(total) for asset, total in audit.sums.items()},
        "violations": audit.violations,
        "journal_checked": audit.journal_checked,
        **{
            name: value
            for name, value in (
                ("journal_reason", audit.journal_reason),
                ("journal_from_lsn", forms.write(audit.journal_from_lsn)),
                ("journal_to_lsn", forms.write(audit.journal_to_lsn)),
            )
            if value is not None
        },
    }


def describe_load(load: SegmentLoad) -> dict[str, Any]:
    """Return what one segment has to do as JSON has it."""
    return {
        "queue_depth": load.queue_depth,
        "active_workers": load.workers,
        "busy_seconds_total": round(load.busy_ns / _NANOSECONDS, 6),
    }


def describe_statistics(statistics: Statistics) -> dict[str, Any]:
    """Return the counters of an engine as JSON has them."""
    return {
        "queue_depth": statistics.queue_depth,
        "active_workers": statistics.workers,
        "lsn_applied": statistics.lsn_applied,
        "lsn_durable": statistics.lsn_durable,
        "lsn_max": statistics.lsn_max,
        "clock_lead_seconds": round(statistics.clock_lead_ns / _NANOSECONDS, 6),
        "journal_groups_total": statistics.groups,
        "accounts": statistics.accounts,
        "keys": statistics.keys,
        "keys_max": statistics.keys_max,
        "segments": [describe_load(load) for load in statistics.segments],
        "recovered_records": statistics.recovered_records,
        "recovery_seconds": round(statistics.recovery_seconds, 6),
        "scrub": None if statistics.scrub is None else describe_scrub(statistics.scrub),
    }


def describe_scrub(scrub: ScrubState) -> dict[str, Any]:
    """Return what was read again of what is sealed, and what was found damaged."""
    ended_ns = scrub.last_pass_ns
    return {
        "passes_total": scrub.passes,
        "bytes_total": scrub.bytes,
        "progress": round(scrub.progress, 4),
        "last_pass_at": None if ended_ns is None else format_time(ended_ns),
        "damaged": list(scrub.damage),
    }
