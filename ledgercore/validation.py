"""Validation of arguments: each check names the field, and returns what the engine takes.

What is taken is told in grammar.py.
"""

from operator import index

import numpy as np
import numpy.typing as npt

from .errors import InvalidArgument
from .grammar import (
    AMOUNT_MAX,
    BALANCE_MIN,
    KEY_BYTES_MAX,
    MEMO_BYTES_MAX,
    is_addressable,
    match_account_id,
    match_asset,
    match_key,
)
from .layouts import TRANSFER

ALIGNMENT_BYTES = 8


def check_id(field: str, value: object) -> bytes:
    """Return an account id as bytes: 1 to 64 of `A-Za-z0-9._:@/-`."""
    if not isinstance(value, str) or match_account_id(value) is None:
        raise InvalidArgument(field, f"{value!r} is not 1 to 64 characters of A-Za-z0-9._:@/-")
    return value.encode()


def check_new_id(id: bytes) -> None:
    """An account that is new has to have an address. Those of older ledgers go on without."""
    name = id.decode()
    if not is_addressable(name):
        raise InvalidArgument("id", f"{name!r} has a segment that is empty, '.' or '..'")


def check_asset(value: object) -> bytes:
    """Return an asset as bytes: a code and its number of decimals, such as `USD/2`."""
    if not isinstance(value, str) or match_asset(value) is None:
        raise InvalidArgument("asset", f"{value!r} is not a code and decimals, such as 'USD/2'")
    return value.encode()


def check_scope(key: object, client: object) -> bytes:
    """Return what a key's fingerprint is taken of: the client, a zero byte, the key."""
    if not isinstance(key, str) or match_key(key) is None:
        raise InvalidArgument("key", "not 1 to 255 visible ASCII characters")
    if not isinstance(client, str) or "\0" in client:
        raise InvalidArgument("client", "not a string without zero bytes")
    scope = client.encode("utf-8", "surrogatepass")
    if len(scope) > KEY_BYTES_MAX:
        raise InvalidArgument("client", "longer than 255 bytes")
    return scope + b"\0" + key.encode()


def check_amount(value: object) -> int:
    """Return an amount: 1 to 2**63 - 1 minor units. A bool or a float is none."""
    try:
        amount = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument("amount", f"{value!r} is not an integer") from None
    if isinstance(value, bool) or not 1 <= amount <= AMOUNT_MAX:
        raise InvalidArgument("amount", f"{value!r} is not 1 to {AMOUNT_MAX}")
    return amount


def check_memo(value: object) -> bytes | None:
    """Return a memo as bytes: at most 256 of UTF-8. An empty one is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidArgument("memo", f"{value!r} is not a string")
    try:
        memo = value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("memo", "not Unicode text") from None
    if len(memo) > MEMO_BYTES_MAX:
        raise InvalidArgument("memo", f"{len(memo)} bytes long, more than {MEMO_BYTES_MAX}")
    return memo or None


def check_limit(field: str, value: object) -> int | None:
    """Return a floor or ceiling: None, or minor units; the ends of int64 stand for None inside."""
    if value is None:
        return None
    try:
        limit = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(field, f"{value!r} is not an integer or None") from None
    if isinstance(value, bool) or not BALANCE_MIN <= limit < AMOUNT_MAX:
        raise InvalidArgument(
            field,
            f"{value!r} is not {BALANCE_MIN} to {AMOUNT_MAX - 1}; where there is to be none, say so"
            " with None",
        )
    return limit


def check_opening(floor: int | None, ceiling: int | None) -> None:
    """An account opens at zero, so zero has to lie within its limits."""
    if floor is not None and floor > 0:
        raise InvalidArgument("floor", f"{floor} is above the opening balance, 0")
    if ceiling is not None and ceiling < 0:
        raise InvalidArgument("ceiling", f"{ceiling} is below the opening balance, 0")


def check_range(field: str, value: object, low: int, high: int) -> int:
    """Return a whole number between `low` and `high`, both included."""
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(field, f"{value!r} is not an integer") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise InvalidArgument(field, f"{value!r} is not between {low} and {high}")
    return number


def check_batch(value: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return rows of TRANSFER as C can read them: in one piece, and aligned."""
    array = np.asarray(value)
    if array.dtype != TRANSFER or array.ndim != 1:
        raise InvalidArgument("batch", "not a one-dimensional array of ledgercore.TRANSFER")
    array = np.ascontiguousarray(array)
    return array if array.ctypes.data % ALIGNMENT_BYTES == 0 else array.copy()
