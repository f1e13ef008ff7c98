"""The native interface of the count in flight, for admission."""

from libc.stdint cimport int64_t


cdef class InFlight:
    cdef:
        readonly object drain
        readonly int64_t count, peak, refused
        public int64_t limit
        dict answers

    cdef bint is_full(self) noexcept
    cpdef void add(self, int64_t count) noexcept
    cdef bytes encode_refusal(self)
