"""The layout of a submission, for the pipeline's native threads."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from ledgercore._c cimport lc_outcome, lc_record
from ledgercore.ledger cimport Ledger

cdef struct submission_t:
    lc_record* records
    lc_outcome* outcomes
    char* text
    uint32_t count, capacity, text_used, text_capacity
    uint64_t rest_lsn  # what its answers rest on
    bint failed
    submission_t* next
    PyObject* owner  # the Submission, referenced while it is on its way


cdef class Submission:
    cdef:
        submission_t data
        Ledger ledger
        uint32_t count_max

    cdef int make_room(self, uint32_t text_bytes) except -1
    cdef void add_text(self, lc_record* record, bytes text) noexcept
    cdef uint32_t add_checked(
        self, bytes scope, bytes source, bytes target, int64_t amount, bytes memo
    ) except? 0xFFFFFFFF
