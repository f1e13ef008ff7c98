"""The fields and the kernel of the ledger, for the modules beside it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cimport cython

from ledgercore._c cimport (
    lc_account, lc_hash_key, lc_index, lc_key_entry, lc_key_stripe, lc_keys, lc_logged_time,
    lc_outcome, lc_parties, lc_record, lc_ring, lc_row, lc_stripe,
)


cdef enum:
    INDEX_LEVELS_MAX = 33


@cython.final
cdef class Ledger:
    cdef:
        int64_t* balance
        lc_account* account
        char* ids
        uint64_t ids_used, ids_bytes
        uint32_t accounts_max
        uint32_t account_count
        lc_stripe* stripes
        uint32_t stripe_mask
        lc_index indexes[INDEX_LEVELS_MAX]
        uint32_t index_level
        lc_keys keys
        lc_ring ring
        lc_hash_key hash_key
        lc_parties parties
        lc_logged_time time
        int64_t last_time_ns
        list tables
        list asset_names
        dict asset_numbers
        object balances_view

    cdef void* table(self, uint64_t count, size_t item_bytes, bint huge_pages=*) except NULL
    cdef int grow_index(self) except -1
    cdef int start_keys(
        self, uint64_t keys_max, uint64_t keys_room, int64_t key_ttl_ns, uint64_t keys_reserved
    ) except -1
    cdef int64_t now(self) noexcept nogil
    cdef uint64_t hash_id(self, const char* id, size_t length) noexcept nogil
    cdef uint32_t find(self, const char* id, size_t length) noexcept nogil
    cdef uint32_t find_hashed(self, uint64_t hash, const char* id, size_t length) noexcept nogil
    cdef uint64_t prefetch_id(self, const char* id, size_t length) noexcept nogil
    cdef bint is_open(self, uint32_t slot) noexcept nogil
    cdef uint8_t judge(
        self, const lc_record* transfer, int64_t* source_after, int64_t* target_after
    ) noexcept nogil
    cdef void post(self, lc_record* transfer, const char* text) noexcept nogil
    cdef bint resolve(self, lc_record* transfer, const char* text) noexcept nogil
    cdef uint64_t digest(self, const lc_record* transfer, const char* text) noexcept nogil
    cdef void apply(
        self, lc_record* transfer, const char* text, uint64_t hash, lc_outcome* outcome,
        uint64_t* rest_lsn, bint is_late
    ) noexcept nogil
    cdef void apply_once(
        self, lc_record* transfer, const char* text, uint64_t hash, lc_key_stripe* stripe,
        lc_outcome* outcome, uint64_t* rest_lsn, bint is_late
    ) noexcept nogil
    cdef void answer_known(
        self, const lc_record* transfer, const char* text, uint64_t digest,
        const lc_key_entry* known, lc_outcome* outcome, uint64_t* rest_lsn
    ) noexcept nogil
    cdef uint16_t outcome_asset(self, uint32_t source, uint8_t status) noexcept nogil
    cdef void remember(
        self, const lc_record* transfer, uint64_t digest, uint64_t hash, lc_key_stripe* stripe
    ) noexcept nogil
    cdef uint64_t prefetch(
        self, const uint64_t* key, uint32_t source, uint32_t target
    ) noexcept nogil
    cdef void apply_rows(
        self, const lc_row* rows, lc_outcome* outcomes, uint32_t count, uint64_t* rest_lsn
    ) noexcept nogil
    cdef void apply_records(
        self, lc_record* records, const char* text, lc_outcome* outcomes, uint32_t count,
        uint64_t* rest_lsn
    ) noexcept nogil
