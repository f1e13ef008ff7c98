"""The sender of the requests of a connection, for its native half."""

from libc.stdint cimport uint64_t

from ledgercore.service._c cimport lc_request
from ledgercore.service.admission.admission cimport Admission, Client


cdef class Sender:
    cdef:
        readonly Client client
        Admission admission
        object hosts
        bint is_local
        bytes token, host
        uint64_t generation

    cdef bint is_same(self, lc_request* request) noexcept
    cdef int identify(self, lc_request* request) except -1
