"""What callers may hand in: the last value that each check takes, and the first that it refuses."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from ledgercore import is_addressable
from ledgercore.errors import InvalidArgument
from ledgercore.validation import (
    check_amount,
    check_asset,
    check_id,
    check_limit,
    check_memo,
    check_new_id,
    check_opening,
    check_range,
    check_scope,
)


class Text(str):
    """A string that is not exactly a `str`."""


class Whole:
    """A number by `__index__` alone."""

    def __index__(self) -> int:
        return 41


NO_INTEGERS = [1.0, np.float64(1), Decimal(1), "1", b"1", True, False, np.bool_(True), [1], 1j]


def field_of(check: Callable[..., Any], *arguments: Any) -> str:
    """The field that a check names when it refuses."""
    with pytest.raises(InvalidArgument) as caught:
        check(*arguments)
    assert str(caught.value) == f"{caught.value.field}: {caught.value.message}"
    return caught.value.field


@pytest.mark.parametrize("id", ["a", "x" * 64, "A-Za-z0-9._:@/-", "0", "-", Text("alice")])
def test_ids_that_are_taken(id: str) -> None:
    assert check_id("source", id) == str(id).encode()


NO_IDS = ["", "x" * 65, "a b", "a\n", "\na", "é", "a\0", "٣", "a+b", "\ud800", b"a", None, 7]


@pytest.mark.parametrize("id", NO_IDS, ids=repr)
def test_ids_that_are_refused(id: Any) -> None:
    for field in ("id", "source", "target"):
        assert field_of(check_id, field, id) == field


@pytest.mark.parametrize("id", ["a", "...", "a..b", ".a", "a/b", "a/...", "-/:/@", "x.y/z."])
def test_ids_that_have_an_address(id: str) -> None:
    assert is_addressable(id)
    check_new_id(id.encode())


RESOLVED_AWAY = [".", "..", "/", "//", "/a", "a/", "a//b", "./a", "../a", "a/.", "a/..", "a/../b"]


@pytest.mark.parametrize("id", [*RESOLVED_AWAY, "a/./b", "a/b/", "///", "..//a"])
def test_ids_that_addresses_lose(id: str) -> None:
    assert not is_addressable(id)
    assert field_of(check_new_id, id.encode()) == "id"
    assert check_id("source", id) == id.encode()  # Older ledgers have them.


@pytest.mark.parametrize("asset", ["U/0", "USD/2", "X" * 16 + "/18", "A1/9", "A/10"])
def test_assets_that_are_taken(asset: str) -> None:
    assert check_asset(asset) == asset.encode()


NO_ASSETS = ["", "USD", "USD/", "/2", "usd/2", "1A/2", "USD/19", "USD/02", "USD/-1", "USD/2\n"]


@pytest.mark.parametrize("asset", [*NO_ASSETS, "X" * 17 + "/2", "É/2", "U/٣", b"USD/2", None, 2])
def test_assets_that_are_refused(asset: Any) -> None:
    assert field_of(check_asset, asset) == "asset"


def test_keys_are_visible_ascii_of_255_characters_at_most() -> None:
    for key in ("!", "~", "k" * 255, Text("key")):
        assert check_scope(key, "") == b"\0" + key.encode()
    for bad in ("", "k" * 256, " ", "a b", "a\n", "\x7f", "é", "\0", "\ud800", b"k", None, 1):
        assert field_of(check_scope, bad, "") == "key"


def test_clients_are_255_bytes_at_most_and_have_no_zero_byte() -> None:
    for client in ("", "c" * 255, "é" * 127 + "c", "\ud800", Text("client"), "a b\n"):
        expected = client.encode("utf-8", "surrogatepass") + b"\0k"
        assert check_scope("k", client) == expected
    for bad in ("c" * 256, "é" * 128, "\ud800" * 86, "\0", "a\0b", b"c", None, 1):
        assert field_of(check_scope, "k", bad) == "client"


def test_no_client_and_key_are_taken_for_others() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", "!"), ("ab", "c!")]
    assert len({check_scope(key, client) for client, key in pairs}) == len(pairs)


@pytest.mark.parametrize("amount", [1, 2**63 - 1, np.int8(1), np.uint64(2**63 - 1), Whole()])
def test_amounts_that_are_taken(amount: Any) -> None:
    taken = check_amount(amount)
    assert type(taken) is int and taken == amount.__index__()


@pytest.mark.parametrize("amount", [0, -1, 2**63, -(2**63), np.uint64(2**63), None, *NO_INTEGERS])
def test_amounts_that_are_refused(amount: Any) -> None:
    assert field_of(check_amount, amount) == "amount"


def test_memos_are_256_bytes_of_unicode_at_most() -> None:
    for memo in ("m", "m" * 256, "é" * 128, "\0", Text("memo")):
        assert check_memo(memo) == memo.encode()
    assert check_memo(None) is None and check_memo("") is None
    for bad in ("m" * 257, "é" * 128 + "m", "\ud800", b"memo", 1, True, ["memo"]):
        assert field_of(check_memo, bad) == "memo"


def test_limits_leave_out_the_ends_of_int64_which_stand_for_none() -> None:
    for limit in (-(2**63) + 1, 0, 2**63 - 2, np.int64(-5), np.uint64(5), Whole()):
        taken = check_limit("floor", limit)
        assert type(taken) is int and taken == limit.__index__()
    assert check_limit("floor", None) is None
    for bad in (-(2**63), 2**63 - 1, 2**63, np.uint64(2**63), *NO_INTEGERS):
        for field in ("floor", "ceiling"):
            assert field_of(check_limit, field, bad) == field


def test_zero_lies_within_the_limits_of_a_new_account() -> None:
    for floor, ceiling in [(0, 0), (None, None), (-1, 1), (-(2**63) + 1, 2**63 - 2)]:
        check_opening(floor, ceiling)
    assert field_of(check_opening, 1, None) == "floor"
    assert field_of(check_opening, 0, -1) == "ceiling"


def test_ranges_include_both_ends() -> None:
    for number in (3, 4, 5, np.int16(3), np.uint8(5)):
        taken = check_range("segments", number, 3, 5)
        assert type(taken) is int and taken == number
    for other in (2, 6, -3, 2**64, None):
        assert field_of(check_range, "segments", other, 3, 5) == "segments"
    # A bool is none, even where the number that it stands for lies within.
    for wrong in NO_INTEGERS:
        assert field_of(check_range, "queue_size", wrong, 0, 5) == "queue_size"
