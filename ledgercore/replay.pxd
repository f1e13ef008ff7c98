"""The visitor that a journal shows its frames to."""

from libc.stdint cimport int64_t, uint64_t

from ledgercore._c cimport lc_frame
from ledgercore.ledger cimport Ledger


cdef class Replay:
    cdef:
        readonly Ledger ledger
        readonly uint64_t until_lsn
        readonly int problem
        readonly uint64_t problem_lsn
        readonly uint64_t transfers, refusals, records

    cdef bint visit(self, const lc_frame* frame) noexcept nogil
