"""The pipeline as Python uses it: work is handed in, waited for and handed back; then it ends.

Two ways in: `submit` never blocks, and `completed` tells when; `apply_batch`, `apply_submission`
and the opening of accounts do a worker's part in the caller's thread, and wait for the disk there.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from posix.unistd cimport read

from ledgercore._c cimport *
from ledgercore.pipeline cimport Pipeline
from ledgercore.submission cimport Submission, submission_t

import os

import numpy as np

from . import accounts
from .errors import EngineClosed, EngineFailed, OutcomeUnknown, QueueFull


cdef class Executor(Pipeline):
    """A pipeline that can be used. `stop_intake` and `drain` end it, in this order."""

    def submit(self, Submission submission, int segment):
        """Queue a submission, or apply it here where that is quick; whether it was queued.

        Raises QueueFull, EngineClosed, EngineFailed. Never blocks.
        """
        self.check_open()
        if submission.data.owner != NULL:
            raise ValueError("the submission was submitted before")
        if submission.data.count == 0:
            submission.data.rest_lsn = lc_ring_last(&self.ledger.ring)
        submission.data.owner = <PyObject*> submission
        Py_INCREF(submission)
        if submission.data.count == 0:
            self.finish_when_durable(&submission.data)
            return False
        submission.data.queued_ns = lc_meters_look(self.meters)
        if self.apply_inline(&submission.data, &self.queues[segment]):
            return False
        cdef int result = lc_queue_push(
            &self.queues[segment], &submission.data, submission.data.count
        )
        if result != LC_QUEUE_TAKEN:
            submission.data.owner = NULL
            Py_DECREF(submission)
            if result == LC_QUEUE_FULL:
                raise QueueFull("the queue of the segment is full")
            raise EngineClosed("the engine is closed")
        return True

    cdef bint apply_inline(self, submission_t* data, lc_queue* queue) except -1:
        """Do a worker's part in this thread, where that is quick: a small batch that would be the
        only one of its segment, with room in the ring. It saves two switches between threads."""
        if data.count > self.inline_max or not lc_queue_is_free(queue):
            return False
        if self.journal is not None and not lc_ring_reserve(&self.ledger.ring, data.count):
            return False
        self.enter()
        # What scales the workers rests on this, so it is timed whether or not all else is.
        cdef int64_t begun_ns = lc_monotonic_ns()
        with nogil:
            data.begun_ns = data.queued_ns
            self.apply_part(data, 0, data.count)
            data.done = data.count
            self.return_credits(data.outcomes, data.count)
            self.note_applied(data)
            lc_queue_add_busy(queue, lc_monotonic_ns() - begun_ns)
            self.finish_when_durable(data)
        self.leave(0, True)
        return True

    def look_up(self, Submission submission):
        """Answer from its key, if that is known, each row that is late, and all of what was never
        submitted. Nothing is applied, and the others stay late; `completed` tells, again.

        What was submitted before is seen once it has completed, if not earlier. Never blocks.
        Raises EngineClosed, EngineFailed.
        """
        cdef submission_t* data = &submission.data
        cdef bint is_new = data.owner == NULL
        cdef uint32_t row
        if not is_new and not data.is_over:
            raise ValueError("the submission is under way")
        self.enter()
        data.owner = <PyObject*> submission
        Py_INCREF(submission)
        data.is_look_up, data.is_over, data.late_count = True, False, 0
        data.queued_ns = data.begun_ns = data.applied_ns = lc_meters_look(self.meters)
        data.durable_ns = data.applied_ns
        with nogil:
            for row in range(data.count):
                if is_new or data.outcomes[row].status == LC_DEADLINE_PASSED:
                    self.look_up_row(data, row)
                    if data.outcomes[row].status != LC_DEADLINE_PASSED:
                        lc_meters_count(self.meters, &data.outcomes[row], 1)
            data.done = data.count
            self.finish_when_durable(data)
        self.leave(0, True)

    def barrier(self, Submission submission, lsn):
        """Submit an empty submission that completes once `lsn` (None: the newest) is durable."""
        self.check_open()
        cdef uint64_t last = lc_ring_last(&self.ledger.ring)
        submission.data.rest_lsn = last if lsn is None else min(<uint64_t> lsn, last)
        submission.data.owner = <PyObject*> submission
        Py_INCREF(submission)
        self.finish_when_durable(&submission.data)

    def completed(self):
        """Return what has completed since the last call, oldest first; clears the eventfd."""
        cdef submission_t* submission
        cdef uint64_t counter
        pthread_mutex_lock(&self.state)
        submission = self.finished
        self.finished = NULL
        read(self.event_fd, &counter, sizeof(counter))
        pthread_mutex_unlock(&self.state)
        submissions = []
        while submission != NULL:
            owner = <Submission> submission.owner
            Py_DECREF(owner)
            submission.is_over = True
            submissions.append(owner)
            submission = submission.next
        submissions.reverse()
        return submissions

    def apply_submission(self, Submission submission):
        """Do a worker's part in this thread, and wait for the disk."""
        self.enter()
        cdef int error
        with nogil:
            error = self.apply_whole(&submission.data)
            if error == 0:
                error = self.wait_durable(submission.data.rest_lsn)
        self.leave(error, submission.data.done > 0)

    def apply_batch(self, const uint8_t[::1] rows, uint8_t[::1] outcomes):
        """Apply rows of TRANSFER by `batch_max`, in this thread, and wait for the disk once."""
        cdef uint64_t total = rows.shape[0] // sizeof(lc_row), done = 0, rest_lsn = 0
        cdef const lc_row* row
        cdef lc_outcome* outcome
        cdef uint32_t count
        cdef int error = 0
        if total == 0:
            return
        self.enter()
        row = <const lc_row*> &rows[0]
        outcome = <lc_outcome*> &outcomes[0]
        with nogil:
            while done < total and error == 0:
                count = <uint32_t> min(<uint64_t> self.batch_max, total - done)
                error = self.reserve(count)
                if error == 0:
                    self.ledger.apply_rows(row + done, outcome + done, count, &rest_lsn)
                    self.return_credits(outcome + done, count)
                    done += count
            if error == 0:
                error = self.wait_durable(rest_lsn)
        self.leave(error, done > 0)

    def open_account(self, id, asset, floor, ceiling, frozen, bint wait):
        """Open an account (accounts.pyx); returns (slot, lsn), durable if `wait` says so.

        One call from the credit to its use, so that no signal handler can raise in between.
        """
        cdef uint64_t lsn = 0
        self.reserve_credit()
        try:
            slot, lsn = accounts.open_account(self.ledger, id, asset, floor, ceiling, frozen)
        finally:
            self.log_done(lsn, wait)
        return slot, lsn

    def change_account(self, slot, changes):
        """Change an account (accounts.pyx); returns the lsn, which is durable."""
        cdef uint64_t lsn = 0
        self.reserve_credit()
        try:
            lsn = accounts.change_account(self.ledger, slot, changes)
        finally:
            self.log_done(lsn, True)
        return lsn

    cdef int reserve_credit(self) except -1:
        """Hold one LSN's worth of the ring, for an account's record; `log_done` ends it."""
        self.enter()
        cdef int error
        with nogil:
            error = self.reserve(1)
        if error != 0:
            self.leave(error, False)
        return 0

    cdef int log_done(self, uint64_t lsn, bint wait) except -1:
        """End a reserved credit, used for `lsn` (0: unused); `wait` until it is durable."""
        cdef int error = 0
        if self.journal is not None:
            if lsn == 0:
                self.return_credit()
            else:
                self.wake_journal()
                if wait:
                    with nogil:
                        error = self.wait_durable(lsn)
        return self.leave(error, True)

    cdef void return_credit(self) noexcept nogil:
        """Give back a credit that was not used, and tell who waits for one."""
        lc_ring_release(&self.ledger.ring, 1)
        pthread_mutex_lock(&self.state)
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.state)

    def wait(self, lsn=None):
        """Wait until `lsn` is durable; without one, until all that is applied now is."""
        cdef uint64_t last = lc_ring_last(&self.ledger.ring) if lsn is None else lsn
        cdef int error
        with nogil:
            error = self.wait_durable(last)
        if error != 0:
            raise OutcomeUnknown(self.failure)

    cdef int enter(self) except -1:
        """Count a caller in, so that `close` waits for it."""
        self.check_open()
        pthread_mutex_lock(&self.state)
        self.callers += 1
        pthread_mutex_unlock(&self.state)
        return 0

    cdef int leave(self, int error, bint taken) except -1:
        """Count a caller out; after an error, `taken` tells whether something may have happened."""
        pthread_mutex_lock(&self.state)
        self.callers -= 1
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.state)
        if error != 0:
            raise OutcomeUnknown(self.failure) if taken else EngineFailed(self.failure)
        return 0

    cdef int check_open(self) except -1:
        if self.closed:
            raise EngineClosed("the engine is closed")
        if self.error_now() != 0:
            raise EngineFailed(self.failure)
        return 0

    # -- the workers ------------------------------------------------------------------------------

    def retire(self, int segment, uint32_t count):
        """Let so many `run_worker` of a segment return, each once it has finished its batch."""
        lc_queue_retire(&self.queues[segment], count)

    def stall(self, int segment, bint stalled):
        """Let the workers of a segment take nothing, or go on. Closing ends a stall."""
        lc_queue_stall(&self.queues[segment], stalled)

    def inject_sync_fault(self, uint32_t delay_ms, int error):
        """Let the next sync of the journal take so much longer, and fail with this errno (0: none).

        It replaces what was asked for before and has not happened yet.
        """
        pthread_mutex_lock(&self.wake)
        self.sync_delay_ms = delay_ms
        self.sync_error = error
        pthread_mutex_unlock(&self.wake)

    def load(self, int segment):
        """Return (depth, busy_ns) of a segment: transfers that wait or are being applied, and how
        long workers have been at work, summed over them."""
        cdef lc_queue* queue = &self.queues[segment]
        return lc_queue_depth(queue), lc_queue_busy_ns(queue)

    # -- the end ----------------------------------------------------------------------------------

    def stop_intake(self):
        """Take nothing more; returns once the callers are gone. Workers finish their queues."""
        self.closed = True
        cdef int i
        for i in range(self.segments):
            lc_queue_close(&self.queues[i])
        with nogil:
            pthread_mutex_lock(&self.state)
            while self.callers > 0:
                pthread_cond_wait(&self.changed, &self.state)
            pthread_mutex_unlock(&self.state)

    def drain(self):
        """Let the journal thread end once it has written all; for when the workers are gone."""
        with nogil:
            pthread_mutex_lock(&self.wake)
            self.draining = True
            pthread_cond_signal(&self.published)
            pthread_mutex_unlock(&self.wake)

    @property
    def failure(self):
        """Why the engine stopped for good, or None."""
        cdef int error = self.error_now()
        if error == 0:
            return None
        return f"the journal cannot be written: {os.strerror(error)}"

    @property
    def durable_lsn(self):
        """The LSN up to which everything is durable (in memory: applied)."""
        if self.journal is None:
            return lc_ring_last(&self.ledger.ring)
        pthread_mutex_lock(&self.state)
        cdef uint64_t durable = self.durable
        pthread_mutex_unlock(&self.state)
        return durable

    @property
    def group_count(self):
        """How many groups were written, each with one sync."""
        pthread_mutex_lock(&self.state)
        cdef uint64_t groups = self.groups
        pthread_mutex_unlock(&self.state)
        return groups

    def measure(self):
        """Return what was counted so far: what measures.py makes its Measures of."""
        cdef lc_meters* meters = self.meters
        cdef uint64_t[::1] counts
        cdef int meter, status
        outcomes = [0] * LC_STATUS_END
        for status in range(LC_STATUS_END):
            outcomes[status] = meters.outcomes[status]
        histograms = []
        for meter in range(LC_METERS_END):
            array = np.empty(LC_HISTOGRAM_BUCKETS, np.uint64)
            counts = array
            total = lc_histogram_read(&meters.histograms[meter], &counts[0])
            histograms.append((array, total))
        return histograms, outcomes, meters.replays, meters.journal_bytes

    @property
    def queue_depth(self):
        """Transfers that wait for a worker or are being applied, over all segments."""
        cdef uint64_t depth = 0
        cdef int i
        for i in range(self.segments):
            depth += lc_queue_depth(&self.queues[i])
        return depth
