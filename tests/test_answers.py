"""The bodies of answers: stable bytes, and nothing that depends on the present."""

import json
from typing import Any

import pytest

from ledgercore import Account, KeyState, Outcome, Status, Transfer
from service.addresses import decode_cursor
from service.answers import (
    answer_transfer,
    describe_account,
    describe_key,
    describe_page,
    describe_transfer,
    format_time,
)
from service.problems import STATUS_KINDS, Problem
from service.requests import TransferRequest

TIME_NS = 1_790_000_000_123_456_789
REQUEST = TransferRequest("k", "alice", "bob", 250, None)


def outcome_of(status: Status, replayed: bool = False) -> Outcome:
    return Outcome(id=7, status=status, replayed=replayed, time_ns=TIME_NS)


def headers_of(response: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in response.processed_headers}


def test_applied() -> None:
    response = answer_transfer(REQUEST, outcome_of(Status.APPLIED), "USD/2")
    assert response.status == 201
    assert headers_of(response) == {
        "content-type": "application/json",
        "location": "/transfers/7",
    }
    assert response.body == (
        b'{"id":7,"status":"applied","from":"alice","to":"bob","amount":250,"asset":"USD/2",'
        b'"created_at":"2026-09-21T14:13:20.123456Z"}'
    )


@pytest.mark.parametrize(
    "status", [status for status in Status if status.is_outcome and status is not Status.APPLIED]
)
def test_refused(status: Status) -> None:
    response = answer_transfer(REQUEST, outcome_of(status), "USD/2")
    kind = STATUS_KINDS[status]
    body = json.loads(response.body or b"")
    assert response.status == body["status"] == kind.http_status
    assert headers_of(response) == {"content-type": "application/problem+json"}
    assert body["type"] == f"urn:ledgercore:problem:{kind.name}"
    assert body["reason"] == status.name.lower().replace("_", "-")
    assert (body["id"], body["outcome"]) == (7, "refused")
    assert (body["from"], body["to"], body["amount"]) == ("alice", "bob", 250)
    assert body["created_at"] == "2026-09-21T14:13:20.123456Z"


@pytest.mark.parametrize("status", [status for status in Status if status.is_outcome])
def test_replay_has_the_same_bytes(status: Status) -> None:
    first = answer_transfer(REQUEST, outcome_of(status), "USD/2")
    replay = answer_transfer(REQUEST, outcome_of(status, replayed=True), "USD/2")
    assert (replay.status, replay.body) == (first.status, first.body)
    assert headers_of(replay) == headers_of(first) | {"idempotent-replayed": "true"}


@pytest.mark.parametrize("status", [Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND])
def test_account_opened_since_does_not_change_the_bytes(status: Status) -> None:
    before = answer_transfer(REQUEST, outcome_of(status), None)
    since = answer_transfer(REQUEST, outcome_of(status), "USD/2")
    assert before.body == since.body
    assert b"asset" not in (before.body or b"")


@pytest.mark.parametrize("status", [status for status in Status if not status.is_outcome])
def test_rejection_is_a_problem(status: Status) -> None:
    with pytest.raises(Problem) as caught:
        answer_transfer(REQUEST, outcome_of(status), None)
    assert caught.value.kind is STATUS_KINDS[status]


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (999, "1970-01-01T00:00:00.000000Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (1_999_999_999, "1970-01-01T00:00:01.999999Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
    ],
)
def test_time(time_ns: int, text: str) -> None:
    assert format_time(time_ns) == text


def make_account(slot: int) -> Account:
    return Account(f"acct-{slot}", "USD/2", 5, None, 9, True, slot)


def test_account() -> None:
    assert describe_account(make_account(3)) == {
        "id": "acct-3",
        "asset": "USD/2",
        "balance": 5,
        "floor": None,
        "ceiling": 9,
        "frozen": True,
    }


def test_page_ends() -> None:
    accounts = [make_account(slot) for slot in range(3)]
    assert describe_page(accounts, 3)["next"] is None
    page = describe_page(accounts, 2)
    assert [account["id"] for account in page["accounts"]] == ["acct-0", "acct-1"]
    assert decode_cursor(page["next"]) == 2


def make_transfer(status: Status) -> Transfer:
    return Transfer(7, status, "alice", "bob", 250, "USD/2", TIME_NS, "rent")


def test_transfer_of_the_past() -> None:
    applied = describe_transfer(make_transfer(Status.APPLIED))
    assert (applied.status, applied.reason, applied.memo) == ("applied", None, "rent")
    refused = describe_transfer(make_transfer(Status.INSUFFICIENT_FUNDS))
    assert (refused.status, refused.reason) == ("refused", "insufficient-funds")


def test_key() -> None:
    assert describe_key("k", KeyState("unseen", None)) == {"key": "k", "state": "unseen"}
    state = KeyState("applied", make_transfer(Status.APPLIED))
    assert describe_key("k", state)["transfer"].id == 7
