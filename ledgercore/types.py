"""The values that cross the seam: frozen, comparable, and without behaviour.

Money is an int of minor units everywhere. Times are int nanoseconds since the Unix epoch.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .grammar import LSN_MAX
from .status import Status


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stood when it was read. `floor` or `ceiling` None means no limit."""

    id: str
    asset: str
    balance: int
    floor: int | None
    ceiling: int | None
    frozen: bool
    slot: int


class TransferRequest(NamedTuple):
    """A transfer that somebody asks for: what `Submission.add` takes after the client."""

    key: str
    source: str
    target: str
    amount: int
    memo: str | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as the journal holds it, applied or refused.

    `asset` is None where an account did not exist. An account that was named by a slot that holds
    none is `#slot`.
    """

    id: int
    status: Status
    source: str
    target: str
    amount: int
    asset: str | None
    time_ns: int
    memo: str | None


@dataclass(frozen=True, slots=True)
class KeyState:
    """What the engine knows of an idempotency key.

    `state` is "unseen", "applied", "refused" or "expired"; `transfer` is there where the key still
    leads to one.
    """

    state: str
    transfer: Transfer | None


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of a whole-ledger check, at one LSN.

    `sums` is the sum of balances per asset (0 each in a sound ledger); `violations` names what is
    wrong, account by account. `journal_checked` tells whether the journal was replayed by another
    process and compared with memory; if not, `journal_reason` says why, which is no violation. What
    was read and agrees is `journal_from_lsn` to `journal_to_lsn`; where it does not begin at 1, a
    snapshot stands for what came before.
    """

    lsn: int
    accounts: int
    sums: dict[str, int]
    violations: tuple[str, ...]
    journal_checked: bool
    journal_reason: str | None = None
    journal_from_lsn: int | None = None
    journal_to_lsn: int | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations


@dataclass(frozen=True, slots=True)
class SegmentLoad:
    """What one segment has to do, and who does it.

    `queue_depth` counts the transfers that wait for a worker or are being applied; `busy_ns` is how
    long workers, or `Engine.submit` in their stead, have applied transfers since the ledger was
    opened, summed over them. A worker that was retired no longer counts, though it may still finish
    its batch.
    """

    queue_depth: int
    workers: int
    busy_ns: int


@dataclass(frozen=True, slots=True)
class ScrubState:
    """How far the scrub has come.

    `progress` is of the pass that is under way, 0 to 1, by files; `last_pass_ns` is when the last
    one ended, since the Unix epoch, None before the first. `damage` has a sentence for each file
    that was found damaged or missing when it was last looked at.
    """

    passes: int
    bytes: int
    progress: float
    last_pass_ns: int | None
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of a running engine, for operators. Nothing here is needed to use it.

    A ledger gives ids up to `lsn_max`. `clock_lead_ns` is how far logged time is ahead of the wall
    clock, below 0 where it is behind. `groups` counts the frames written since it was opened, each
    with one sync. `queue_depth` and `workers` are sums over `segments`. `scrub` is None where
    nothing is kept on a disk.
    """

    lsn_applied: int
    lsn_durable: int
    clock_lead_ns: int
    accounts: int
    keys: int
    keys_max: int
    queue_depth: int
    workers: int
    durability: str
    groups: int
    recovered_records: int
    recovery_seconds: float
    segments: tuple[SegmentLoad, ...]
    scrub: ScrubState | None = None
    lsn_max: int = LSN_MAX
