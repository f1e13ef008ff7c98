"""ledgercore: a durable, idempotent, concurrent ledger of money transfers, as a library.

This file is the seam: what it does not name, nobody above uses. The engine is loaded when something
of it is first asked for, since `ledgercore.client` is in this package too, and needs none of it.
"""

import os
from typing import TYPE_CHECKING, Unpack

from .deferred import defer

if TYPE_CHECKING:
    from .engine import Engine
    from .errors import (
        AccountExists,
        AccountNotFound,
        CapacityExceeded,
        ClockRefused,
        DirectoryLocked,
        DirectoryUnusable,
        EngineClosed,
        EngineFailed,
        EngineForked,
        FormatTooNew,
        InvalidArgument,
        JournalDamaged,
        LedgerError,
        LimitConflict,
        MemoryUnavailable,
        OutcomeUnknown,
        QueueFull,
        TransferRefused,
    )
    from .grammar import (
        AMOUNT_MAX,
        MEMO_BYTES_MAX,
        is_addressable,
        match_account_id,
        match_asset,
        match_key,
    )
    from .histogram import Histogram
    from .history import JournalEntry, read_journal
    from .layouts import OUTCOME, TRANSFER
    from .measures import Measures
    from .options import (
        DURABILITIES,
        OPTION_RANGES,
        WORKERS_MAX,
        OpenOptions,
        Options,
        option,
    )
    from .outcome import Outcome
    from .recorder import Recorder
    from .repairing import Repair, repair
    from .status import Status
    from .submission import Submission
    from .types import (
        Account,
        Audit,
        KeyState,
        ScrubState,
        SegmentLoad,
        Statistics,
        Transfer,
        TransferRequest,
    )
    from .verification import Inspection, Verification, compact, inspect, verify

__version__ = "0.2.0"

__all__ = [
    "AMOUNT_MAX",
    "DURABILITIES",
    "MEMO_BYTES_MAX",
    "OPTION_RANGES",
    "OUTCOME",
    "TRANSFER",
    "WORKERS_MAX",
    "Account",
    "AccountExists",
    "AccountNotFound",
    "Audit",
    "CapacityExceeded",
    "ClockRefused",
    "DirectoryLocked",
    "DirectoryUnusable",
    "Engine",
    "EngineClosed",
    "EngineFailed",
    "EngineForked",
    "FormatTooNew",
    "Histogram",
    "Inspection",
    "InvalidArgument",
    "JournalDamaged",
    "JournalEntry",
    "KeyState",
    "LedgerError",
    "LimitConflict",
    "Measures",
    "MemoryUnavailable",
    "Options",
    "Outcome",
    "OutcomeUnknown",
    "QueueFull",
    "Recorder",
    "Repair",
    "ScrubState",
    "SegmentLoad",
    "Statistics",
    "Status",
    "Submission",
    "Transfer",
    "TransferRefused",
    "TransferRequest",
    "Verification",
    "__version__",
    "compact",
    "inspect",
    "is_addressable",
    "match_account_id",
    "match_asset",
    "match_key",
    "open",
    "option",
    "read_journal",
    "repair",
    "verify",
]

# In this order, the light ones first.
_MODULES = (
    "errors",
    "grammar",
    "status",
    "types",
    "layouts",
    "histogram",
    "recorder",
    "outcome",
    "submission",
    "measures",
    "history",
    "options",
    "engine",
    "verification",
    "repairing",
)

if not TYPE_CHECKING:  # or every name would be taken for one that is here
    __getattr__ = defer(__name__, __all__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def open(path: str | os.PathLike[str] | None = None, **options: "Unpack[OpenOptions]") -> "Engine":
    """Open (or create) the ledger in the directory `path`.

    `durability` is "sync" (what is answered is on the disk) or "memory" (no journal: for tests and
    comparisons; `path` may be None). `segments` queues begin with `workers_min` threads
    each, and `Engine.set_workers` gives them up to `workers_max`; `queue_size` transfers wait in
    each at most, `batch_max` go through at once. `accounts_max` and `keys_max` bound the memory,
    which is reserved and committed lazily: 200 bytes a key, 64 bytes and its id an account; memory
    for `keys_reserved` keys is committed at the start, so that the table need not grow under load.
    Keys are kept for `key_ttl_s` at least, and for as long again: so make `keys_max` twice as many
    as come in that time. `accept_clock` 1 opens a ledger whose logged time is more than a day ahead
    of the wall clock, and has the wall clock believed where it is ahead. A journal file has
    `segment_bytes`; a snapshot is made every `snapshot_every` files (0: never). What is sealed is
    read again after the start, and then every `scrub_interval_s` (0: never), at
    `scrub_bytes_per_s`. `instruments` 0 measures nothing of itself.

    Raises InvalidArgument, DirectoryLocked, DirectoryUnusable, JournalDamaged, FormatTooNew,
    ClockRefused, MemoryUnavailable.
    """
    from .engine import Engine
    from .errors import InvalidArgument
    from .memory import shortage_explained
    from .opening import open_in_memory, open_store, store_at
    from .options import Options
    from .ownership import keep_here

    checked = Options(**options)
    with shortage_explained():
        if checked.durability == "memory":
            return keep_here(Engine(checked, open_in_memory(checked)))
        if path is None:
            raise InvalidArgument("path", "a durable ledger needs a directory")
        return keep_here(Engine(checked, open_store(store_at(path), checked)))
