"""The value, for whoever has the outcome as C has it."""

from libc.stdint cimport int64_t, uint64_t

from ledgercore._c cimport lc_outcome


cdef class Outcome:
    cdef:
        readonly uint64_t id
        readonly object status
        readonly bint replayed
        readonly int64_t time_ns

    cdef tuple fields(self)


cdef Outcome make_outcome(const lc_outcome* outcome)
