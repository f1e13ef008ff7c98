"""What the journal's thread keeps of logged time."""

from libc.stdint cimport uint64_t

from ledgercore.ledger cimport Ledger


cdef class ClockKeeper:
    cdef:
        Ledger ledger
        object write
        uint64_t version  # Of the anchor that was written last.

    cdef void keep(self) noexcept nogil
    cdef int save(self, uint64_t version) except -1
