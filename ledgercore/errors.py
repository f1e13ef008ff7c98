"""The errors of the engine: wrong arguments, damaged files, and failures of the system.

A declined transfer is not here: it is a `Status`, and becomes an error only where a caller asks for
one. Each class stands for one way to act on it.
"""

from typing import Any


class LedgerError(Exception):
    """The root of everything that the engine raises on purpose."""


class InvalidArgument(LedgerError, ValueError):
    """An argument is outside its documented range. `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type["InvalidArgument"], tuple[str, str]]:
        """Support pickle: `args` alone would not make the error again."""
        return type(self), (self.field, self.message)


class AccountNotFound(LedgerError, KeyError):
    """No account has this id."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "no such account"


class AccountExists(LedgerError):
    """The id is taken by an account with another asset, floor, ceiling or frozen flag."""


class LimitConflict(LedgerError):
    """The account's balance is already outside the floor or ceiling that was asked for."""


class CapacityExceeded(LedgerError):
    """A table with a stated size (accounts, assets) is full."""


class QueueFull(LedgerError):
    """The bounded queue has no room. Nothing was taken; try again later with the same key."""


class EngineClosed(LedgerError):
    """The engine was closed before the work was taken. Nothing was taken."""


class EngineForked(LedgerError):
    """The engine belongs to the process that opened it, and this is a child that was forked."""


class ClockRefused(LedgerError):
    """The wall clock is so far behind what was logged that one of them has to be wrong."""


class EngineFailed(LedgerError):
    """A write or sync of the journal failed, so the engine has stopped for good.

    Nothing of this call was taken.
    """


class OutcomeUnknown(LedgerError):
    """The journal failed under this call: what it did may or may not be on the disk.

    Ask again, with the same key, after a restart.
    """


class MemoryUnavailable(LedgerError, MemoryError):
    """There is not enough memory or address space for the tables, or for the threads."""


class TransferRefused(LedgerError):
    """`Outcome.raise_if_refused` was called on one that is not applied: no money has moved.

    `outcome` is that Outcome, which says why; its module, which raises this, is above this one.
    """

    def __init__(self, outcome: Any) -> None:
        super().__init__(f"transfer {outcome.id}: {outcome.status.name}")
        self.outcome = outcome

    def __reduce__(self) -> tuple[type["TransferRefused"], tuple[Any]]:
        """Support pickle: `args` alone would not make the error again."""
        return type(self), (self.outcome,)


class DirectoryLocked(LedgerError):
    """Another process holds the data directory."""


class DirectoryUnusable(LedgerError):
    """The data directory cannot be created, read or written, or its disk is full."""


class FormatTooNew(LedgerError):
    """The directory holds what a newer ledgercore wrote: no damage, and nothing was touched.

    The message names the file. Use the program that wrote it, or a newer one.
    """


class JournalDamaged(LedgerError):
    """The journal, the seal or a snapshot holds bytes that the engine did not write.

    The message names the file, the offset and the LSN.
    """


def too_new(place: str) -> FormatTooNew:
    """What to raise where a newer program wrote."""
    return FormatTooNew(f"{place}: this was written by a newer ledgercore; it is left as it is")
