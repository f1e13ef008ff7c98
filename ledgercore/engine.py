"""The engine: a ledger, its journal and its threads, opened, used and closed as one.

It joins what does not know of each other: `ledger` never does I/O, `journal` never knows balances.
What it returns is durable, save where a docstring says otherwise. Any thread may call anything.
"""

import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from . import accounts as rows
from .auditing import Auditor
from .errors import EngineFailed, InvalidArgument
from .executor import Executor
from .fault_injection import FaultInjection
from .grammar import AMOUNT_MAX, SUBMISSION_MAX
from .layouts import OUTCOME
from .ledger import Ledger
from .logged_time import read_lead_ns
from .lookups import Lookups
from .measures import Measures, read_measures
from .opening import Opened
from .options import Options
from .outcome import Outcome
from .replay import count_keys, last_lsn
from .store import Maintenance
from .submission import Submission
from .types import Account, Audit, KeyState, Statistics, Transfer
from .validation import (
    check_asset,
    check_batch,
    check_id,
    check_limit,
    check_opening,
    check_range,
    check_scope,
)
from .workers import Workers

UNCHANGED: Any = object()


class Engine:
    """A ledger that is open. Made by `ledgercore.open`; close it, or use it in a `with` block."""

    def __init__(self, options: Options, opened: Opened) -> None:
        self.options = options
        self.path = opened.store.place if opened.store else ""
        self.durability = options.durability
        self.segments = options.segments
        self.batch_max = options.batch_max
        self.recovered = opened.recovered
        self._opened = opened
        self._ledger: Ledger = opened.ledger
        self._process = os.getpid()
        self._executor = Executor(
            opened.ledger,
            opened.journal,
            options.segments,
            options.queue_size,
            options.batch_max,
            bool(options.instruments),
        )
        self._lookups = Lookups(opened.ledger, self._executor, opened.store)
        self._auditor = Auditor(opened.ledger, self._executor, opened.store, options.capacity)
        self._workers = Workers(self._executor, options.workers_max)
        self.fault_injection = FaultInjection(self._executor, self._workers)
        self._journal_thread: threading.Thread | None = None
        self._maintenance: Maintenance | None = None
        self._close_lock = threading.Lock()
        self._closed = False
        try:
            self._start_threads()
        except BaseException:
            self.close()
            raise

    def _start_threads(self) -> None:
        """Start the native threads: each takes the GIL once to get going, and not again."""
        for segment in range(self.segments):
            self._workers.set_count(segment, self.options.workers_min)
        if self._opened.store is not None:
            thread = threading.Thread(None, self._executor.run_journal, "journal", daemon=True)
            thread.start()
            self._journal_thread = thread
            self._maintenance = self._auditor.maintenance = self._opened.store.start_maintenance()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("an Engine holds a directory and threads, and has no copy")

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2)
            self.close()

    def close(self) -> None:
        """Take no more work, finish what was taken, sync, seal, and let go of the directory."""
        with self._close_lock:
            if self._closed or os.getpid() != self._process:
                return
            # Each step can be repeated, so an interrupted close can be called again.
            self._executor.stop_intake()
            self._workers.join()
            self._executor.drain()
            if self._journal_thread is not None:
                self._journal_thread.join()
            if self._maintenance is not None:
                self._maintenance.stop()
            try:
                if self.failure is None:
                    self._opened.close()
            except OSError as error:
                raise EngineFailed(f"the journal cannot be sealed: {error.strerror}") from error
            finally:
                self._closed = True
                self._opened.release()

    @property
    def failure(self) -> str | None:
        """Why the engine has stopped for good, or None."""
        return self._executor.failure

    # -- accounts ---------------------------------------------------------------------------------

    def open_account(
        self,
        id: str,
        *,
        asset: str,
        floor: int | None = 0,
        ceiling: int | None = None,
        frozen: bool = False,
    ) -> Account:
        """Open an account; the same call again returns the account.

        `floor` and `ceiling` bound its balance in minor units, None means no bound. Raises
        InvalidArgument, AccountExists (same id, other settings), CapacityExceeded.
        """
        slot, lsn = self._open_one(id, asset, floor, ceiling, frozen, wait=True)
        if lsn == 0:
            # It was there already, but maybe not yet on the disk.
            self._executor.wait()
        return self._read(slot)

    def open_accounts(
        self,
        ids: Iterable[str],
        *,
        asset: str,
        floor: int | None = 0,
        ceiling: int | None = None,
    ) -> npt.NDArray[np.uint32]:
        """Open many accounts with one wait for the disk; returns their slots, shape (n,)."""
        slots = [self._open_one(id, asset, floor, ceiling, False, wait=False)[0] for id in ids]
        self._executor.wait()
        return np.array(slots, np.uint32)

    def _open_one(
        self, id: str, asset: str, floor: int | None, ceiling: int | None, frozen: bool, wait: bool
    ) -> tuple[int, int]:
        name, kind = check_id("id", id), check_asset(asset)
        floor, ceiling = check_limit("floor", floor), check_limit("ceiling", ceiling)
        check_opening(floor, ceiling)
        return self._executor.open_account(name, kind, floor, ceiling, bool(frozen), wait)

    def change_account(
        self,
        id: str,
        *,
        floor: int | None = UNCHANGED,
        ceiling: int | None = UNCHANGED,
        frozen: bool = UNCHANGED,
    ) -> Account:
        """Change the settings that are given. Raises AccountNotFound, LimitConflict."""
        check_id("id", id)
        slot = rows.find_slot(self._ledger, id)
        # Only what is given is checked; the rest is read and written under the account's lock.
        changes: dict[str, Any] = {}
        if floor is not UNCHANGED:
            changes["floor"] = check_limit("floor", floor)
        if ceiling is not UNCHANGED:
            changes["ceiling"] = check_limit("ceiling", ceiling)
        if frozen is not UNCHANGED:
            changes["frozen"] = bool(frozen)
        lsn = self._executor.change_account(slot, changes)
        if lsn == 0:
            self._executor.wait()
        return self._read(slot)

    def _read(self, slot: int) -> Account:
        account: Account = rows.read_account(self._ledger, slot)
        self._executor.wait()
        return account

    def account(self, id: str) -> Account:
        """The account as it stands. Raises AccountNotFound."""
        return self._read(rows.find_slot(self._ledger, id))

    def accounts(self, start: int = 0, limit: int = 100) -> list[Account]:
        """The accounts from slot `start` on, in the order in which they were opened."""
        found = self.peek_accounts(start, limit)
        self._executor.wait()
        return found

    def peek_account(self, id: str) -> Account:
        """The account as it stands, maybe not yet durable: wait on a `barrier` before telling."""
        return rows.read_account(self._ledger, rows.find_slot(self._ledger, id))

    def peek_accounts(self, start: int = 0, limit: int = 100) -> list[Account]:
        """As `accounts`, maybe not yet durable: wait on a `barrier` before telling."""
        check_range("start", start, 0, AMOUNT_MAX)
        check_range("limit", limit, 0, AMOUNT_MAX)
        end = min(start + limit, rows.account_count(self._ledger))
        return [rows.read_account(self._ledger, slot) for slot in range(start, end)]

    def balance(self, id: str) -> int:
        """The balance of an account in minor units. Raises AccountNotFound."""
        return self.account(id).balance

    def slots(self, ids: Sequence[str]) -> npt.NDArray[np.uint32]:
        """The slots of accounts, shape (n,). Raises AccountNotFound, naming the id."""
        return rows.find_slots(self._ledger, ids)

    @property
    def balances(self) -> npt.NDArray[np.int64]:
        """A read-only view of all balances by slot, shape (accounts,). Live, not yet durable."""
        return rows.balances(self._ledger)

    # -- transfers, in the caller's thread --------------------------------------------------------

    def transfer(
        self,
        source: str,
        target: str,
        amount: int,
        *,
        key: str,
        client: str = "",
        memo: str | None = None,
    ) -> Outcome:
        """Move `amount` minor units, at most once per (client, key). A refusal is an Outcome too.

        Raises InvalidArgument, EngineClosed, EngineFailed, OutcomeUnknown.
        """
        submission = Submission(self._ledger, 1, False)
        submission.add(client, key, source, target, amount, memo)
        self._executor.apply_submission(submission)
        return submission.outcome(0)

    def transfer_batch(self, batch: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Apply rows of TRANSFER in their order; returns rows of OUTCOME, shape (n,).

        Durable when it returns. `batch` must not change meanwhile. Raises what `transfer` raises.
        """
        array = check_batch(batch)
        outcomes = np.zeros(len(array), OUTCOME)
        if len(array) > 0:
            self._executor.apply_batch(array.view(np.uint8), outcomes.view(np.uint8))
        return outcomes

    def fingerprint(self, key: str, client: str = "") -> bytes:
        """The 16 bytes that stand for (client, key) in `TRANSFER["key"]`."""
        return self._ledger.fingerprint(check_scope(key, client))

    def fingerprints(self, keys: Sequence[str], client: str = "") -> npt.NDArray[np.void]:
        """The fingerprints of many keys of one client, dtype V16, shape (n,)."""
        joined = b"".join(self.fingerprint(key, client) for key in keys)
        return np.frombuffer(joined, "V16").copy()

    # -- transfers, without waiting ---------------------------------------------------------------

    def segment_of(self, source: str) -> int:
        """The segment whose queue takes the transfers of this account."""
        if self.segments == 1:
            return 0
        return int(self._ledger.segment_hash(source.encode()) % self.segments)

    def new_submission(self, count_max: int | None = None, keeps_names: bool = True) -> Submission:
        """An empty micro-batch with room for `count_max` transfers, or else `batch_max`.

        It is applied in its order by one worker. One of more than `queue_size` is never taken.
        """
        room = min(self.batch_max, self.options.queue_size) if count_max is None else count_max
        room = check_range("count_max", room, 1, SUBMISSION_MAX)
        return Submission(self._ledger, room, keeps_names)

    def submit(self, submission: Submission, segment: int = 0) -> bool:
        """Queue a submission, or apply it here where that is quick; whether it was queued.

        Never blocks. Raises QueueFull, EngineFailed, EngineClosed.
        """
        if not 0 <= segment < self.segments:
            raise InvalidArgument("segment", f"{segment} is not 0 to {self.segments - 1}")
        return self._executor.submit(submission, segment)

    def look_up(self, submission: Submission) -> None:
        """Answer what is late, or was never submitted, from its keys, without applying anything.

        It completes, again. May miss what is under way. Raises EngineFailed, EngineClosed.
        """
        self._executor.look_up(submission)

    def barrier(self, lsn: int | None = None) -> Submission:
        """Submit an empty submission that completes once `lsn` is durable; never blocks.

        Without `lsn`: once all that is applied now is durable.
        """
        submission = Submission(self._ledger, 0, False)
        self._executor.barrier(submission, lsn)
        return submission

    def fileno(self) -> int:
        """An eventfd that is readable while `completed` has something to return."""
        return self._executor.event_fd

    def completed(self) -> list[Submission]:
        """The submissions that have completed since the last call; clears the eventfd."""
        return self._executor.completed()

    # -- the workers ------------------------------------------------------------------------------

    @property
    def workers(self) -> list[int]:
        """How many workers each segment has; who was retired does not count any more."""
        return self._workers.counts

    def set_workers(self, segment: int, count: int) -> None:
        """Give a segment 1 to `workers_max` workers. One that is retired finishes its batch first.

        Raises InvalidArgument, EngineClosed, and RuntimeError where no thread can be started.
        """
        self._workers.set_count(segment, count)

    def stall(self, segment: int, stalled: bool = True) -> None:
        """Let the workers of a segment take no batch until told otherwise, or until the end.

        What is submitted to it waits in its queue. Raises InvalidArgument.
        """
        segment = check_range("segment", segment, 0, self.segments - 1)
        self._executor.stall(segment, stalled)

    # -- the past, and the whole ------------------------------------------------------------------

    def find_transfer(self, id: int) -> Transfer | None:
        """The transfer with this id, applied or refused, or None.

        In memory only the newest are held, and no memos.
        """
        return self._lookups.find_transfer(id)

    def find_key(self, key: str, client: str = "") -> KeyState:
        """What the engine knows of a key. Raises InvalidArgument."""
        return self._lookups.find_key(self.fingerprint(key, client))

    def audit(self, *, journal: bool = False) -> Audit:
        """Check the sums and limits; with `journal`, another process replays the journal as well.

        The checks see one instant: all stripes are held while the balances are copied.
        """
        return self._auditor.audit(journal=journal)

    def statistics(self) -> Statistics:
        """Counters for operators."""
        ledger, loads = self._ledger, self._workers.loads()
        return Statistics(
            lsn_applied=last_lsn(ledger),
            lsn_durable=self._executor.durable_lsn,
            clock_lead_ns=read_lead_ns(ledger),
            accounts=rows.account_count(ledger),
            keys=count_keys(ledger),
            keys_max=self.options.keys_max,
            queue_depth=sum(load.queue_depth for load in loads),
            workers=sum(load.workers for load in loads),
            durability=self.durability,
            groups=self._executor.group_count,
            recovered_records=0 if self.recovered is None else self.recovered.records,
            recovery_seconds=0.0 if self.recovered is None else self.recovered.seconds,
            segments=loads,
            scrub=None if self._maintenance is None else self._maintenance.scrub_state,
        )

    def measures(self) -> Measures:
        """What was counted and timed since it was opened."""
        return read_measures(self._executor)

    def __repr__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return f"<ledgercore.Engine, durability={self.durability}{where}>"
