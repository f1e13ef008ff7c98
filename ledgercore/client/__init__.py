"""The client library: how a program asks a ledger server, once per intent and as often as needed.

What it names here is for everybody, and loaded when it is first asked for: the server, which reads
signatures and leaves a broken collector alone as a client does, loads no more than those. It needs
httpx and msgspec, and nothing of the engine.

    from ledgercore.client import LedgerClient, OutcomeUnknown

    with LedgerClient("http://127.0.0.1:8000") as client:
        result = client.transfer("acct-0", "acct-1", 250)
"""

from typing import TYPE_CHECKING

from ledgercore.deferred import defer

if TYPE_CHECKING:
    from .breaker import CircuitBreaker, CircuitOpen
    from .clients import AsyncLedgerClient, LedgerClient
    from .retries import Backoff, RetryBudget, RetryPolicy
    from .types import (
        AccountRecord,
        AuditReport,
        KeyRecord,
        LedgerClientError,
        NotExecuted,
        OutcomeUnknown,
        Problem,
        ProblemError,
        TransferIntent,
        TransferRecord,
        TransferRefused,
        TransferResult,
    )

__all__ = [
    "AccountRecord",
    "AsyncLedgerClient",
    "AuditReport",
    "Backoff",
    "CircuitBreaker",
    "CircuitOpen",
    "KeyRecord",
    "LedgerClient",
    "LedgerClientError",
    "NotExecuted",
    "OutcomeUnknown",
    "Problem",
    "ProblemError",
    "RetryBudget",
    "RetryPolicy",
    "TransferIntent",
    "TransferRecord",
    "TransferRefused",
    "TransferResult",
]

# In this order, the light ones first.
_MODULES = ("breaker", "types", "retries", "clients")

if not TYPE_CHECKING:  # or every name would be taken for one that is here
    __getattr__ = defer(__name__, __all__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
