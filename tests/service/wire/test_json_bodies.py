"""The grammar of requests: every bad input is refused with its place and its code."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledgercore import AMOUNT_MAX, TransferRequest
from ledgercore.service.wire import json_bodies, problems
from ledgercore.service.wire.json_bodies import (
    BODY_BYTES_MAX,
    check_content_type,
    check_memo,
    read_account,
    read_account_changes,
    read_transfer,
)
from ledgercore.service.wire.problems import ErrorItem, Problem
from ledgercore.service.wire.transfers_json import read_plain_transfer
from tests.support.headers import ask_compiler

GOOD = {"from": "alice", "to": "bob", "amount": 250}


def body_of(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def faults_of(body: bytes, keys: tuple[str, ...] = ("k",)) -> list[tuple[str, str]]:
    with pytest.raises(Problem) as caught:
        read_transfer(body, keys)
    assert caught.value.kind is problems.MALFORMED
    return [
        (error.get("pointer", error.get("header", "?")), error["code"])
        for error in caught.value.errors or []
    ]


def with_amount(text: str) -> bytes:
    return b'{"from":"alice","to":"bob","amount":%s}' % text.encode()


NO_DIGITS = ["", " 250", "250 ", "+250", "0250", "00", "-0", "2e2", "250.0", "0x7", "1_000", "٣"]
NO_DIGITS += ["9" * 30, "9" * 5000, "true", "null"]


def test_good_transfer() -> None:
    transfer = read_transfer(body_of(memo="für Bob"), ("k",))
    assert (transfer.key, transfer.source, transfer.target) == ("k", "alice", "bob")
    assert (transfer.amount, transfer.memo) == (250, "für Bob")


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"", "", "empty"),
        (b" ", "", "not-json"),
        (b"{", "", "not-json"),
        (b"[1,2]", "", "object-expected"),
        (b"null", "", "object-expected"),
        (b'"text"', "", "object-expected"),
        (b"1.5", "", "object-expected"),
        (body_of() + b"x", "", "not-json"),
        (body_of() + body_of(), "", "not-json"),
        (b"\xef\xbb\xbf" + body_of(), "", "not-json"),
        (body_of().decode().encode("utf-16"), "", "not-utf8"),
        (body_of(memo="x").replace(b"x", b"\xff"), "", "not-utf8"),
        (body_of(memo="x").replace(b"x", b"\xed\xa0\x80"), "", "not-utf8"),
        (body_of(memo="x").replace(b"x", b"\x01"), "", "not-json"),
        (b"{'from': 'alice'}", "", "not-json"),
        (b"[" * 16_000, "", "too-deep"),
        (b'{"memo":"' + b"x" * 1_000_000 + b'"}', "", "too-large"),
        (b" " * 16_385, "", "too-large"),
        (with_amount("007"), "", "not-json"),
        (with_amount("+7"), "", "not-json"),
        (with_amount("0x7"), "", "not-json"),
        (with_amount("1_000"), "", "not-json"),
        (with_amount(".5"), "", "not-json"),
        (with_amount("1.0"), "/amount", "integer-expected"),
        (with_amount("1.5"), "/amount", "integer-expected"),
        (with_amount("1e2"), "/amount", "integer-expected"),
        (with_amount("1E400"), "/amount", "integer-expected"),
        (with_amount("NaN"), "/amount", "integer-expected"),
        (with_amount("Infinity"), "/amount", "integer-expected"),
        (with_amount("-Infinity"), "/amount", "integer-expected"),
        (with_amount("true"), "/amount", "integer-expected"),
        (with_amount("null"), "/amount", "integer-expected"),
        *((with_amount(f'"{text}"'), "/amount", "integer-expected") for text in NO_DIGITS),
        (with_amount('"0"'), "/amount", "out-of-range"),
        (with_amount('"-1"'), "/amount", "out-of-range"),
        (with_amount(f'"{2**63}"'), "/amount", "out-of-range"),
        (with_amount(f'"{10**19}"'), "/amount", "out-of-range"),
        (with_amount("[250]"), "/amount", "integer-expected"),
        (with_amount('{"a":1,"a":2}'), "/amount", "integer-expected"),
        (with_amount("0"), "/amount", "out-of-range"),
        (with_amount("-0"), "/amount", "out-of-range"),
        (with_amount("-1"), "/amount", "out-of-range"),
        (with_amount(str(2**63)), "/amount", "out-of-range"),
        (with_amount(str(2**64 + 1)), "/amount", "out-of-range"),
        (with_amount("9" * 5000), "/amount", "out-of-range"),
        (body_of(**{"from": ""}), "/from", "account-id"),
        (body_of(**{"from": "a" * 65}), "/from", "account-id"),
        (body_of(**{"from": "a b"}), "/from", "account-id"),
        (body_of(**{"from": "a\n"}), "/from", "account-id"),
        (body_of(**{"from": "ä"}), "/from", "account-id"),
        (body_of(**{"from": 7}), "/from", "string-expected"),
        (body_of(**{"from": None}), "/from", "string-expected"),
        (body_of(**{"from": ["alice"]}), "/from", "string-expected"),
        (with_amount("1").replace(b'"alice"', b"1.0"), "/from", "string-expected"),
        (body_of(to="a" * 65), "/to", "account-id"),
        (body_of(to={}), "/to", "string-expected"),
        (b'{"to":"bob","amount":1}', "/from", "missing"),
        (b'{"from":"alice","amount":1}', "/to", "missing"),
        (b'{"from":"alice","to":"bob"}', "/amount", "missing"),
        (body_of(currency="USD"), "/currency", "unknown"),
        (body_of(**{"a/b~c": 1}), "/a~1b~0c", "unknown"),
        (body_of(**{"\ud800": 1}), "/?", "unknown"),
        (body_of()[:-1] + b',"amount":251}', "/amount", "duplicate"),
        (body_of()[:-1] + b',"\\u0061mount":250}', "/amount", "duplicate"),
        (body_of(memo=7), "/memo", "string-expected"),
        (body_of(memo=None), "/memo", "string-expected"),
        (body_of(memo="ä" * 129), "/memo", "too-long"),
        (body_of(memo="a\nb"), "/memo", "control-character"),
        (body_of(memo="a\x7fb"), "/memo", "control-character"),
        (body_of(memo="a\x85b"), "/memo", "control-character"),
        (body_of(memo="a\ud800b"), "/memo", "lone-surrogate"),
        (body_of(idempotency_key=7), "/idempotency_key", "string-expected"),
        (body_of(idempotency_key=""), "/idempotency_key", "idempotency-key"),
        (body_of(idempotency_key="a b"), "/idempotency_key", "idempotency-key"),
        (body_of(idempotency_key="other"), "/idempotency_key", "conflict"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_bad_transfer(body: bytes, pointer: str, code: str) -> None:
    assert (pointer, code) in faults_of(body)


def test_faults_are_told_together() -> None:
    body = b'{"from":"a b","amount":0,"extra":1}'
    assert sorted(faults_of(body, ("a b",))) == [
        ("/amount", "out-of-range"),
        ("/extra", "unknown"),
        ("/from", "account-id"),
        ("/to", "missing"),
        ("Idempotency-Key", "idempotency-key"),
    ]


def test_faults_are_bounded() -> None:
    body = json.dumps({str(number): 1 for number in range(1000)}).encode()
    assert len(faults_of(body)) == 20


@pytest.mark.parametrize("amount", [1, 2**53 + 1, AMOUNT_MAX])
def test_amount_at_its_limits(amount: int) -> None:
    number = read_transfer(body_of(amount=amount), ("k",))
    assert number.amount == amount
    assert read_transfer(body_of(amount=str(amount)), ("k",)) == number
    escaped = with_amount('"\\u0032"')
    assert read_transfer(escaped, ("k",)).amount == 2


@pytest.mark.parametrize("memo", ["x" * 256, "ä" * 128, "😀" * 64])
def test_memo_at_its_limit(memo: str) -> None:
    assert read_transfer(body_of(memo=memo), ("k",)).memo == memo


def test_a_memo_holds_the_bytes_that_c_takes() -> None:
    questions = [f"lc_byte_classes[{byte}] & LC_BYTE_MEMO" for byte in range(128)]
    in_c = {byte for byte, told in enumerate(ask_compiler(["text.h"], questions)) if told}
    in_python = {byte for byte in range(128) if check_memo(chr(byte)) is None}
    # In JSON these two are escaped, and what has an escape is not plain.
    assert in_c == in_python - {ord('"'), ord("\\")}


def test_empty_memo_is_no_memo() -> None:
    assert read_transfer(body_of(memo=""), ("k",)).memo is None


@pytest.mark.parametrize("account_id", ["a", "a" * 64, "A-Z.a_z:0@9/x", "/", "."])
def test_good_account_id(account_id: str) -> None:
    assert read_transfer(body_of(to=account_id), ("k",)).target == account_id


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k-1", "k-1"),
        (" k-1\t", "k-1"),
        ("k" * 255, "k" * 255),
        ("!~", "!~"),
        ("a,b;c=d", "a,b;c=d"),
        ('a"b', 'a"b'),
        ('"k-1"', "k-1"),
        (r'"a\"b\\c"', r'a"b\c'),
    ],
)
def test_good_key_header(header: str, key: str) -> None:
    assert read_transfer(body_of(), (header,)).key == key


@pytest.mark.parametrize(
    "header",
    ["", " ", "a b", "k" * 256, "ä", "\x7f", '"', '""', '"a', '"a"b', '"a b"', r'"a\b"', '"a";p=1'],
)
def test_bad_key_header(header: str) -> None:
    assert faults_of(body_of(), (header,)) == [("Idempotency-Key", "idempotency-key")]


def test_key_header_twice() -> None:
    assert faults_of(body_of(), ("k", "k")) == [("Idempotency-Key", "repeated")]


def test_key_in_the_body() -> None:
    assert read_transfer(body_of(idempotency_key="k")).key == "k"
    assert read_transfer(body_of(idempotency_key="k"), ('"k"',)).key == "k"


def test_missing_key_has_its_own_problem() -> None:
    with pytest.raises(Problem) as caught:
        read_transfer(body_of())
    assert caught.value.kind is problems.KEY_MISSING


def test_account_has_defaults() -> None:
    account = read_account(b'{"id":"a","asset":"USD/2"}')
    assert (account.floor, account.ceiling, account.frozen) == (0, None, False)


def test_account_settings() -> None:
    text = b'{"id":"a","asset":"EUR/18","floor":null,"ceiling":-5,"frozen":true}'
    account = read_account(text)
    assert (account.asset, account.floor, account.ceiling, account.frozen) == (
        "EUR/18",
        None,
        -5,
        True,
    )


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ('"id":"a b","asset":"USD/2"', "/id", "account-id"),
        ('"id":"a"', "/asset", "missing"),
        ('"asset":"USD/2"', "/id", "missing"),
        ('"id":"a","asset":"usd/2"', "/asset", "asset"),
        ('"id":"a","asset":"USD"', "/asset", "asset"),
        ('"id":"a","asset":"USD/19"', "/asset", "asset"),
        ('"id":"a","asset":"USD/02"', "/asset", "asset"),
        ('"id":"a","asset":"USD/2\\n"', "/asset", "asset"),
        ('"id":"a","asset":"A2345678901234567/2"', "/asset", "asset"),
        ('"id":"a","asset":2', "/asset", "string-expected"),
        ('"id":"a","asset":"USD/2","floor":"-0"', "/floor", "integer-expected"),
        ('"id":"a","asset":"USD/2","floor":"+5"', "/floor", "integer-expected"),
        ('"id":"a","asset":"USD/2","floor":"null"', "/floor", "integer-expected"),
        ('"id":"a","asset":"USD/2","ceiling":"9223372036854775808"', "/ceiling", "out-of-range"),
        ('"id":"a","asset":"USD/2","floor":0.0', "/floor", "integer-expected"),
        ('"id":"a","asset":"USD/2","ceiling":true', "/ceiling", "integer-expected"),
        ('"id":"a","asset":"USD/2","ceiling":9223372036854775808', "/ceiling", "out-of-range"),
        ('"id":"a","asset":"USD/2","floor":-9223372036854775809', "/floor", "out-of-range"),
        ('"id":"a","asset":"USD/2","frozen":1', "/frozen", "boolean-expected"),
        ('"id":"a","asset":"USD/2","balance":1', "/balance", "unknown"),
    ],
)
def test_bad_account(members: str, pointer: str, code: str) -> None:
    with pytest.raises(Problem) as caught:
        read_account(f"{{{members}}}".encode())
    assert [(e["pointer"], e["code"]) for e in caught.value.errors or []] == [(pointer, code)]


def test_changes_tell_absent_from_null() -> None:
    assert read_account_changes(b"{}") == {}
    assert read_account_changes(b'{"floor":null}') == {"floor": None}
    assert read_account_changes(b'{"frozen":false}') == {"frozen": False}


@pytest.mark.parametrize("limit", [0, 5, -5, 2**53 + 1, -(2**63) + 1])
def test_limits_as_strings_are_the_same_limits(limit: int) -> None:
    text = b'{"id":"a","asset":"USD/2","floor":"%d","ceiling":"%d"}' % (limit, limit)
    account = read_account(text)
    assert (account.floor, account.ceiling) == (limit, limit)
    assert read_account_changes(b'{"floor":"%d"}' % limit) == {"floor": limit}


@pytest.mark.parametrize("member", ['"id":"b"', '"asset":"EUR/2"', '"frozen":null', '"floor":1.5'])
def test_bad_changes(member: str) -> None:
    with pytest.raises(Problem):
        read_account_changes(f"{{{member}}}".encode())


@pytest.mark.parametrize(
    "value", ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"]
)
def test_good_content_type(value: str) -> None:
    check_content_type((value,))


@pytest.mark.parametrize("value", ["text/plain", "", "application/jsonp", "multipart/form-data"])
def test_bad_content_type(value: str) -> None:
    for values in ((value,), ()):
        with pytest.raises(Problem) as caught:
            check_content_type(values)
        assert caught.value.kind is problems.UNSUPPORTED_MEDIA_TYPE


def test_content_type_twice() -> None:
    with pytest.raises(Problem) as caught:
        check_content_type(("application/json", "application/json"))
    assert caught.value.kind is problems.MALFORMED


# -- the native way --------------------------------------------------------------------------

PIECES = [
    *'{}[]":,\\ \t\n0123456789.-+eE',
    *('"from"', '"to"', '"amount"', '"memo"', '"idempotency_key"', '"fr\\u006fm"', '"x"'),
    *('"a"', '"acct-1"', '"a b"', '"é"', "250", "0", "-1", "007", "1.0", "1e2", "true", "null"),
    *("9223372036854775807", "9223372036854775808", "NaN", "\ufeff", "\x01"),
    *('"k"', '""', '"7"', '"007"', ',"memo":"ü"', ',"idempotency_key":"k"', ',"memo":""'),
]
USUAL = '{"from":"a","to":"b","amount":1}'
FULL = ' {"idempotency_key":"k","from":"a","to":"b","amount":"1","memo":"ü"}\n'


def read_wholly(body: bytes, keys: list[str]) -> TransferRequest | tuple[str, list[ErrorItem]]:
    """Read a transfer by the whole grammar, whatever it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_bodies, "read_plain_transfer", lambda body: None)
        return read_either(body, keys)


