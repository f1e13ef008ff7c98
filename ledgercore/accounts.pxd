"""What replay.pyx shares with the opening of accounts."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ledgercore._c cimport lc_record
from ledgercore.ledger cimport Ledger


cpdef uint32_t find_slot(Ledger ledger, str id) except? 0xFFFFFFFE
cdef int check_capacity(Ledger ledger, uint64_t text_bytes) except -1
cdef uint32_t place_account(
    Ledger ledger, bytes id, bytes asset_name, uint32_t asset, int64_t floor, int64_t ceiling
) except? 0xFFFFFFFE
cdef void publish_account(Ledger ledger, uint32_t slot, uint8_t flags) noexcept nogil
cdef uint32_t asset_number(Ledger ledger, bytes name) except? 0xFFFFFFFE
cdef void describe_account(Ledger ledger, uint32_t slot, lc_record* record) noexcept nogil
