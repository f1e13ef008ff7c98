"""An open batch, and the waiters for its rows."""

from libc.stdint cimport uint32_t

from ledgercore._c cimport lc_text


cdef class OpenBatch:
    cdef:
        readonly int segment
        public object submission
        public list waiters


cdef class OpenBatches:
    cdef:
        readonly list of_segments
        object engine

    cdef OpenBatch find(self, lc_text source)


cdef class Waiter:
    cdef int complete(self, object submission, uint32_t row, bint is_look_up) except -1
    cdef int refund(self, object submission, uint32_t row) except -1


cdef class FutureWaiter(Waiter):
    cdef:
        readonly object future
        object charge  # of the rows that it waits for; None where nothing was charged
        bint is_of_all
