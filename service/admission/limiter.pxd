"""What admits a request natively: the limiter, and what it keeps of each client."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ledgercore._c cimport lc_lock
from ledgercore.service._c cimport lc_bucket, lc_fair, lc_share


cpdef enum Verdict:
    """The verdict on a request. All but the first are refusals, and have charged nothing."""

    ADMITTED = 0
    CLIENT_LIMITED = 1
    GLOBAL_LIMITED = 2
    QUOTA_EXCEEDED = 3


cdef class ClientLimit:
    cdef:
        readonly str name
        lc_bucket bucket
        lc_share share
        int64_t quota, spent, window_start_ns

    cdef int64_t quota_left(self, int64_t now_ns, int64_t window_ns) noexcept nogil


cdef class Limiter:
    cdef:
        lc_lock lock  # around all numbers here and in the clients; never held over Python
        lc_bucket bucket
        lc_fair fair
        int64_t window_ns
        object clock_ns
        dict defaults, overrides, clients

    cdef int admit(
        self, ClientLimit client, int64_t now_ns, uint32_t count, int64_t amount
    ) noexcept nogil
    cdef int judge(
        self, ClientLimit client, int64_t now_ns, uint32_t count, int64_t amount
    ) noexcept nogil
    cdef void refund_quota(
        self, ClientLimit client, int64_t amount, int64_t admitted_ns
    ) noexcept nogil
    cdef bint is_idle(self, ClientLimit client, int64_t now_ns) noexcept
    cdef int apply_settings(self, ClientLimit client, int64_t now_ns) except -1
    cdef object describe_quota(
        self, ClientLimit client, int64_t now_ns, bint is_refused, int64_t amount
    )
