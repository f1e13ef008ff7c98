"""Whole numbers in requests: as JSON numbers, or as strings of their digits.

Amounts, limits and quotas have 64 bits, and the numbers of JavaScript are exact to 2**53 only. So
what a client writes as a string is the same number, and the same payload. Only the one canonical
form is taken: no plus sign, no zeros before it, no space, no fraction.
"""

import re
from typing import Any

MEMBERS = ("amount", "floor", "ceiling", "client_quota", "quota")
"""The members that may come in both forms."""

_match_canonical = re.compile(r"0|-?[1-9][0-9]{0,19}").fullmatch


def read_integer(value: Any) -> Any:
    """Return the number that a string stands for, and everything else as it is."""
    return int(value) if type(value) is str and _match_canonical(value) else value


def read_integers(members: dict[str, Any]) -> dict[str, Any]:
    """Return members that were checked, with numbers in place of strings that stand for them."""
    numbers = {name: int(members[name]) for name in MEMBERS if type(members.get(name)) is str}
    return members | numbers if numbers else members
