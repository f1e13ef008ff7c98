"""Each call as it is sent, and each answer as it is read, or not believed."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore import Status
from ledgercore.client import calls
from ledgercore.client.calls import Answer, UnreadableAnswer, read_problem
from ledgercore.client.types import TransferIntent
from ledgercore.service.wire.answers import REASONS, answer_transfer
from ledgercore.service.wire.json_bodies import read_account, read_account_changes, read_transfer
from ledgercore.service.wire.problems import MALFORMED, STATUS_KINDS, encode_problem
from tests.support.statuses import ASKED, ask, open_for_statuses

INTENT = TransferIntent("a", "b", 5, key="k-1")
MOVED = {
    "from": "a",
    "to": "b",
    "amount": 5,
    "asset": "USD/2",
    "created_at": "2026-11-22T14:01:43Z",
}
APPLIED = {"id": 7, "status": "applied", **MOVED}
REFUSED = {
    "type": "urn:ledgercore:problem:insufficient-funds",
    "status": 422,
    "id": 8,
    "outcome": "refused",
    "reason": "insufficient-funds",
    **MOVED,
}


def make_answer(http_status: int, body: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(http_status, named, json.dumps(body).encode())


# -- what is sent ---------------------------------------------------------------------------------


@given(
    st.from_regex(r"[A-Za-z0-9._:@/-]{1,64}", fullmatch=True),
    st.integers(1, 2**63 - 1),
    st.from_regex(r"[\x21-\x7e]{1,255}", fullmatch=True),
    st.one_of(
        st.none(), st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=50)
    ),
)
def test_server_reads_what_the_client_writes(
    account_id: str, amount: int, key: str, memo: str | None
) -> None:
    call = calls.post_transfer(TransferIntent(account_id, "b", amount, memo, key))
    request = read_transfer(call.body)
    assert (request.source, request.target, request.amount) == (account_id, "b", amount)
    assert (request.key, request.memo) == (key, memo)
    assert (call.method, call.target, call.keys, call.is_change) == (
        ("POST", "/transfer", (key,), True)
    )


def test_server_reads_accounts() -> None:
    members = {"id": "a/b", "asset": "USD/2", "floor": None, "ceiling": 5, "frozen": True}
    account = read_account(calls.post_account(members).body)
    assert (account.id, account.floor, account.ceiling, account.frozen) == ("a/b", None, 5, True)
    call = calls.patch_account("a/b", {"floor": -1})
    assert (call.method, call.target) == ("PATCH", "/accounts/a%2Fb")
    assert read_account_changes(call.body) == {"floor": -1}


def test_addresses() -> None:
    assert calls.get_key("order-1:x@y.z~_").target == "/idempotency-keys/order-1:x@y.z~_"
    assert calls.get_key('a%b"\\?#').target == "/idempotency-keys?key=a%25b%22%5C%3F%23"
    for key in ("..", ".", "a/b", "a+b", "/"):
        assert calls.get_key(key).target == f"/idempotency-keys?key={quote(key, safe='')}"
    for account_id in ("..", ".", "a/../b", "a//b", "a/", "/a", "./a"):
        by_query = f"/accounts?id={quote(account_id, safe='')}"
        assert calls.get_account(account_id).target == by_query
        assert calls.patch_account(account_id, {}).target == by_query
    assert calls.get_account("a/...").target == "/accounts/a%2F..."
    assert calls.get_transfer(7).target == "/transfers/7"
    assert calls.get_audit(True).target == "/audit"
    assert calls.get_audit(False).target == "/audit?journal=false"
    assert calls.get_accounts(None).target == "/accounts?limit=1000"
    assert calls.get_accounts("a=&").target == "/accounts?limit=1000&cursor=a%3D%26"
    reads: list[calls.Call[Any]]
    reads = [calls.get_key("k"), calls.get_transfer(7), calls.get_audit(True)]
    assert not any(call.is_change or call.body for call in reads)


LARGE = 2**53 + 1


@pytest.mark.parametrize("told", [int, str])
def test_whole_numbers_are_read_in_both_forms(told: Callable[[int], Any]) -> None:
    intent = TransferIntent("a", "b", LARGE, key="k")
    applied = {**APPLIED, "from": "a", "to": "b", "id": told(7), "amount": told(LARGE)}
    result = calls.post_transfer(intent).read(make_answer(201, applied))
    assert (result.id, result.amount) == (7, LARGE)
    (item,) = calls.post_transfers([intent]).read(
        make_answer(200, [{"id": told(7), "status": "applied", "created_at": ""}])
    )
    assert item.id == 7
    account = {"id": "12", "asset": "USD/2", "balance": told(-LARGE), "floor": None}
    account |= {"ceiling": told(LARGE), "frozen": False}
    read = calls.get_account("12").read(make_answer(200, account))
    assert (read.id, read.balance, read.floor, read.ceiling) == ("12", -LARGE, None, LARGE)
    record = {**applied, "memo": "null"}
    past = calls.get_transfer(7).read(make_answer(200, record))
    assert past is not None and (past.amount, past.memo) == (LARGE, "null")
    audit = {"ok": True, "lsn": told(9), "accounts": 2, "sums": {"USD/2": told(0)}}
    audit |= {"violations": [], "journal_checked": False}
    report = calls.get_audit(False).read(make_answer(200, audit))
    assert (report.lsn, report.sums) == (9, {"USD/2": 0})


# -- transfers ------------------------------------------------------------------------------------


def test_applied_and_replayed() -> None:
    read = calls.post_transfer(INTENT).read
    first = read(make_answer(201, APPLIED))
    assert (first.key, first.id, first.status, first.asset) == ("k-1", 7, "applied", "USD/2")
    assert (first.replayed, first.reason) == (False, None)
    assert read(make_answer(201, APPLIED, idempotent_replayed="true")).replayed is True


def test_every_refusal_of_the_server_is_read() -> None:
    with open_for_statuses() as ledger:
        for status, (source, target, amount) in ASKED.items():
            if not status.is_outcome or status is Status.APPLIED:
                continue
            call = calls.post_transfer(TransferIntent(source, target, amount, key="k"))
            submission = ask(ledger, status, f"key-{status}")
            response = answer_transfer(submission, 0)
            assert response.body is not None
            result = call.read(Answer(response.status, {}, response.body))
            assert (result.status, result.reason) == ("refused", REASONS[status])
            assert result.id == submission.outcome(0).id and result.detail
            assert (result.asset is None) == (STATUS_KINDS[status].http_status == 404)


@pytest.mark.parametrize(
    ("http_status", "body"),
    [
        (201, REFUSED),
        (200, APPLIED),
        (404, REFUSED),
        (422, APPLIED),
        (201, {**APPLIED, "status": "pending"}),
        (201, {**APPLIED, "status": 201}),
        (201, {**APPLIED, "from": "b"}),
        (201, {**APPLIED, "to": "a"}),
        (201, {**APPLIED, "amount": 50}),
        (201, {**APPLIED, "id": -1}),
        (422, {**REFUSED, "id": 0}),
        (422, {**REFUSED, "reason": None}),
        (422, {**REFUSED, "amount": 4}),
        (201, {}),
        (201, None),
        (201, [APPLIED]),
    ],
)
def test_answers_that_are_not_believed(http_status: int, body: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        calls.post_transfer(INTENT).read(make_answer(http_status, body))


@given(st.binary())
def test_anything_else_is_unreadable(body: bytes) -> None:
    for call in (calls.post_transfer(INTENT), calls.get_key("k"), calls.get_audit(True)):
        with pytest.raises(UnreadableAnswer):
            call.read(Answer(201, {}, body))


ITEM = {"id": 7, "status": "applied", "created_at": "2026-11-22T14:01:43.813128Z"}
REFUSED_ITEM = {**ITEM, "id": 8, "status": "refused", "reason": "insufficient-funds"}
REUSED_ITEM = {"status": "not-stored", "reason": "idempotency-key-reused"}
EXPIRED_ITEM = {"id": 5, "status": "not-stored", "reason": "idempotency-key-expired"}


def test_items() -> None:
    other = TransferIntent("a", "b", 5, key="k-2")
    third = TransferIntent("a", "b", 6, key="k-3")
    call = calls.post_transfers([INTENT, other, third])
    body = [{**ITEM, "replayed": True}, REFUSED_ITEM, REUSED_ITEM]
    results = call.read(make_answer(200, body))
    assert [result.key for result in results] == ["k-1", "k-2", "k-3"]
    assert [result.status for result in results] == ["applied", "refused", "not-stored"]
    assert [result.replayed for result in results] == [True, False, False]
    assert [result.id for result in results] == [7, 8, 0]
    assert [result.amount for result in results] == [INTENT.amount, 5, 6]
    assert results[2].reason == "idempotency-key-reused"
    with pytest.raises(UnreadableAnswer, match="3 transfers were asked for, 2 answered"):
        call.read(make_answer(200, body[:2]))


def test_item_of_an_expired_key_leads_to_its_transfer() -> None:
    (result,) = calls.post_transfers([INTENT]).read(make_answer(200, [EXPIRED_ITEM]))
    assert (result.status, result.id, result.is_applied) == ("not-stored", 5, False)


@pytest.mark.parametrize(
    "item",
    [
        {**ITEM, "id": 0},
        {**ITEM, "reason": "insufficient-funds"},
        {**ITEM, "status": "pending"},
        {**ITEM, "status": 201},
        {**REFUSED_ITEM, "reason": None},
        {**REFUSED_ITEM, "id": -1},
        {**REUSED_ITEM, "id": 9},
        {**EXPIRED_ITEM, "id": -1},
        {"status": "not-stored"},
        {},
        [],
    ],
)
def test_items_that_are_not_believed(item: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        calls.post_transfers([INTENT]).read(make_answer(200, [item]))


# -- the rest -------------------------------------------------------------------------------------


def test_transfer_that_is_not_there() -> None:
    call = calls.get_transfer(7)
    assert call.absent == "transfer-not-found"
    assert call.read(make_answer(404, {})) is None
    with pytest.raises(UnreadableAnswer, match="another transfer"):
        call.read(make_answer(200, {**APPLIED, "id": 8}))


def test_answers_about_something_else() -> None:
    account = {"id": "b", "asset": "USD/2", "balance": 0, "floor": 0, "ceiling": 0, "frozen": False}
    with pytest.raises(UnreadableAnswer, match="another account"):
        calls.get_account("a").read(make_answer(200, account))
    with pytest.raises(UnreadableAnswer, match="another key"):
        calls.get_key("k-1").read(make_answer(200, {"key": "k-2", "state": "unseen"}))
    with pytest.raises(UnreadableAnswer, match="circle"):
        calls.get_accounts("x").read(make_answer(200, {"accounts": [account], "next": "x"}))
    with pytest.raises(UnreadableAnswer, match="circle"):
        calls.get_accounts("x").read(make_answer(200, {"accounts": [], "next": "y"}))


def test_readiness() -> None:
    assert calls.get_readiness().read(make_answer(200, {"status": "ready"})) is True
    assert calls.get_readiness().read(make_answer(200, {"status": "ok"})) is False


# -- problems -------------------------------------------------------------------------------------


def test_problem_of_the_server() -> None:
    errors = [{"pointer": "/to", "code": "missing", "detail": "It is missing."}]
    body = encode_problem(MALFORMED, "It is wrong.", errors)
    problem = read_problem(Answer(400, {}, body))
    assert (problem.name, problem.http_status, problem.detail) == ("malformed", 400, "It is wrong.")
    assert problem.errors == tuple(errors)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type": 1}', b'{"type":"about:blank"}'])
def test_problem_of_somebody_else_has_no_name(body: bytes) -> None:
    problem = read_problem(Answer(502, {}, body))
    assert (problem.name, problem.http_status) == ("", 502)
