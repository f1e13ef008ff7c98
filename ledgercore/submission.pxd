"""The layout of a submission, for the pipeline's native threads."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ledgercore._c cimport lc_outcome, lc_record, lc_text, lc_transfer

cdef struct names_t:
    # Where in the text the ids stand that a transfer was asked for with, the source's first.
    uint32_t offset
    uint8_t source_length, target_length


cdef struct submission_t:
    lc_record* records
    lc_outcome* outcomes
    char* text
    names_t* names  # of each row; NULL: nobody asks for them
    int64_t* deadlines  # of each row, by CLOCK_MONOTONIC in ns, 0 for none; NULL: none has one
    uint32_t count, capacity, text_used, text_capacity
    uint32_t done  # how many of them have been applied
    uint32_t late_count  # how many were late, and their keys not known when they were looked up
    uint64_t segment_hash  # of the source of the first
    uint64_t rest_lsn  # what its answers rest on
    # When it was submitted, taken by who applies it, applied, and durable: CLOCK_MONOTONIC in ns,
    # 0 where the engine does not measure.
    int64_t queued_ns, begun_ns, applied_ns, durable_ns
    bint failed
    bint is_look_up  # Its rows are only looked up, or were once more.
    bint is_over  # It has completed, and was handed back.
    submission_t* next
    PyObject* owner  # the Submission, referenced while it is on its way


cdef class Submission:
    cdef:
        submission_t data
        object engine_half  # What resolves names; nobody but submission.pyx may look into it.
        uint32_t count_max

    cdef int make_room(self, uint32_t text_bytes) noexcept nogil
    cdef void add_text(self, const char* text, uint32_t length) noexcept nogil
    cdef int64_t put(self, const lc_transfer* wanted) noexcept nogil
    cdef void set_key(self, lc_record* record, const lc_transfer* wanted) noexcept nogil
    cdef uint64_t find_account(self, uint32_t slot, lc_text* id) noexcept nogil
    cdef uint32_t find_slot(self, uint32_t slot, uint64_t hash, lc_text id) noexcept nogil
    cdef void set_record_text(self, lc_record* record, const lc_transfer* wanted) noexcept nogil
    cdef lc_text source(self, uint32_t index) noexcept
    cdef lc_text target(self, uint32_t index) noexcept
    cdef uint32_t count_accounts(self) noexcept
    cdef int set_deadline(self, uint32_t index, int64_t deadline_ns) noexcept nogil
    cdef void forget(self) noexcept nogil
