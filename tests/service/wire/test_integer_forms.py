"""The two forms of whole numbers in answers: by the LSN of a transfer, and in force."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import ledgercore
from ledgercore.service.wire.integer_forms import IntegerForms
from ledgercore.service.wire.transfer_answer import encode_body, encode_outcomes, encode_reply
from tests.support.histories import wait_readable
from tests.support.statuses import ASKED, ask, open_for_statuses

STRINGS = IntegerForms([0])


@pytest.fixture
def ledger() -> Iterator[ledgercore.Engine]:
    with open_for_statuses() as engine:
        yield engine


@pytest.mark.parametrize(
    ("starts", "strings"),
    [
        ([], []),
        ([0], range(12)),
        ([1], range(1, 12)),
        ([5], range(5, 12)),
        ([5, 8], [5, 6, 7]),
        ([2, 3, 9], [2, 9, 10, 11]),
        ([0, 1, 2, 3], [0, 2]),
    ],
)
def test_each_start_is_the_first_of_the_other_form(starts: list[int], strings: list[int]) -> None:
    forms = IntegerForms(starts)
    assert [lsn for lsn in range(12) if forms.are_strings_at(lsn)] == list(strings)
    assert forms.are_strings == forms.are_strings_at(2**63) == (len(starts) % 2 == 1)
    assert forms.starts_as_tuple == tuple(starts)


@pytest.mark.parametrize("starts", [[1, 1], [2, 1], [0, 5, 4]])
def test_starts_are_ascending(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        IntegerForms(starts)


def test_a_value_is_told_in_the_form_in_force() -> None:
    for value in (0, -(2**63), 2**63 - 1):
        assert IntegerForms().write(value) == value
        assert STRINGS.write(value) == str(value)
    assert STRINGS.write(None) is None


def in_strings(body: Any) -> Any:
    return body | {name: str(body[name]) for name in ("id", "amount") if name in body}


@pytest.mark.parametrize("status", list(ASKED))
def test_the_answer_is_the_same_but_for_its_integers(
    ledger: ledgercore.Engine, status: ledgercore.Status
) -> None:
    submission = ask(ledger, status, "k")
    plain = json.loads(encode_body(submission, 0))
    body = encode_body(submission, 0, STRINGS)
    assert json.loads(body) == in_strings(plain)
    assert encode_reply(submission, 0, STRINGS).endswith(b"\r\n\r\n" + body)
    assert f"content-length: {len(body)}\r\n".encode() in encode_reply(submission, 0, STRINGS)


def test_the_longest_answer_has_room(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    for status in ("k", "l"):
        submission.add("", status, "s" * 64, "t" * 64, 2**63 - 1)
    ledger.submit(submission)
    wait_readable(ledger)
    ledger.completed()
    body = json.loads(encode_body(submission, 0, STRINGS))
    assert (body["amount"], body["from"], body["to"]) == (str(2**63 - 1), "s" * 64, "t" * 64)


def test_outcomes_of_many_have_each_its_own_form(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    for number in range(4):
        submission.add("", f"k{number}", "world", "alice", 1)
    ledger.submit(submission)
    wait_readable(ledger)
    ledger.completed()
    ids = [submission.outcome(index).id for index in range(4)]
    forms = IntegerForms([ids[1], ids[3]])
    told = json.loads(encode_outcomes(submission, forms))
    assert [item["id"] for item in told] == [ids[0], str(ids[1]), str(ids[2]), ids[3]]
    for index in range(4):
        body = json.loads(encode_body(submission, index, forms))
        assert body["id"] == told[index]["id"]
