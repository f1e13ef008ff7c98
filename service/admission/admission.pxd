"""The native interface of admission, for the native reader of requests."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ledgercore._c cimport lc_text
from ledgercore.submission cimport Submission
from ledgercore.service.admission.in_flight cimport InFlight
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


cdef class Charge:
    cdef:
        readonly Client client
        readonly int64_t amount, charged_ns
        Limiter limiter


cdef enum:
    NO_ROOM = -2  # Beside the verdicts of limiter.pyx: too much is in flight, or to be looked up.


cdef class Admission:
    cdef:
        readonly InFlight in_flight
        readonly object keys
        readonly object signatures
        readonly Limiter limiter
        readonly uint64_t generation  # What was found out about a token holds while this stays.
        public int64_t deadline_ns  # How long a request may take to the kernel; 0: any time.
        public object is_look_up_full  # Asked whether no more keys can wait to be looked up.
        dict clients, answers
        Client anybody
        set overridden
        int64_t looked_at_ns

    cdef int look(self, int64_t now_ns) except -1
    cdef Client find(self, lc_text token, bint is_local)
    cdef Client find_client(self, token, bint is_local)
    cdef int64_t find_deadline(self, int64_t now_ns, uint32_t timeout_ms) noexcept
    cdef int judge(
        self, Client client, int64_t now_ns, uint32_t count, int64_t amount
    ) except -1
    cdef Charge make_charge(self, Client client, int64_t amount, int64_t charged_ns)
    cdef object make_problem(self, Client client, int64_t now_ns, int verdict, uint32_t count)
    cdef tuple encode_refusal(self, Client client, int64_t now_ns, int verdict)
    cdef int refund_unmoved_row(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept
    cdef int refund_row(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept
