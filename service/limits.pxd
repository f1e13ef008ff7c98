"""What admits a request natively: the limiter, and what it keeps of each client."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ledgercore._c cimport lc_lock


cdef extern from "token_bucket.h" nogil:
    const int64_t LC_BURST_MAX, LC_TAKE_MAX, LC_RATE_MAX

    ctypedef struct lc_bucket:
        int64_t arrival, burst, rate
        uint32_t shift

    void lc_bucket_start(lc_bucket* bucket, int64_t rate, uint32_t burst)
    void lc_bucket_change(lc_bucket* bucket, int64_t now_ns, int64_t rate, uint32_t burst)
    int64_t lc_bucket_level(const lc_bucket* bucket, int64_t now_ns)
    bint lc_bucket_take(lc_bucket* bucket, int64_t now_ns, uint32_t count)
    int64_t lc_bucket_wait_ns(const lc_bucket* bucket, int64_t now_ns, uint32_t count)
    int64_t lc_bucket_wait_at(const lc_bucket* bucket, int64_t now_ns, int64_t level_min)
    uint32_t lc_bucket_left(const lc_bucket* bucket, int64_t now_ns)
    void lc_bucket_give_back(lc_bucket* bucket, uint32_t count)


cdef extern from "fair_share.h" nogil:
    const int64_t LC_SLICE_NEVER

    ctypedef struct lc_share:
        int64_t slice

    ctypedef struct lc_fair:
        uint32_t active

    void lc_fair_start(lc_fair* fair, const lc_bucket* bucket, int64_t now_ns)
    bint lc_fair_is_active(const lc_fair* fair, const lc_share* share)
    bint lc_fair_take(
        lc_fair* fair, lc_share* share, lc_bucket* bucket, int64_t now_ns, uint32_t count
    )
    int64_t lc_fair_wait_ns(
        const lc_fair* fair, const lc_share* share, const lc_bucket* bucket, int64_t now_ns,
        uint32_t count
    )


cpdef enum Verdict:
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
    cdef void give_back_quota(
        self, ClientLimit client, int64_t amount, int64_t admitted_ns
    ) noexcept nogil
    cdef bint is_idle(self, ClientLimit client, int64_t now_ns) noexcept
    cdef int settle(self, ClientLimit client, int64_t now_ns) except -1
    cdef object tell_quota(
        self, ClientLimit client, int64_t now_ns, bint is_refused, int64_t amount
    )
