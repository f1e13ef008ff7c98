"""What the client library tells its callers: the values of answers, and the errors.

This module owns their shapes. It never sends anything, and never reads a body.
"""

from typing import Any, Literal, NoReturn, Self

import msgspec

TransferStatus = Literal["applied", "refused", "not-stored"]

_RENAMED = {"source": "from", "target": "to"}


class TransferIntent(msgspec.Struct, frozen=True):
    """A transfer to ask for, in minor units. Without a key, the client makes one."""

    source: str
    target: str
    amount: int
    memo: str | None = None
    key: str | None = None


class TransferResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a transfer: it was applied, or the ledger has refused it, for good.

    `id` is the number of the transfer and `created_at` its time (RFC 3339, UTC). `reason` is None
    for an applied one, and the name of the refusal otherwise, such as `insufficient-funds`;
    `detail` is a sentence about it. `replayed` says that an earlier try was executed, and this is
    its answer. `asset` is None where an account did not exist, and in the answer to many transfers.

    There the status may also be `not-stored`: by this call the server stored nothing for that one.
    `reason` says why (`idempotency-key-reused`, `quota-exceeded`), and `id` is 0; an
    `idempotency-key-expired` comes with the id of the transfer that the key was used for.
    """

    key: str
    id: int
    status: TransferStatus
    source: str
    target: str
    amount: int
    created_at: str
    asset: str | None = None
    reason: str | None = None
    detail: str | None = None
    replayed: bool = False

    @property
    def is_applied(self) -> bool:
        """Whether the money has moved."""
        return self.status == "applied"

    def raise_if_refused(self) -> Self:
        """Return the result of an applied transfer. Raises TransferRefused for any other."""
        if not self.is_applied:
            raise TransferRefused(self)
        return self

    def __bool__(self) -> NoReturn:
        """Raise TypeError: a refused transfer would otherwise be as true as an applied one."""
        raise TypeError(
            "a TransferResult is neither true nor false: ask is_applied, or call raise_if_refused()"
        )


class TransferRecord(msgspec.Struct, frozen=True, kw_only=True, rename=_RENAMED):
    """A transfer of the past, as it is stored."""

    id: int
    status: Literal["applied", "refused"]
    source: str
    target: str
    amount: int
    created_at: str
    reason: str | None = None
    asset: str | None = None
    memo: str | None = None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows of an idempotency key. The transfer is there while it is kept."""

    key: str
    state: Literal["unseen", "applied", "refused", "expired"]
    transfer: TransferRecord | None = None


class AccountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An account, in minor units of its asset. A floor or a ceiling of None is no limit."""

    id: str
    asset: str
    balance: int
    floor: int | None
    ceiling: int | None
    frozen: bool


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """The check of a whole ledger. `sums` is that of the balances per asset: 0 if it is sound.

    Where the journal was not checked, `journal_reason` says why. What was read of it and agrees is
    `journal_from_lsn` to `journal_to_lsn`; a snapshot stands for what came before.
    """

    ok: bool
    lsn: int
    accounts: int
    sums: dict[str, int]
    violations: list[str]
    journal_checked: bool
    journal_reason: str | None = None
    journal_from_lsn: int | None = None
    journal_to_lsn: int | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as a server tells it (RFC 9457).

    `name` is the stable end of its type, such as `malformed`, and empty for what is no problem of a
    ledger server. Each of `errors` says where (`pointer`, `header` or `parameter`), `code` and
    `detail`.
    """

    name: str
    http_status: int
    detail: str
    errors: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.name or 'no problem document'} ({self.http_status}): {self.detail}"


class LedgerClientError(Exception):
    """Every error of the client. Whether money may have moved is told by its class.

    `keys` are the idempotency keys of what was asked for: to ask again with the same key is always
    safe. `tries` counts what was tried, `problem` is the last that a server has told.
    """

    def __init__(
        self,
        message: str,
        keys: tuple[str, ...] = (),
        tries: int = 0,
        problem: Problem | None = None,
    ) -> None:
        super().__init__(message)
        self.keys = keys
        self.tries = tries
        self.problem = problem

    @property
    def key(self) -> str | None:
        """The idempotency key, if there is exactly one."""
        return self.keys[0] if len(self.keys) == 1 else None


class ProblemError(LedgerClientError):
    """The server has refused the request for good; `problem` says why.

    No try of this call was executed. Of an earlier call with the same key it says nothing.
    """

    problem: Problem


class TransferRefused(LedgerClientError):
    """`TransferResult.raise_if_refused` was called on one that is not applied: no money has moved.

    `result` says why.
    """

    def __init__(self, result: TransferResult) -> None:
        reason = result.detail or result.reason or result.status
        super().__init__(f"transfer {result.id}: {reason}", (result.key,))
        self.result = result

    def __reduce__(self) -> tuple[type["TransferRefused"], tuple[TransferResult]]:
        """Support pickle: `args` alone would not make the error again."""
        return type(self), (self.result,)


class NotExecuted(LedgerClientError):
    """There was no answer to be had, and no try of this call was executed.

    Each was turned away before that, or never reached the server; or the request only reads. With a
    key that no other call has used nothing has moved. What an earlier call with it has come to,
    `find_key(error.key)` tells, or the same call again.
    """


class OutcomeUnknown(LedgerClientError):
    """A try may have been executed, and no answer tells.

    Ask `find_key(error.key)`, or for the same transfer again with `key=error.key`, which moves
    money only if it has not moved. Never ask with another key.
    """
