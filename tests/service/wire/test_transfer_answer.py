"""The answer to a transfer: stable bytes, and nothing that depends on the present."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import ledgercore
from ledgercore import Status, Submission, Transfer
from ledgercore.service.wire.answers import answer_transfer
from ledgercore.service.wire.integer_forms import IntegerForms
from ledgercore.service.wire.problems import LATE_KINDS, QUOTA_EXCEEDED, STATUS_KINDS
from ledgercore.service.wire.transfer_answer import (
    date_reply,
    encode_body,
    encode_outcomes,
    encode_reply,
    encode_transfer,
    format_date,
    format_time,
    list_headers,
)
from tests.support.histories import open_funded, open_small, wait_readable
from tests.support.making import poll
from tests.support.statuses import ASKED, ask, open_for_statuses
from tests.support.waiting import wait_until


@pytest.fixture
def ledger() -> Iterator[ledgercore.Engine]:
    with open_for_statuses() as engine:
        yield engine


def mask_date(reply: bytes) -> bytes:
    """Return an answer without its date, which is the time of the answer."""
    masked, count = re.subn(rb"date: [^\r]{25} GMT\r\n", b"date: T\r\n", reply)
    assert count == 1
    return masked


def headers_of(response: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in response.processed_headers}


def test_every_status_has_its_request() -> None:
    # A zero key and an amount of none cannot be asked for over HTTP; what is late, what is full and
    # what has expired are tests of their own.
    apart = {Status.KEY_MISSING, Status.AMOUNT_INVALID, Status.KEYS_FULL, Status.DEADLINE_PASSED}
    apart |= {Status.KEY_EXPIRED, Status.LEDGER_FULL}
    assert ASKED.keys() | apart == set(Status)


def test_applied(ledger: ledgercore.Engine) -> None:
    submission = ask(ledger, Status.APPLIED, "k")
    body = encode_body(submission, 0)
    created_at = json.loads(body)["created_at"]
    number = submission.outcome(0).id
    assert body == (
        b'{"id":%d,"status":"applied","from":"world","to":"alice","amount":250,"asset":"USD/2",'
        b'"created_at":"%b"}' % (number, created_at.encode())
    )
    assert mask_date(encode_reply(submission, 0)) == (
        b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nlocation: /transfers/%d\r\n"
        b"date: T\r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n%b"
        % (number, len(body), body)
    )
    response = answer_transfer(submission, 0)
    assert (response.status, response.body) == (201, body)
    assert headers_of(response) == {
        "content-type": "application/json",
        "location": f"/transfers/{number}",
    }


@pytest.mark.parametrize(
    "status", [status for status in ASKED if status.is_outcome and status is not Status.APPLIED]
)
def test_refused(ledger: ledgercore.Engine, status: Status) -> None:
    submission = ask(ledger, status, "k")
    kind = STATUS_KINDS[status]
    source, target, amount = ASKED[status]
    body = json.loads(encode_body(submission, 0))
    assert body.pop("created_at").endswith("Z")
    names_asset = status not in (Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND)
    assert body == {
        "type": f"urn:ledgercore:problem:{kind.name}",
        "title": kind.title,
        "status": kind.http_status,
        "detail": f"{kind.title}: {amount} from {source} to {target}.",
        "id": submission.outcome(0).id,
        "outcome": "refused",
        "reason": status.name.lower().replace("_", "-"),
        "from": source,
        "to": target,
        "amount": amount,
    } | ({"asset": "USD/2"} if names_asset else {})
    response = answer_transfer(submission, 0)
    assert response.status == kind.http_status
    assert headers_of(response) == {"content-type": "application/problem+json"}


@pytest.mark.parametrize("status", [status for status in ASKED if status.is_outcome])
def test_replay_has_the_same_bytes(ledger: ledgercore.Engine, status: Status) -> None:
    first, replay = ask(ledger, status, "k"), ask(ledger, status, "k")
    assert not first.outcome(0).replayed and replay.outcome(0).replayed
    assert encode_body(first, 0) == encode_body(replay, 0)
    assert headers_of(answer_transfer(replay, 0)) == headers_of(answer_transfer(first, 0)) | {
        "idempotent-replayed": "true"
    }
    with_it = mask_date(encode_reply(replay, 0))
    without = with_it.replace(b"idempotent-replayed: true\r\n", b"")
    assert without == mask_date(encode_reply(first, 0))


@pytest.mark.parametrize("status", [Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND])
def test_account_opened_since_does_not_change_the_bytes(
    ledger: ledgercore.Engine, status: Status
) -> None:
    before = ask(ledger, status, "k")
    source, target, _ = ASKED[status]
    ledger.open_account(source if status is Status.SOURCE_NOT_FOUND else target, asset="USD/2")
    assert encode_body(ask(ledger, status, "k"), 0) == encode_body(before, 0)


def test_what_is_not_stored_is_a_problem(ledger: ledgercore.Engine) -> None:
    submission = ask(ledger, Status.KEY_REUSED, "k")
    body = json.loads(encode_body(submission, 0))
    assert (body["status"], body["type"]) == (422, "urn:ledgercore:problem:idempotency-key-reused")
    assert body.keys() == {"type", "title", "status", "detail"}
    assert mask_date(encode_reply(submission, 0)).startswith(
        b"HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: application/problem+json\r\n"
        b"date: T\r\ncontent-length: "
    )


def test_an_expired_key_names_its_transfer() -> None:
    with open_small(None, durability="memory", key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = ledger.transfer("world", "alice", 250, key="k")
        poll(lambda: ledger.find_key("k").state == "expired", "the key expires")
        submission = ledger.new_submission()
        submission.add("", "k", "world", "alice", 250)
        submission.add("", "k", "world", "alice", 251)
        ledger.submit(submission)
        wait_readable(ledger)
        assert ledger.completed() == [submission]
        outcomes = [submission.outcome(row) for row in range(2)]
        assert [one.status for one in outcomes] == [Status.KEY_EXPIRED, Status.KEY_REUSED]
        assert [(one.id, one.replayed) for one in outcomes] == [(first.id, False), (0, False)]
        body = json.loads(encode_body(submission, 0))
        assert (body["status"], body["transfer_id"]) == (422, first.id)
        assert body["type"] == "urn:ledgercore:problem:idempotency-key-expired"
        assert encode_reply(submission, 0).endswith(encode_body(submission, 0))
        assert encode_reply(submission, 0).startswith(b"HTTP/1.1 422 ")
        expired, reused = json.loads(encode_outcomes(submission))
        assert expired.pop("id") == first.id and expired == told_of(Status.KEY_EXPIRED)
        assert reused == told_of(Status.KEY_REUSED)
        assert ledger.balance("alice") == 250


def test_what_is_late_says_that_it_was_not_executed(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    submission.add("", "k", "world", "alice", 250)
    submission.limit_time(1)
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]
    body = json.loads(encode_body(submission, 0))
    assert (body["status"], body["type"]) == (504, "urn:ledgercore:problem:deadline-passed")
    assert body["executed"] is False
    assert body.keys() == {"type", "title", "status", "detail", "executed"}
    assert encode_reply(submission, 0).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert headers_of(answer_transfer(submission, 0)) == {
        "content-type": "application/problem+json"
    }


def test_a_full_table_asks_to_come_again() -> None:
    assert dict(list_headers(Status.KEYS_FULL)) == {
        b"content-type": b"application/problem+json",
        b"retry-after": b"1",
    }


def test_rows_of_a_submission_are_told_apart(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    for number in range(3):
        submission.add("", f"k-{number}", f"nobody-{number}", "alice", number + 1, "a memo")
    ledger.submit(submission)
    wait_readable(ledger)
    ledger.completed()
    told = [json.loads(encode_body(submission, index)) for index in range(3)]
    assert [one["from"] for one in told] == ["nobody-0", "nobody-1", "nobody-2"]
    assert [one["amount"] for one in told] == [1, 2, 3]
    for encode in (encode_body, encode_reply):
        with pytest.raises(IndexError):
            encode(submission, 3)


# -- many ------------------------------------------------------------------------------------------


def told_of(status: Status) -> dict[str, str]:
    """What an item of an answer tells of a status."""
    if status is Status.APPLIED:
        return {"status": "applied"}
    state = "refused" if status.is_outcome else "not-stored"
    return {"status": state, "reason": STATUS_KINDS[status].name}


def ask_many(ledger: ledgercore.Engine) -> Submission:
    submission = ledger.new_submission()
    for number, status in enumerate(ASKED):
        submission.add("", f"k-{number}", *ASKED[status])
    submission.add("", "k-0", *ASKED[Status.APPLIED])
    submission.add("", "late", *ASKED[Status.APPLIED])
    submission.limit_time(1, len(submission) - 1)
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]
    return submission


def test_outcomes_of_many_are_told_in_their_order(ledger: ledgercore.Engine) -> None:
    submission = ask_many(ledger)
    told = json.loads(encode_outcomes(submission))
    outcomes = [submission.outcome(index) for index in range(len(submission))]
    assert {outcome.status for outcome in outcomes} >= {status for status in ASKED if status < 64}
    assert [outcome.replayed for outcome in outcomes].count(True) > 0
    for outcome, one in zip(outcomes, told, strict=True):
        stored = {"id": outcome.id, "created_at": format_time(outcome.time_ns)}
        stored |= {"replayed": True} if outcome.replayed else {}
        assert one == told_of(outcome.status) | (stored if outcome.id else {})
        order = ["id", "status", "reason", "created_at", "replayed"]
        assert list(one) == [name for name in order if name in one]


def test_what_is_late_has_its_reason(ledger: ledgercore.Engine) -> None:
    submission = ask_many(ledger)
    for late in LATE_KINDS:
        last = json.loads(encode_outcomes(submission, late=late))[-1]
        assert last == {"status": "not-stored", "reason": late.name}
    first, *_ = json.loads(encode_outcomes(submission, late=QUOTA_EXCEEDED))
    assert first["status"] == "applied"


def test_no_outcomes_are_an_empty_array(ledger: ledgercore.Engine) -> None:
    assert encode_outcomes(ledger.new_submission()) == b"[]"


# -- the past --------------------------------------------------------------------------------------


def tell(*changes: Any, forms: IntegerForms | None = None) -> Any:
    transfer = Transfer(7, Status.APPLIED, "alice", "bob", 250, "USD/2", 0, None)
    for name, value in changes:
        transfer = replace(transfer, **{name: value})
    return json.loads(encode_transfer(transfer, *([forms] if forms else [])))


def test_a_transfer_of_the_past_tells_what_its_answer_told(ledger: ledgercore.Engine) -> None:
    # In memory no text is kept, and so not the id of an account that did not exist.
    apart = (Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND)
    statuses = [status for status in ASKED if status.is_outcome and status not in apart]
    for number, status in enumerate(statuses):
        submission = ask(ledger, status, f"k-{number}")
        transfer = ledger.find_transfer(submission.outcome(0).id)
        assert transfer is not None
        answer = json.loads(encode_body(submission, 0))
        told = json.loads(encode_transfer(transfer))
        assert told.pop("status") == answer.get("outcome", answer["status"])
        of_problems = {"type", "title", "status", "detail", "outcome"}
        assert told == {name: answer[name] for name in answer if name not in of_problems}


@pytest.mark.parametrize("memo", ['"', "\\", "\n", "\0", "ü漢🙂", "m" * 256, "\x1f" * 256])
def test_a_memo_is_escaped(memo: str) -> None:
    assert tell(("memo", memo))["memo"] == memo


def test_what_is_not_known_is_not_told() -> None:
    members = ["id", "status", "from", "to", "amount", "created_at"]
    assert list(tell(("asset", None))) == members
    assert list(tell(("memo", "m"))) == [*members, "asset", "memo"]
    refused = tell(("status", Status.SOURCE_NOT_FOUND), ("memo", "m"))
    assert list(refused) == [*members, "reason", "asset", "memo"]
    assert (refused["status"], refused["reason"]) == ("refused", "source-not-found")


def test_the_longest_transfer_of_the_past_has_room() -> None:
    longest: list[tuple[str, object]] = [
        ("id", 2**47),
        ("amount", 2**63 - 1),
        ("status", Status.INSUFFICIENT_FUNDS),
    ]
    longest += [("source", "s" * 1000), ("target", "t" * 1000), ("time_ns", 2**63 - 1)]
    told = tell(*longest, forms=IntegerForms([0]))
    assert (told["id"], told["amount"]) == (str(2**47), str(2**63 - 1))
    assert (told["from"], told["to"]) == ("s" * 1000, "t" * 1000)
    assert told["created_at"] == "2262-04-11T23:47:16.854775Z"


@given(st.integers(0, 2**63 - 1))
@example(0)
@example(951_782_399_999_999_999)  # The last instant before a leap day, and the first on it.
@example(951_782_400_000_000_000)
@example(4_107_542_400_000_000_000)  # 2100 has none.
def test_a_time_is_written_as_python_writes_it(time_ns: int) -> None:
    moment = datetime(1970, 1, 1) + timedelta(microseconds=time_ns // 1000)
    assert format_time(time_ns) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# -- the date --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),  # The one of RFC 9110, 5.6.7.
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_date(time_s: int, text: str) -> None:
    assert format_date(time_s) == text


@given(st.integers(0, 253_402_300_799))
def test_date_as_others_write_it(time_s: int) -> None:
    assert format_date(time_s) == format_datetime(datetime.fromtimestamp(time_s, UTC), usegmt=True)


def test_date_is_that_of_the_answer(ledger: ledgercore.Engine) -> None:
    submission = ask(ledger, Status.APPLIED, "k")
    for read in (lambda: encode_reply(submission, 0), lambda: date_reply(b"content-length: 0")):
        before = int(time.time()) - 1  # The kernel tells this one a tick later.
        told = re.search(rb"date: ([^\r]*)\r\n", read())
        assert told is not None
        dates = [format_date(second) for second in range(before, int(time.time()) + 1)]
        assert told[1].decode() in dates


def test_date_goes_on_with_the_clock(ledger: ledgercore.Engine) -> None:
    submission = ask(ledger, Status.APPLIED, "k")
    first = encode_reply(submission, 0)
    wait_until(lambda: encode_reply(submission, 0) != first, "the next second")
    assert mask_date(encode_reply(submission, 0)) == mask_date(first)
