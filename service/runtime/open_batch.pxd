"""An open batch, and who waits for its rows."""

from libc.stdint cimport uint32_t


cdef class OpenBatch:
    cdef:
        readonly int segment
        public object submission
        public list waiters


cdef class Waiter:
    cdef int settle(self, object submission, uint32_t row, bint is_look_up) except -1
    cdef int give_back(self, object submission, uint32_t row) except -1


cdef class FutureWaiter(Waiter):
    cdef:
        readonly object future
        object charge  # of the rows that it waits for; None where nothing was charged
        bint is_of_all