def read_either(body: bytes, keys: list[str]) -> TransferRequest | tuple[str, list[ErrorItem]]:
    try:
        return read_transfer(body, keys)
    except Problem as problem:
        return problem.kind.name, problem.errors or []


@given(
    usual=st.sampled_from([USUAL, FULL]),
    pieces=st.lists(st.sampled_from(PIECES), max_size=12),
    start=st.integers(0, len(FULL)),
    end=st.integers(0, len(FULL)),
    keys=st.lists(
        st.sampled_from(["k", '"k"', " k", "é", "", "k" * 255, "k" * 256, "l"]), max_size=2
    ),
)
@settings(max_examples=1000)
@example(usual=USUAL, pieces=[], start=0, end=0, keys=["k"])
@example(usual=FULL, pieces=[], start=0, end=0, keys=[])
@example(usual=FULL, pieces=[], start=0, end=0, keys=["k"])
@example(usual=FULL, pieces=[], start=0, end=0, keys=["l"])
@example(usual=USUAL, pieces=[',"to":"c"}'], start=len(USUAL) - 1, end=len(USUAL), keys=["k"])
def test_both_ways_read_the_same(
    usual: str, pieces: list[str], start: int, end: int, keys: list[str]
) -> None:
    # Bodies near the usual ones: a part is replaced by what JSON and its abuse are made of.
    body = (usual[:start] + "".join(pieces) + usual[max(start, end) :]).encode()
    assert read_either(body, keys) == read_wholly(body, keys)


def test_what_is_plain_is_read_natively() -> None:
    assert read_plain_transfer(USUAL.encode()) == {"from": "a", "to": "b", "amount": 1}
    wanted = {"idempotency_key": "k", "from": "a", "to": "b", "amount": 1, "memo": "ü"}
    assert read_plain_transfer(FULL.encode()) == wanted
    assert read_plain_transfer(b"[" + USUAL.encode() + b"]") is None
    # Neither reads more than is taken of one body.
    body = USUAL.encode().ljust(BODY_BYTES_MAX)
    assert read_transfer(body, ["k"]) == TransferRequest("k", "a", "b", 1, None)
    assert read_either(body + b" ", ["k"]) == read_wholly(body + b" ", ["k"])
    assert faults_of(body + b" ") == [("", "too-large")]
