"""The outcome of a transfer, as Python sees it: the mirror of `enum lc_status` in src/status.h.

A decline is a value, never an exception. `tests/ledgercore/test_status.py` reads both enums, so
that they cannot drift. What a status means over HTTP is told once, in `service/wire/problems.py`.
"""

from enum import IntEnum


class Status(IntEnum):
    """What became of a transfer.

    Values below 64 are outcomes: they take an id, are logged, and stick to their key. Values from
    64 on are rejections: the ledger stored nothing, and the key is still free (or still holds
    what it held before).
    """

    APPLIED = 0
    """The money has moved."""
    SOURCE_NOT_FOUND = 1
    """No account has the source's id."""
    TARGET_NOT_FOUND = 2
    """No account has the target's id."""
    SAME_ACCOUNT = 3
    """Source and target are one account."""
    ASSET_MISMATCH = 4
    """Source and target hold different assets."""
    SOURCE_FROZEN = 5
    """The source account is frozen."""
    TARGET_FROZEN = 6
    """The target account is frozen."""
    INSUFFICIENT_FUNDS = 7
    """The source would end below its floor."""
    CEILING_EXCEEDED = 8
    """The target would end above its ceiling."""
    BALANCE_OVERFLOW = 9
    """A balance would leave the range of int64."""

    KEY_MISSING = 64
    """The key is all zero bytes, which is what a forgotten key looks like."""
    AMOUNT_INVALID = 65
    """The amount is not positive."""
    KEY_REUSED = 66
    """The key already belongs to a transfer with another payload, which is untouched."""
    KEYS_FULL = 67
    """The key table is full, and it never forgets early."""
    DEADLINE_PASSED = 68
    """Its deadline passed before the kernel took it, so it never will; its key was not known."""
    KEY_EXPIRED = 69
    """The key was used for this transfer, longer ago than keys are kept; `id` is that one's."""
    LEDGER_FULL = 70
    """The ledger has given all its ids, 2**47 of them, and takes nothing more."""

    @property
    def is_outcome(self) -> bool:
        """Whether the transfer was taken into the ledger, applied or refused."""
        return self < Status.KEY_MISSING
