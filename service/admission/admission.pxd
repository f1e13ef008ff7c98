"""What lets a request in natively, for whoever reads requests natively."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ledgercore._c cimport lc_text
from ledgercore.submission cimport Submission
from ledgercore.service.admission.limiter cimport ClientLimit, Limiter


cdef class Client:
    cdef:
        readonly str name
        readonly object credential
        readonly int scope
        readonly bint is_signed
        readonly bint is_plain  # Whether its transfers need nothing but its token.
        readonly ClientLimit limit
        bytes id

    cdef lc_text text(self) noexcept


cdef class Room:
    cdef:
        readonly object drain
        readonly int64_t in_flight, peak, refused
        public int64_t limit
        dict replies

    cdef bint is_full(self) noexcept
    cpdef void take(self, int64_t count) noexcept
    cdef bytes refuse(self)


cdef class Admission:
    cdef:
        readonly Room room
        readonly object keys
        readonly object signatures
        readonly Limiter limiter
        readonly uint64_t generation  # What was found out about a token holds while this stays.
        public int64_t deadline_ns  # How long a request may take to the kernel; 0: any time.
        dict clients, refusals
        Client anybody
        set overridden
        int64_t looked_at_ns

    cdef int look(self, int64_t now_ns) except -1
    cdef Client find(self, lc_text token, bint is_local)
    cdef Client find_client(self, token, bint is_local)
    cdef int64_t find_deadline(self, int64_t now_ns, uint32_t timeout_ms) noexcept
    cdef int charge(
        self, Client client, int64_t now_ns, uint32_t count, int64_t amount
    ) noexcept
    cdef tuple refuse_money(self, Client client, int64_t amount)
    cdef int refund(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept
    cdef int give_back(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept
    cdef bytes refuse(self, Client client, int64_t now_ns, int verdict)
