"""The sender of the requests of a connection, identified by its token and the host it names.

This module owns when that has to be found out anew: with another token or host, and when the keys
have changed. It never says what is wrong with a token, which is for the ordinary way.
"""

from libc.string cimport memcmp

from ledgercore._c cimport lc_text
from ledgercore.service._c cimport *
from ledgercore.service.admission.admission cimport Admission


cdef class Sender:
    """The sender on one connection, which is local to this machine or not."""

    def __init__(self, Admission admission not None, hosts, bint is_local):
        self.admission = admission
        self.hosts = hosts
        self.is_local = is_local
        self.token = self.host = b""

    cdef bint is_same(self, lc_request* request) noexcept:
        """Whether a request is of the same client as the last, and for the same host."""
        return (
            self.generation == self.admission.generation
            and is_equal(self.host, request.host)
            and is_equal(self.token, request.token)
        )

    cdef int identify(self, lc_request* request) except -1:
        """Identify the sender of a request; no client where the ordinary way has to answer."""
        cdef bint is_open = self.admission.is_open
        self.client = self.admission.find(request.token, self.is_local)
        self.token = request.token.start[:request.token.length]
        self.host = request.host.start[:request.host.length]
        self.generation = self.admission.generation
        if not self.hosts.accepts(self.host.decode("ascii"), is_open):
            self.client = None
        return 0


cdef inline bint is_equal(bytes known, lc_text text) noexcept:
    return (
        <size_t> len(known) == text.length
        and memcmp(<const char*> known, text.start, text.length) == 0
    )
