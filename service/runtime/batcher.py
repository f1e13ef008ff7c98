"""The batcher: single requests to micro-batches and back, in one turn of the event loop.

This module owns what is under way between the loop and the engine: which request waits for which
row of which submission, and how much that is. A batch is what has arrived in one turn, and leaves
at the end of that turn; the clock only tells how long each was away. It never judges a transfer,
and never keeps one.
"""

import asyncio
from collections.abc import Callable
from copy import copy

from ledgercore import EngineFailed, LedgerError, QueueFull, Submission, TransferRequest

from ..admission.admission import Admission, Charge, Client
from ..chaos.faults import FaultInjector
from ..engine_port import EnginePort
from ..process.callbacks import ignore
from ..scaling.inflight import Regulator
from ..wire.problems import (
    DEADLINE_PASSED,
    NOT_STORED,
    OUTCOME_UNKNOWN,
    QUOTA_EXCEEDED,
    Busy,
    Kind,
    Problem,
)
from .key_lookups import KeyLookups
from .open_batch import FutureWaiter, OpenBatch, OpenBatches, Waiter, deliver, refund


class Batcher:
    """Submits requests to an engine in batches. Belongs to one event loop, used only in it.

    What waits here is bounded by the engine's queue, since a request waits only while its
    submission is open for the rest of a turn, or taken by the engine.
    """

    def __init__(
        self,
        engine: EnginePort,
        admission: Admission,
        loop: asyncio.AbstractEventLoop,
        on_failure: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._loop = loop
        self._on_failure = on_failure
        self.on_queued: Callable[[], None] = ignore
        """Called when a submission has to wait for a worker."""
        self.on_work: Callable[[], None] = ignore
        """Called before work is handed to the engine."""
        self.fault_injector: FaultInjector | None = None
        """What injects faults, while a plan asks for some."""
        self._in_flight = admission.in_flight
        self.regulator = Regulator(self._in_flight)
        self._placed_ns: dict[Submission, int] = {}
        self.batches = OpenBatches(engine)
        self._waiters: dict[Submission, list[Waiter]] = {}
        self.lookups = KeyLookups(engine, self._waiters, self._miss)
        admission.is_look_up_full = lambda: self.lookups.is_full
        self._barrier_waiters: list[Waiter] = []
        self._is_flush_due = False
        self._idle: asyncio.Future[None] | None = None
        loop.add_reader(engine.fileno(), self._collect)

    def close(self) -> None:
        """Stop watching the engine. To be called before the engine is closed."""
        self._loop.remove_reader(self._engine.fileno())

    def place(self, segment: int) -> OpenBatch:
        """Return the batch of a segment with a submission open on it.

        Who puts a row in appends its waiter, and submits what is full.
        """
        batch = self.batches.of_segments[segment]
        if batch.submission is None:
            batch.submission, batch.waiters = self._engine.new_submission(), []
            self._waiters[batch.submission] = batch.waiters
            self._placed_ns[batch.submission] = self.regulator.clock_ns()
            self._schedule_flush()
        return batch

    def place_look_up(self) -> OpenBatch:
        """Return the batch of what is only looked up, with a submission open on it.

        Nothing is charged for what is put there, and nobody has to submit it. The admission has
        seen to it that there is room.
        """
        batch = self.lookups.batch
        submission = self.lookups.open()
        if submission is not None:
            self._waiters[submission] = batch.waiters
            self._schedule_flush()
        return batch

    async def transfer(
        self, charge: Charge, request: TransferRequest, deadline_ns: int = 0
    ) -> tuple[Submission, int]:
        """Return the submission and the index of a transfer in it, once that is durable.

        It was admitted with this charge, which is settled. Raises QueueFull, EngineFailed,
        EngineClosed where nothing was taken, and the problem `outcome-unknown` where the journal
        failed under it.
        """
        client, batch = charge.client, self.place(self._engine.segment_of(request.source))
        submission = batch.submission
        assert submission is not None
        index = submission.add(client.name, *request)
        # Before all that can fail: rows and waiters go together by their places.
        outcome = self._wait_in(batch, charge)
        if deadline_ns > 0:
            submission.limit_time(deadline_ns, index)
        if submission.is_full:
            self.submit(batch)
        await outcome
        return submission, index

    async def look_up(self, client: Client, request: TransferRequest) -> tuple[Submission, int]:
        """Return as `transfer` does what is known of a transfer, and do not make it.

        Where its key is not known, its status is DEADLINE_PASSED.
        """
        batch = self.place_look_up()
        submission = batch.submission
        assert submission is not None
        index = submission.add(client.name, *request)
        await self._wait_in(batch)
        return submission, index

    def _wait_in(
        self, batch: OpenBatch, charge: Charge | None = None
    ) -> asyncio.Future[Submission]:
        """Return what waits for the row that was put into a batch last."""
        outcome: asyncio.Future[Submission] = self._loop.create_future()
        batch.waiters.append(FutureWaiter(outcome, charge))
        self._in_flight.add(1)
        return outcome

    def _wait_for(
        self, submission: Submission, charge: Charge | None = None
    ) -> asyncio.Future[Submission]:
        """Return what waits for all of a submission, which is one request."""
        outcome: asyncio.Future[Submission] = self._loop.create_future()
        self._waiters[submission] = [FutureWaiter(outcome, charge, is_of_all=True)]
        self._in_flight.add(len(submission))
        return outcome

    async def look_up_all(self, submission: Submission) -> None:
        """Return once a submission of one request is answered from its keys, and not applied."""
        outcome = self._wait_for(submission)
        self.lookups.add(submission, is_new=True)
        self._schedule_flush()
        await outcome

    async def apply(self, charge: Charge, submission: Submission, deadline_ns: int = 0) -> None:
        """Return once a submission of one request is applied and durable. Raises as `transfer`."""
        if deadline_ns > 0:
            submission.limit_time(deadline_ns)
        outcome = self._wait_for(submission, charge)
        self._hand_over(submission, submission.segment_hash % self._engine.segments)
        await outcome

    async def apply_bulk(self, client: Client, submission: Submission, deadline_ns: int) -> Kind:
        """Have many transfers applied, and return why those were not that are `DEADLINE_PASSED`.

        Where the client's money does not reach for all, what is new has to fit in by itself, all of
        it or none: what is known is told, and moves nothing. Raises the problem where they are not
        admitted, or there is no more to tell than that, of any of them.
        """
        charge = self._admission.admit_all(client, submission)
        if charge is None:
            await self.look_up_all(submission)
            if submission.late_count == 0:
                return QUOTA_EXCEEDED
            charge = self._admission.charge_new(client, submission)
            if charge is None:
                problem = self._admission.make_money_problem(client, submission.sum_late())
                if submission.late_count == len(submission):
                    raise problem
                return problem.kind
            submission.renew()
        await self.apply(charge, submission, deadline_ns)
        if 0 < submission.late_count == len(submission):
            detail = f"The deadline passed before any of the transfers. {NOT_STORED}."
            raise Problem(DEADLINE_PASSED, detail, extra={"executed": False})
        return DEADLINE_PASSED

    async def barrier(self, lsn: int | None = None) -> None:
        """Return once `lsn`, or without it all that is applied now, is durable."""
        waiter: asyncio.Future[Submission] = self._loop.create_future()
        if lsn is None:
            # One barrier serves all reads of a turn: it is made at the end of the turn.
            self._barrier_waiters.append(FutureWaiter(waiter))
            self._schedule_flush()
        else:
            self._waiters[self._engine.barrier(lsn)] = [FutureWaiter(waiter)]
        await waiter

    async def drain(self) -> None:
        """Return once nothing is under way."""
        self._flush()
        if self._waiters:
            self._idle = self._loop.create_future()
            await self._idle

    # -- to the engine ------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        for batch in self.batches.of_segments:
            if batch.submission is not None:
                self.submit(batch)
        if self._barrier_waiters:
            self._submit_barrier()
        self.lookups.move_on()

    def submit(self, batch: OpenBatch) -> None:
        """Submit the open submission of a batch."""
        submission, batch.submission = batch.submission, None
        assert submission is not None
        self._hand_over(submission, batch.segment)

    def _hand_over(self, submission: Submission, segment: int) -> None:
        """Submit to the engine; the waiters get an error where it takes nothing."""
        self.on_work()
        try:
            if self.fault_injector is not None:
                self.fault_injector.strike(segment)
            is_queued = self._engine.submit(submission, segment)
        except LedgerError as error:
            refund(submission, self._waiters[submission])
            self._forget(submission, error)
        else:
            if is_queued:
                self.on_queued()

    def _forget(self, submission: Submission, error: LedgerError) -> None:
        """Let go of a submission that the engine has not taken."""
        waiters = self._waiters.pop(submission)
        self.lookups.note(submission)
        self._placed_ns.pop(submission, None)
        self._in_flight.remove(len(submission))
        if type(error) is QueueFull:
            error = Busy(str(error), self._in_flight.find_wait_s())
        self._refuse(waiters, error)

    def _miss(self, submission: Submission, error: LedgerError) -> None:
        """Answer what could not be looked up, since the engine is closed or has failed."""
        if self.lookups.take_out(submission):
            self._forget(submission, error)
        else:
            # What it has applied stands, and of the late ones it is true that it has not made them.
            self._deliver(submission)

    def _submit_barrier(self) -> None:
        waiters, self._barrier_waiters = self._barrier_waiters, []
        try:
            self._waiters[self._engine.barrier()] = waiters
        except LedgerError as error:
            self._refuse(waiters, error)

    def _refuse(self, waiters: list[Waiter], error: LedgerError) -> None:
        """Tell the waiters that the engine took nothing of theirs."""
        for waiter in waiters:
            # One exception each, since raising one adds to its traceback.
            waiter.fail(copy(error))
        if isinstance(error, EngineFailed):
            self._on_failure()

    # -- from the engine ----------------------------------------------------------------------

    def _collect(self) -> None:
        now_ns = self.regulator.clock_ns()
        for submission in self._engine.completed():
            self.lookups.note(submission)
            is_late = submission.late_count > 0 and not submission.failed
            if is_late and not self.lookups.has(submission):
                # A first try of it may have been on its way elsewhere when it was looked up.
                self.lookups.add(submission, is_new=False)
            else:
                self._deliver(submission, now_ns)
        self.lookups.move_on()
        self.regulator.end_turn(now_ns)
        # The engine wakes the loop when it fails, whether or not somebody waits.
        if self._engine.failure is not None:
            self._on_failure()
        if self._idle is not None and not self._waiters and not self._idle.done():
            self._idle.set_result(None)

    def _deliver(self, submission: Submission, now_ns: int = 0) -> None:
        """Tell the waiters of a submission what came of it."""
        waiters = self._waiters.pop(submission)
        is_look_up = self.lookups.take_out(submission)
        self._note(submission, now_ns or self.regulator.clock_ns())
        if submission.failed:
            self._abandon(submission, waiters)
        else:
            deliver(submission, waiters, is_look_up)

    def _note(self, submission: Submission, now_ns: int) -> None:
        """Count what has come back, and how long it was away.

        A request of many transfers takes as long as it is large, and says nothing of the others: it
        is counted, and its time is not.
        """
        self._in_flight.finish(len(submission), now_ns)
        placed_ns = self._placed_ns.pop(submission, None)
        if placed_ns is not None:
            self.regulator.note(len(submission), placed_ns, now_ns)

    def _abandon(self, submission: Submission, waiters: list[Waiter]) -> None:
        """Tell the waiters that the journal failed under their submission."""
        for waiter in waiters:
            waiter.fail(_make_failure(submission))
        self._on_failure()


def _make_failure(submission: Submission) -> Exception:
    if len(submission) == 0:
        return EngineFailed("the journal failed before the read was durable")
    return Problem(
        OUTCOME_UNKNOWN,
        "The journal failed under this request, which may or may not be stored. Ask again with "
        "the same key once the server has restarted.",
    )
