"""The way of a transfer through the engine's threads: queue, worker, ring, journal, completion.

Workers and the journal thread are Python threads that live inside one `nogil` block each; they wait
on conditions, so that an idle engine costs nothing. A submission is answered once the highest LSN
that its outcomes rest on is durable; an eventfd tells the event loop. What comes in and goes out
by Python is in executor.pyx.

There is one order of locks here: a queue's mutex, `wake` and `state` are never held together.
"""

from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memmove
from posix.time cimport nanosleep, timespec
from posix.unistd cimport close as c_close, write

from ledgercore._c cimport *
from ledgercore.journal cimport Journal
from ledgercore.ledger cimport Ledger
from ledgercore.submission cimport Submission, submission_t

import os

cdef enum:
    INLINE_MAX = 512  # To apply so many takes no longer than to wake a worker, or a few times that.
    REST_MS = 50  # After this long without work the journal writes its seal.


cdef inline bint is_late(
    const submission_t* submission, uint32_t row, int64_t now_ns
) noexcept nogil:
    return 0 < submission.deadlines[row] <= now_ns


cdef class Pipeline:
    """The state that the engine's threads share. `journal` is None in memory."""

    def __cinit__(
        self, Ledger ledger, Journal journal, int segments, uint64_t queue_size,
        uint32_t batch_max, bint is_measured=True
    ):
        self.ledger = ledger
        self.journal = journal
        self.batch_max = batch_max
        self.inline_max = <uint32_t> min(<uint64_t> INLINE_MAX, queue_size)
        self.segments = segments
        self.queues = <lc_queue*> malloc(segments * sizeof(lc_queue))
        self.frame = <lc_frame*> malloc(LC_FRAME_BYTES_MAX + LC_FRAME_ALIGNMENT)
        self.meters = <lc_meters*> calloc(1, sizeof(lc_meters))
        if self.queues == NULL or self.frame == NULL or self.meters == NULL:
            raise MemoryError()
        self.meters.is_on = is_measured
        cdef int i
        for i in range(segments):
            lc_queue_start(&self.queues[i], <void**> ledger.table(queue_size, 8), queue_size)
        lc_mutex_start(&self.state)
        lc_condition_start(&self.changed)
        lc_mutex_start(&self.wake)
        lc_condition_start(&self.published)
        self.durable = lc_ring_last(&ledger.ring)
        self.event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __dealloc__(self):
        self.drop(self.awaiting)
        self.drop(self.finished)
        cdef int i
        if self.queues != NULL:
            for i in range(self.segments):
                lc_queue_stop(&self.queues[i])
        free(self.queues)
        free(self.frame)
        free(self.meters)
        pthread_cond_destroy(&self.published)
        pthread_mutex_destroy(&self.wake)
        pthread_cond_destroy(&self.changed)
        pthread_mutex_destroy(&self.state)
        if self.event_fd >= 0:
            c_close(self.event_fd)

    cdef void drop(self, submission_t* first) noexcept:
        while first != NULL:
            following = first.next
            Py_DECREF(<Submission> first.owner)
            first = following

    # -- credits and durability -------------------------------------------------------------------

    cdef int reserve(self, int64_t count) noexcept nogil:
        """Wait for `count` credits of the ring; returns an errno once the journal has failed."""
        if self.journal is None or lc_ring_reserve(&self.ledger.ring, count):
            return self.error_now()
        cdef int error = 0
        pthread_mutex_lock(&self.state)
        self.credit_waiters += 1
        while self.error == 0 and not lc_ring_reserve(&self.ledger.ring, count):
            pthread_cond_wait(&self.changed, &self.state)
        self.credit_waiters -= 1
        error = self.error
        pthread_mutex_unlock(&self.state)
        return error

    cdef int error_now(self) noexcept nogil:
        pthread_mutex_lock(&self.state)
        cdef int error = self.error
        pthread_mutex_unlock(&self.state)
        return error

    cdef void return_credits(self, const lc_outcome* outcomes, uint32_t count) noexcept nogil:
        """Give back the credits of what took no LSN, and wake the journal for what did."""
        cdef uint32_t taken = lc_meters_count(self.meters, outcomes, count)
        if self.journal is None:
            return
        if taken < count:
            lc_ring_release(&self.ledger.ring, count - taken)
            pthread_mutex_lock(&self.state)
            if self.credit_waiters > 0:
                pthread_cond_broadcast(&self.changed)
            pthread_mutex_unlock(&self.state)
        if taken > 0:
            self.wake_journal()

    cdef void wake_journal(self) noexcept nogil:
        pthread_mutex_lock(&self.wake)
        self.has_news = True
        pthread_mutex_unlock(&self.wake)
        # Only now: who is woken on this core takes it at once, and would wait for the mutex.
        pthread_cond_signal(&self.published)

    cdef int wait_durable(self, uint64_t lsn) noexcept nogil:
        """Wait until `lsn` is durable; returns an errno if the journal fails before."""
        cdef int error = 0
        if self.journal is None:
            return 0
        pthread_mutex_lock(&self.state)
        while self.durable < lsn and self.error == 0:
            pthread_cond_wait(&self.changed, &self.state)
        if self.durable < lsn:
            error = self.error
        pthread_mutex_unlock(&self.state)
        return error

    # -- the native threads -----------------------------------------------------------------------

    def run_worker(self, int segment):
        """Apply the submissions of a segment until this worker is retired, or until the queue is
        closed and empty."""
        with nogil:
            self.work(&self.queues[segment])

    cdef void work(self, lc_queue* queue) noexcept nogil:
        cdef submission_t* submission
        cdef uint32_t count
        while True:
            submission = <submission_t*> lc_queue_pop(queue)
            if submission == NULL:
                return
            count = submission.count
            submission.begun_ns = lc_meters_look(self.meters)
            submission.failed = self.apply_whole(submission) != 0
            self.note_applied(submission)
            lc_queue_done(queue, count)
            self.finish_when_durable(submission)

    cdef void note_applied(self, submission_t* submission) noexcept nogil:
        if self.meters.is_on:
            submission.applied_ns = lc_monotonic_ns()
            lc_meters_note_batch(
                self.meters, submission.count, submission.queued_ns, submission.begun_ns,
                submission.applied_ns
            )

    cdef int apply_whole(self, submission_t* submission) noexcept nogil:
        """Apply a submission in its order; returns an errno once the journal has failed.

        By `batch_max` at a time, since the ring holds a bounded number of records that are not yet
        durable; what was applied before a failure stays applied.
        """
        cdef uint32_t count
        cdef int error = 0
        while submission.done < submission.count and error == 0:
            count = min(self.batch_max, submission.count - submission.done)
            error = self.reserve(count)
            if error == 0:
                self.apply_part(submission, submission.done, count)
                self.return_credits(submission.outcomes + submission.done, count)
                submission.done += count
        return error

    cdef void apply_part(
        self, submission_t* submission, uint32_t first, uint32_t count
    ) noexcept nogil:
        """Apply rows in their order; those whose deadline has passed are only looked up."""
        cdef uint32_t next, end = first + count
        cdef int64_t now_ns
        if submission.deadlines == NULL:
            self.ledger.apply_records(
                submission.records + first, submission.text, submission.outcomes + first, count,
                &submission.rest_lsn
            )
            return
        now_ns = lc_monotonic_ns()
        while first < end:
            next = first
            while next < end and not is_late(submission, next, now_ns):
                next += 1
            if next > first:
                self.ledger.apply_records(
                    submission.records + first, submission.text, submission.outcomes + first,
                    next - first, &submission.rest_lsn
                )
            while next < end and is_late(submission, next, now_ns):
                self.look_up_row(submission, next)
                next += 1
            first = next

    cdef void look_up_row(self, submission_t* submission, uint32_t row) noexcept nogil:
        """Answer a row from its key, where that is known; it stays late where it is not."""
        cdef lc_record* record = &submission.records[row]
        cdef lc_outcome* outcome = &submission.outcomes[row]
        record.time_ns = self.ledger.now()
        self.ledger.apply(
            record, submission.text, lc_keys_hash(&self.ledger.keys, record.key), outcome,
            &submission.rest_lsn, True
        )
        submission.late_count += outcome.status == LC_DEADLINE_PASSED

    cdef void finish_when_durable(self, submission_t* submission) noexcept nogil:
        cdef bint is_first = False
        pthread_mutex_lock(&self.state)
        if (
            self.journal is None or self.error != 0 or submission.failed
            or submission.rest_lsn <= self.durable
        ):
            if submission.rest_lsn > self.durable and self.error != 0:
                submission.failed = True
            is_first = self.finish(submission)
        else:
            self.let_wait(submission)
        pthread_mutex_unlock(&self.state)
        if is_first:
            self.signal_completion()

    cdef void signal_completion(self) noexcept nogil:
        """Wake who calls `completed`. Without a lock held, since that takes one at once."""
        cdef uint64_t one = 1
        write(self.event_fd, &one, sizeof(one))

    cdef bint finish(self, submission_t* submission) noexcept nogil:
        """Hand a submission to `completed`; whether it is the first, to be signalled."""
        cdef bint is_first = self.finished == NULL
        if submission.count > 0 and not submission.is_look_up and self.meters.is_on:
            submission.durable_ns = max(submission.applied_ns, self.durable_at_ns)
            lc_histogram_record(
                &self.meters.histograms[LC_METER_JOURNAL],
                submission.durable_ns - submission.applied_ns, submission.count
            )
        submission.next = self.finished
        self.finished = submission
        return is_first

    cdef bint finish_awaiting(self) noexcept nogil:
        """Finish what was waiting for the present `durable` (or for nothing any more), in order;
        whether `signal_completion` is due."""
        cdef bint is_first = False
        cdef submission_t* submission = self.awaiting
        cdef submission_t* following
        self.awaiting = self.awaiting_last = NULL
        while submission != NULL:
            following = submission.next
            if submission.rest_lsn <= self.durable or self.error != 0:
                submission.failed = submission.rest_lsn > self.durable
                is_first = self.finish(submission) or is_first
            else:
                self.let_wait(submission)
            submission = following
        return is_first

    cdef void let_wait(self, submission_t* submission) noexcept nogil:
        """Append a submission to those that wait to be durable."""
        submission.next = NULL
        if self.awaiting_last != NULL:
            self.awaiting_last.next = submission
        else:
            self.awaiting = submission
        self.awaiting_last = submission

    def run_journal(self):
        """Write groups until `drain`; for the one journal thread."""
        with nogil:
            self.write_groups()

    cdef void write_groups(self) noexcept nogil:
        cdef uint64_t next_lsn = self.durable + 1
        cdef uint32_t records_max = min(self.journal.group_records_max, LC_FRAME_RECORDS_MAX)
        cdef uint32_t text_max = min(self.journal.group_text_max, LC_FRAME_TEXT_BYTES_MAX)
        cdef uint32_t count
        cdef int error = 0
        while error == 0 and self.wait_published(next_lsn, &error):
            count = lc_ring_collect(
                &self.ledger.ring, next_lsn, lc_frame_records(self.frame), records_max,
                self.text_buffer(), text_max, &self.frame.text_length
            )
            if count == records_max or self.frame.text_length + LC_GROUP_TEXT_SPARE > text_max:
                self.wake_journal()  # The group is full, and more may be waiting for the next.
            self.frame.first_lsn = next_lsn
            self.frame.count = count
            if self.frame.text_length > 0:
                memmove(lc_frame_text(self.frame), self.text_buffer(), self.frame.text_length)
            error = self.write_group()
            if error == 0:
                next_lsn += count
                self.publish_durable(next_lsn - 1, count)
        if error != 0:
            self.fail(error)

    cdef int write_group(self) noexcept nogil:
        """Write and sync what the frame holds; returns an errno."""
        cdef int64_t begun_ns = lc_meters_look(self.meters)
        self.assert_nothing_held()
        cdef int error = self.journal.append(self.frame)
        if error == 0:
            error = self.sync_group()
        if error == 0 and self.meters.is_on:
            lc_meters_note_group(self.meters, self.frame.count, self.frame.length, begun_ns)
        return error

    cdef int sync_group(self) noexcept nogil:
        """Sync what was appended, with the delay and the error of `inject_sync_fault`, if any."""
        cdef timespec delay
        pthread_mutex_lock(&self.wake)
        cdef uint32_t delay_ms = self.sync_delay_ms
        cdef int error = self.sync_error
        self.sync_delay_ms = 0
        self.sync_error = 0
        pthread_mutex_unlock(&self.wake)
        if delay_ms > 0:
            delay.tv_sec = delay_ms // 1000
            delay.tv_nsec = delay_ms % 1000 * 1000000
            nanosleep(&delay, NULL)
        self.assert_nothing_held()
        return error if error != 0 else self.journal.sync()

    cdef void assert_nothing_held(self) noexcept nogil:
        """In a debug build: check that no lock is held while the journal writes."""
        lc_mutex_assert_not_held(&self.wake)
        lc_mutex_assert_not_held(&self.state)

    cdef char* text_buffer(self) noexcept nogil:
        """Return where text is gathered: behind the room for all records of a frame."""
        return <char*> (lc_frame_records(self.frame) + LC_FRAME_RECORDS_MAX)

    cdef bint wait_published(self, uint64_t lsn, int* error) noexcept nogil:
        """Wait for the record of `lsn`; False once there is none to come. Rests in a lull.

        It goes by batches that are applied to their end: a group that took the first half of one
        would make it wait for two syncs.
        """
        cdef uint32_t rest_ms = REST_MS
        pthread_mutex_lock(&self.wake)
        while (
            not (self.has_news and lc_ring_ready(&self.ledger.ring, lsn))
            and not self.draining and error[0] == 0
        ):
            if not lc_condition_wait(&self.published, &self.wake, rest_ms):
                pthread_mutex_unlock(&self.wake)
                self.assert_nothing_held()
                error[0] = self.journal.idle(&rest_ms)
                pthread_mutex_lock(&self.wake)
        self.has_news = False
        pthread_mutex_unlock(&self.wake)
        return lc_ring_ready(&self.ledger.ring, lsn) and error[0] == 0

    cdef void publish_durable(self, uint64_t lsn, uint32_t count) noexcept nogil:
        cdef int64_t now_ns = lc_meters_look(self.meters)
        lc_ring_release(&self.ledger.ring, count)
        pthread_mutex_lock(&self.state)
        self.durable = lsn
        self.durable_at_ns = now_ns
        self.groups += 1
        cdef bint is_first = self.finish_awaiting()
        pthread_mutex_unlock(&self.state)
        pthread_cond_broadcast(&self.changed)
        if is_first:
            self.signal_completion()

    cdef void fail(self, int error) noexcept nogil:
        """Fail for good: acknowledge nothing any more, and signal the eventfd."""
        pthread_mutex_lock(&self.state)
        self.error = error
        self.finish_awaiting()
        pthread_mutex_unlock(&self.state)
        pthread_cond_broadcast(&self.changed)
        self.signal_completion()
