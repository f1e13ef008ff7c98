"""Every declaration of C that the service uses beside the engine's: src/wire and src/admission."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from ledgercore._c cimport *


cdef enum:  # as in units.py
    NS_PER_S = 1_000_000_000
    NS_PER_MS = 1_000_000


cdef extern from "wire/transfer_json.h" nogil:
    const uint32_t LC_MEMBER_FROM, LC_MEMBER_TO, LC_MEMBER_AMOUNT, LC_MEMBER_MEMO, LC_MEMBER_KEY

    const char* lc_skip_space(const char* at, const char* end)
    const char* lc_read_transfer(
        const char* at, const char* end, lc_transfer* found, uint32_t* members
    )


cdef extern from "wire/http_request.h" nogil:
    const int LC_REQUEST_OTHER, LC_REQUEST_PARTIAL

    ctypedef struct lc_request:
        lc_transfer transfer
        lc_text host, token, traceparent
        uint32_t timeout_ms

    int lc_read_request(const char* start, const char* end, lc_request* request)


cdef extern from "wire/trace_context.h" nogil:
    const int LC_TRACE_LINES_BYTES_MAX
    const uint8_t LC_TRACE_SAMPLED

    ctypedef struct lc_trace:
        uint64_t id[2]
        uint64_t parent, span
        uint8_t flags

    ctypedef struct lc_random:
        uint64_t state[4]

    bint lc_random_start(lc_random* random)
    uint64_t lc_random_next(lc_random* random)
    void lc_trace_begin(lc_text told, lc_random* random, lc_trace* trace)
    char* lc_trace_write(char* at, const lc_trace* trace, bint is_sampled)


cdef extern from "wire/format.h" nogil:
    const int LC_HTTP_DATE_BYTES
    char* lc_write_number(char* at, uint64_t number)
    char* lc_write_time(char* at, int64_t time_ns)
    char* lc_write_http_date(char* at, int64_t time_s)


cdef extern from "wire/arrow_abi.h" nogil:
    struct ArrowSchema:
        const char* format
        const char* name
        int64_t n_children
        ArrowSchema** children
        ArrowSchema* dictionary
        void (*release)(ArrowSchema*) noexcept nogil

    struct ArrowArray:
        int64_t length, offset, n_buffers, n_children
        const void** buffers
        ArrowArray** children
        ArrowArray* dictionary
        void (*release)(ArrowArray*) noexcept nogil

    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream*, ArrowSchema*) noexcept nogil
        int (*get_next)(ArrowArrayStream*, ArrowArray*) noexcept nogil
        const char* (*get_last_error)(ArrowArrayStream*) noexcept nogil


cdef extern from "wire/arrow_stream.h" nogil:
    const int LC_ARROW_GOOD, LC_ARROW_COMPRESSED

    ctypedef struct lc_arrow_facts:
        uint64_t rows

    int lc_arrow_check(const uint8_t* at, uint64_t length, lc_arrow_facts* facts)


cdef extern from "wire/transfer_columns.h" nogil:
    ctypedef enum lc_column_kind "enum lc_column_kind":
        LC_COLUMN_ABSENT
        LC_COLUMN_STRING
        LC_COLUMN_LARGE_STRING
        LC_COLUMN_ENTRY
        LC_COLUMN_SLOT
        LC_COLUMN_AMOUNT

    const int LC_CELL_GOOD, LC_CELL_NULL, LC_CELL_OUT_OF_RANGE, LC_CELL_BROKEN

    ctypedef struct lc_column:
        lc_column_kind kind
        const uint8_t* validity
        const void* numbers
        const char* data
        int64_t rows
        char number_format
        const lc_column* dictionary
        uint32_t account_count

    ctypedef struct lc_transfer_columns:
        lc_column key, source, target, amount, memo

    bint lc_is_there(const lc_column* column, int64_t row)
    int lc_read_cell(const lc_column* column, int64_t row, lc_text* text)
    int lc_read_row(const lc_transfer_columns* columns, int64_t row, lc_transfer* found)


cdef extern from "admission/token_bucket.h" nogil:
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


cdef extern from "admission/fair_share.h" nogil:
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
