"""The fast way through JSON: what it takes, the whole grammar takes too, and both read the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ledgercore
from ledgercore import Submission, TransferRequest
from ledgercore.service.wire import bulk
from ledgercore.service.wire.json_bodies import KEY_FIELD, TRANSFER_CHECKS, TRANSFER_REQUIRED
from ledgercore.service.wire.problems import Problem
from ledgercore.service.wire.transfers_json import add_transfers, read_plain_transfer
from tests.support.headers import read_enum
from tests.support.histories import open_small, wait_readable


@pytest.fixture(scope="module")
def ledger() -> Iterator[ledgercore.Engine]:
    with open_small(None, durability="memory") as engine:
        engine.open_account("world", asset="USD/2", floor=None)
        engine.open_account("a", asset="USD/2")
        yield engine


def read_natively(
    ledger: ledgercore.Engine, body: bytes, items_max: int = 100
) -> Submission | None:
    submission = ledger.new_submission(items_max)
    is_plain = add_transfers(submission, body, b"")
    assert is_plain or len(submission) == 0
    return submission if is_plain else None


def read_wholly(body: bytes) -> list[TransferRequest] | None:
    try:
        return bulk.read_transfers(body)
    except Problem:
        return None


def complete(ledger: ledgercore.Engine, submission: Submission) -> None:
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]


def item(key: str = "k", source: str = "a", target: str = "b", amount: Any = 1, **more: Any) -> Any:
    return {"idempotency_key": key, "from": source, "to": target, "amount": amount, **more}


def test_both_ways_know_the_same_members() -> None:
    in_c = read_enum("wire/transfer_json.h", "lc_member")
    assert in_c.pop("MEMBERS_REQUIRED") == sum(
        in_c[f"MEMBER_{name.upper()}"] for name in TRANSFER_REQUIRED
    )
    names = {name.removeprefix("MEMBER_").lower() for name in in_c}
    assert names == {"key" if name == KEY_FIELD else name for name in TRANSFER_CHECKS}
    plain = read_plain_transfer(encode(item(memo="m")))
    assert plain is not None and plain.keys() == TRANSFER_CHECKS.keys()


# -- what is plain --------------------------------------------------------------------------------
PLAIN = [
    [item()],
    [item(), item("k2", memo="hello")],
    [item(memo="")],
    [item(amount=2**63 - 1)],
    [item(amount="1")],
    [item(amount=str(2**63 - 1))],
    [item(key="!~" * 127, source="A-z.0_9:@/" * 6, target="z" * 64)],
    [item(memo="ünïcödé 漢字 🙂 \u00a0")],
    [item(memo="m" * 256)],
]
NOT_PLAIN = [
    [],
    {},
    [1],
    [item(amount=0)],
    [item(amount=-1)],
    [item(amount=True)],
    [item(amount=1.0)],
    [item(amount=2**63)],
    [item(amount=10**19)],
    *([item(amount=text)] for text in ["", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "1e2", "٣"]),
    [item(amount=str(2**63))],
    [item(amount=str(10**19))],
    [item(key="")],
    [item(key="k" * 256)],
    [item(key="a b")],
    [item(key="é")],
    [item(source="")],
    [item(source="s" * 65)],
    [item(source="a b")],
    [item(memo="m" * 257)],
    [item(memo="\x7f")],
    [item(memo="\x80")],
    [item(memo="\n")],
    [item(memo=None)],
    [item(unknown=1)],
    [{"from": "a", "to": "b", "amount": 1}],
    [{"idempotency_key": "k", "from": "a", "to": "b"}],
]


def encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize("items", PLAIN)
@pytest.mark.parametrize("style", ["compact", "spaced", "reversed"])
def test_what_is_plain_is_read(ledger: ledgercore.Engine, items: Any, style: str) -> None:
    body = encode(items)
    if style == "spaced":
        body = b"\r\n\t " + json.dumps(items, ensure_ascii=False, indent=2).encode() + b" \n"
    if style == "reversed":
        body = encode([dict(reversed(one.items())) for one in items])
    submission = read_natively(ledger, body)
    assert submission is not None and len(submission) == len(items)
    assert read_wholly(body) == [
        TransferRequest(
            one["idempotency_key"],
            one["from"],
            one["to"],
            int(one["amount"]),
            one.get("memo") or None,
        )
        for one in items
    ]


@pytest.mark.parametrize("items", NOT_PLAIN)
def test_what_is_not_plain_is_left(ledger: ledgercore.Engine, items: Any) -> None:
    assert read_natively(ledger, encode(items)) is None


BROKEN = [
    b"",
    b"[",
    b"[]",
    b'[{"from":"a"',
    b"[{}]",
    b"\xef\xbb\xbf[]",
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1}',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1},]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1}]x',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1}]\x00',
    b'[,{"idempotency_key":"k","from":"a","to":"b","amount":1}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,}]',
    b'[{,"idempotency_key":"k","from":"a","to":"b","amount":1}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1 2}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":01}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1e3}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":+1}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,"amount":1}]',
    b'[{"idempotency_key":"k","from":"a","from":"a","to":"b","amount":1}]',
    b'[{"idempotency_key":"k\\u0041","from":"a","to":"b","amount":1}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,"memo":"\xc3"}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,"memo":"\xc0\xaf"}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,"memo":"\xed\xa0\x80"}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,"memo":"\xf4\x90\x80\x80"}]',
    b'[{"idempotency_key":"k","from":"a","to":"b","amount":1,"memo":"\xc2\x9f"}]',
    b"[{'idempotency_key':'k','from':'a','to':'b','amount':1}]",
    b'["idempotency_key":"k","from":"a","to":"b","amount":1]',
    b'[[{"idempotency_key":"k","from":"a","to":"b","amount":1}]]',
    b'{"idempotency_key":"k","from":"a","to":"b","amount":1}',
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_broken_is_left(ledger: ledgercore.Engine, body: bytes) -> None:
    assert read_natively(ledger, body) is None


def test_every_cut_of_a_body_is_left(ledger: ledgercore.Engine) -> None:
    body = encode([item(memo="ü"), item("k2")])
    assert read_natively(ledger, body) is not None
    for length in range(len(body)):
        assert read_natively(ledger, body[:length]) is None


def test_the_bound_on_items(ledger: ledgercore.Engine) -> None:
    body = encode([item(str(number)) for number in range(5)])
    assert read_natively(ledger, body, items_max=4) is None
    submission = read_natively(ledger, body, items_max=5)
    assert submission is not None and submission.is_full
    with pytest.raises(ValueError, match="not empty"):
        add_transfers(submission, body, b"")


def mutate(body: bytes, edits: list[tuple[int, int]]) -> bytes:
    mutated = bytearray(body)
    for position, byte in edits:
        mutated[position % len(mutated)] = byte
    return bytes(mutated)


TEXTS = st.text(min_size=0, max_size=8)
ITEMS = st.builds(
    item,
    key=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8),
    source=st.sampled_from(["a", "world", "nobody", "", "a b", "é"]),
    target=st.sampled_from(["a", "world", "b"]),
    amount=st.one_of(st.integers(-2, 2**64), st.sampled_from([1, True, 1.5, None, "7", "07"])),
    memo=TEXTS,
)


@settings(max_examples=600, deadline=None)
@given(
    items=st.lists(ITEMS, max_size=3),
    is_ascii=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
)
@example(items=[item()], is_ascii=True, edits=[])
def test_both_ways_agree(
    ledger: ledgercore.Engine, items: list[Any], is_ascii: bool, edits: list[tuple[int, int]]
) -> None:
    """Whatever the fast way takes, the whole grammar takes, and the records are the same."""
    text = json.dumps(items, ensure_ascii=is_ascii)
    body = mutate(text.encode(errors="surrogatepass"), edits)
    submission = read_natively(ledger, body)
    if submission is None:
        return
    wanted = read_wholly(body)
    assert wanted is not None and len(wanted) == len(submission)
    complete(ledger, submission)
    for index, one in enumerate(wanted):
        outcome = submission.outcome(index)
        again = ledger.transfer(one.source, one.target, one.amount, key=one.key, memo=one.memo)
        # The same key with the same payload is a replay; with any other it would be refused.
        assert again.id == outcome.id and again.status is outcome.status
        assert outcome.id == 0 or again.replayed
