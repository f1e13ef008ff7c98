"""The bodies of answers: stable bytes, and nothing that depends on the present."""

from msgspec.json import encode

from ledgercore import Account, KeyState, Status, Transfer
from ledgercore.service.wire.answers import (
    describe_account,
    describe_key,
    describe_page,
    describe_transfer,
)
from ledgercore.service.wire.paths import decode_cursor
from ledgercore.service.wire.transfer_answer import encode_transfer

TIME_NS = 1_790_000_000_123_456_789


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
    assert encode(describe_transfer(make_transfer(Status.APPLIED))) == (
        b'{"id":7,"status":"applied","from":"alice","to":"bob","amount":250,'
        b'"created_at":"2026-09-21T14:13:20.123456Z","asset":"USD/2","memo":"rent"}'
    )


def test_key() -> None:
    assert describe_key("k", KeyState("unseen", None)) == {"key": "k", "state": "unseen"}
    transfer = make_transfer(Status.APPLIED)
    told = encode(describe_key("k", KeyState("applied", transfer)))
    assert told == b'{"key":"k","state":"applied","transfer":%b}' % encode_transfer(transfer)
