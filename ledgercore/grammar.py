"""The grammar of ids, keys, assets and memos, and the range of amounts, once for Python.

This module owns the grammar of account ids, assets and idempotency keys, and the largest and
smallest values. C has them too (src/base.h, src/text.h, src/record.h);
tests/ledgercore/test_grammar.py compares them, byte for byte. It imports nothing of ours, and so
the client library has them from here as well.
"""

import re

KEY_BYTES_MAX = 255
MEMO_BYTES_MAX = 256
AMOUNT_MAX = 2**63 - 1
"""The largest amount, and the largest number of 64 bits."""
BALANCE_MIN = -(2**63) + 1
FLOOR_NONE, CEILING_NONE = -(2**63), 2**63 - 1
"""What stands for no floor and no ceiling in C, where neither can be missing."""
LSN_MAX = 2**47
"""The last id that a ledger gives."""
SUBMISSION_MAX = 1 << 20
"""Transfers of one submission at most: the offsets of their texts have 32 bits."""
SLOT_NONE = 0xFFFFFFFF
"""The slot of an account that does not exist."""

match_account_id = re.compile(r"[A-Za-z0-9._:@/-]{1,64}").fullmatch
match_asset = re.compile(r"[A-Z][A-Z0-9]{0,15}/(?:[0-9]|1[0-8])").fullmatch
match_key = re.compile(r"[\x21-\x7e]{1,255}").fullmatch

_RESOLVED_AWAY = frozenset(("", ".", ".."))
"""The segments of a path that libraries and proxies take out of an address (RFC 3986, 5.2.4)."""


def is_addressable(text: str) -> bool:
    """Whether a path can end in this id or key: no segment of it is empty, `.` or `..`."""
    return _RESOLVED_AWAY.isdisjoint(text.split("/"))
