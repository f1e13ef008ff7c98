"""The fields and the native verbs of the pipeline, for the executor."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ledgercore._c cimport (
    lc_frame, lc_meters, lc_outcome, lc_queue, pthread_cond_t, pthread_mutex_t
)
from ledgercore.journal cimport Journal
from ledgercore.ledger cimport Ledger
from ledgercore.submission cimport submission_t


cdef class Pipeline:
    cdef:
        Ledger ledger
        Journal journal
        lc_queue* queues
        readonly int segments
        uint32_t batch_max
        public uint32_t inline_max  # What `submit` applies itself at most; 0: all is for workers.
        lc_frame* frame
        lc_meters* meters
        # Guarded by `state`; `changed` is broadcast when any of it changes.
        pthread_mutex_t state
        pthread_cond_t changed
        uint64_t durable, groups
        int64_t durable_at_ns  # when `durable` became what it is
        submission_t* awaiting
        submission_t* awaiting_last
        submission_t* finished
        int error, callers, credit_waiters
        bint closed
        # Guarded by `wake`: the journal thread sleeps on `published` until there is news of a batch
        # that is applied to its end.
        pthread_mutex_t wake
        pthread_cond_t published
        bint has_news, draining
        # The fault of the next sync; all zero unless one is injected.
        uint32_t sync_delay_ms
        int sync_error
        readonly int event_fd

    cdef void drop(self, submission_t* first) noexcept
    cdef int reserve(self, int64_t count) noexcept nogil
    cdef int error_now(self) noexcept nogil
    cdef void return_credits(self, const lc_outcome* outcomes, uint32_t count) noexcept nogil
    cdef void wake_journal(self) noexcept nogil
    cdef int wait_durable(self, uint64_t lsn) noexcept nogil
    cdef void note_applied(self, submission_t* submission) noexcept nogil
    cdef void work(self, lc_queue* queue) noexcept nogil
    cdef void apply_part(
        self, submission_t* submission, uint32_t first, uint32_t count
    ) noexcept nogil
    cdef void look_up_row(self, submission_t* submission, uint32_t row) noexcept nogil
    cdef int apply_whole(self, submission_t* submission) noexcept nogil
    cdef void finish_when_durable(self, submission_t* submission) noexcept nogil
    cdef void signal_completion(self) noexcept nogil
    cdef bint finish(self, submission_t* submission) noexcept nogil
    cdef void let_wait(self, submission_t* submission) noexcept nogil
    cdef bint finish_awaiting(self) noexcept nogil
    cdef void write_groups(self) noexcept nogil
    cdef int write_group(self) noexcept nogil
    cdef int sync_group(self) noexcept nogil
    cdef void assert_nothing_held(self) noexcept nogil
    cdef char* text_buffer(self) noexcept nogil
    cdef bint wait_published(self, uint64_t lsn, int* error) noexcept nogil
    cdef void publish_durable(self, uint64_t lsn, uint32_t count) noexcept nogil
    cdef void fail(self, int error) noexcept nogil
