"""The grammar of addresses: ids and keys in the path, pages and switches in the query."""

import pytest

from service import problems
from service.addresses import (
    decode_cursor,
    encode_cursor,
    read_page,
    read_path_account,
    read_path_key,
    read_switch,
    read_transfer_id,
)
from service.problems import Problem
from service.requests import INT64_MAX


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        (str(INT64_MAX), INT64_MAX),
        ("0", None),
        ("01", None),
        ("-1", None),
        ("1.0", None),
        ("x", None),
        ("١", None),
        (str(2**63), None),
        ("9" * 30, None),
    ],
)
def test_transfer_id(text: str, number: int | None) -> None:
    assert read_transfer_id(text) == number


def test_path_parts_are_unquoted_once() -> None:
    assert read_path_account("a%2Fb") == "a/b"
    assert read_path_key("a%2525b") == "a%25b"


@pytest.mark.parametrize("text", ["", "a%20b", "a" * 65, "%ff"])
def test_bad_path_account(text: str) -> None:
    with pytest.raises(Problem) as caught:
        read_path_account(text)
    assert caught.value.kind is problems.ACCOUNT_NOT_FOUND


@pytest.mark.parametrize("text", ["", "a%20b", "k" * 256])
def test_bad_path_key(text: str) -> None:
    with pytest.raises(Problem) as caught:
        read_path_key(text)
    assert caught.value.kind is problems.MALFORMED


def test_page() -> None:
    page = read_page("")
    assert (page.start, page.limit) == (0, 100)
    page = read_page(f"limit=1000&cursor={encode_cursor(77)}")
    assert (page.start, page.limit) == (77, 1000)


@pytest.mark.parametrize("slot", [0, 1, 2**32 - 1])
def test_cursor_round_trip(slot: int) -> None:
    assert decode_cursor(encode_cursor(slot)) == slot


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=",
        "limit=ten",
        "limit=1&limit=2",
        "cursor=",
        "cursor=AAAA",
        "cursor=________",
        "cursor=AAAAAAA!",
        "cursor=ä",
        "page=2",
    ],
)
def test_bad_page(query: str) -> None:
    with pytest.raises(Problem) as caught:
        read_page(query)
    assert caught.value.kind is problems.MALFORMED
    assert caught.value.errors


def test_switch() -> None:
    assert read_switch("", "journal") is True
    assert read_switch("journal=false", "journal") is False
    with pytest.raises(Problem):
        read_switch("journal=no", "journal")
