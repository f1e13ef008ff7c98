"""The answer to a transfer: stable bytes, and nothing that depends on the present."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledgercore
from ledgercore import Status
from ledgercore.service.wire.answers import answer_transfer
from ledgercore.service.wire.problems import STATUS_KINDS
from ledgercore.service.wire.transfer_answer import (
    date_reply,
    encode_body,
    encode_reply,
    format_date,
    list_headers,
)
from ledgercore.service.wire.transfers_json import encode_outcomes
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
        items = json.loads(encode_outcomes(submission, [b'"status":%d' % n for n in range(256)]))
        assert items == [{"id": first.id, "status": Status.KEY_EXPIRED}, {"status": 66}]
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
