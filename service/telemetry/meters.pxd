"""What counts requests natively, and begins their traces."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ledgercore._c cimport lc_text
from ledgercore.service._c cimport lc_random, lc_trace
from ledgercore.recorder cimport Recorder
from ledgercore.submission cimport Submission

cdef enum:
    STATUSES_MAX = 256


cdef class Meters:
    cdef:
        readonly bint is_on
        public int64_t slow_ns  # A request that takes as long is looked at; 0: none is.
        public bint is_tracing  # Whether requests are kept as traces, and not only slow ones told.
        public object observer  # Is shown the requests that are looked at; None: none is.
        readonly int64_t next_look_ns
        uint64_t transfers[STATUSES_MAX]  # answered natively, by enum lc_status
        uint64_t sample_below
        lc_random random
        Recorder transfer
        dict answers, recorders

    cdef void begin(self, lc_text traceparent, lc_trace* trace) noexcept
    cdef void note_transfer(self, uint8_t status, int64_t elapsed_ns) noexcept
    cdef bint is_of_interest(
        self, const lc_trace* trace, int64_t now_ns, int64_t elapsed_ns
    ) noexcept
    cdef bint show(
        self, Submission submission, uint32_t row, const lc_trace* trace, int64_t started_ns,
        int64_t ended_ns
    ) except -1
