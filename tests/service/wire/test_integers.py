"""Whole numbers as strings: one canonical form, and everything else stays what it was."""

from typing import Any

import pytest

from ledgercore.service.wire.integers import read_integer, read_integers

NUMBERS = [0, 1, -1, 250, 2**53 + 1, 2**63 - 1, -(2**63), 10**19]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_string_is_its_number(number: int) -> None:
    assert read_integer(str(number)) == read_integer(number) == number


OTHERS = [
    "",
    "-",
    "+1",
    "01",
    "-01",
    "-0",
    "00",
    " 1",
    "1 ",
    "1\n",
    "1.0",
    "1e2",
    "1_0",
    "0x1",
    "٣",
]


@pytest.mark.parametrize("value", [*OTHERS, "9" * 21, None, True, 1.0, b"1", ["1"], {"a": "1"}])
def test_everything_else_stays(value: Any) -> None:
    assert read_integer(value) is value


def test_members_are_numbers_by_their_names() -> None:
    members = {"amount": "5", "floor": "-5", "ceiling": None, "from": "7", "memo": "8"}
    assert read_integers(members) == members | {"amount": 5, "floor": -5}
    plain = {"amount": 5, "memo": "8"}
    assert read_integers(plain) is plain
