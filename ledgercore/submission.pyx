"""A micro-batch of transfers on its way: filled by one thread, applied by another, then read.

Its memory grows with what is put in, and stays where it is once it is submitted.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from ledgercore._c cimport *
from ledgercore.ledger cimport Ledger

from .arguments import check_amount, check_id, check_memo, check_scope
from .errors import QueueFull
from .status import Status
from .types import Outcome

cdef enum:
    RECORDS_MIN = 32
    TEXT_BYTES_MIN = 1024

STATUSES = {int(status): status for status in Status}


cdef class Submission:
    """A micro-batch on its way through one segment. See engine.pyi for its contract."""

    def __cinit__(self, Ledger ledger, uint32_t count_max):
        self.ledger = ledger
        self.count_max = count_max

    def __dealloc__(self):
        free(self.data.records)
        free(self.data.outcomes)
        free(self.data.text)

    def __len__(self):
        return self.data.count

    @property
    def is_full(self):
        return self.data.count >= self.count_max

    @property
    def failed(self):
        return self.data.failed

    cdef int make_room(self, uint32_t text_bytes) except -1:
        cdef submission_t* data = &self.data
        cdef uint32_t capacity
        if data.count >= data.capacity:
            capacity = min(max(data.capacity * 2, RECORDS_MIN), self.count_max)
            data.records = <lc_record*> grow(data.records, capacity * sizeof(lc_record))
            data.outcomes = <lc_outcome*> grow(data.outcomes, capacity * sizeof(lc_outcome))
            data.capacity = capacity
        if data.text_used + text_bytes > data.text_capacity:
            capacity = max(data.text_capacity * 2, TEXT_BYTES_MIN, text_bytes)
            data.text = <char*> grow(data.text, capacity)
            data.text_capacity = capacity
        return 0

    cdef void add_text(self, lc_record* record, bytes text) noexcept:
        memcpy(self.data.text + self.data.text_used, <const char*> text, len(text))
        self.data.text_used += len(text)
        record.text_length += len(text)

    def add(self, client, key, source, target, amount, memo=None):
        """Add a transfer and return its index."""
        return self.add_checked(
            check_scope(key, client), check_id("source", source), check_id("target", target),
            check_amount(amount), check_memo(memo),
        )

    cdef uint32_t add_checked(
        self, bytes scope, bytes source, bytes target, int64_t amount, bytes memo
    ) except? 0xFFFFFFFF:
        if self.data.owner != NULL or self.data.count >= self.count_max:
            raise QueueFull("the submission is full")
        self.make_room(LC_RECORD_TEXT_BYTES_MAX)
        cdef lc_record* record = &self.data.records[self.data.count]
        memset(record, 0, sizeof(lc_record))
        record.kind = LC_TRANSFER
        cdef lc_hash128 key = lc_siphash(self.ledger.hash_key, <const char*> scope, len(scope))
        record.key[0] = key.low
        record.key[1] = key.high
        record.amount = amount
        record.text_offset = self.data.text_used
        record.source = self.ledger.find(<const char*> source, len(source))
        if record.source == LC_SLOT_NONE:
            record.first_length = len(source)
            self.add_text(record, source)
        record.target = self.ledger.find(<const char*> target, len(target))
        if record.target == LC_SLOT_NONE:
            record.second_length = len(target)
            self.add_text(record, target)
        if memo is not None:
            self.add_text(record, memo)
        self.data.count += 1
        return self.data.count - 1

    def outcome(self, uint32_t index):
        if index >= self.data.count:
            raise IndexError(index)
        cdef lc_outcome* outcome = &self.data.outcomes[index]
        return Outcome(
            outcome.lsn, STATUSES[outcome.status], bool(outcome.replayed), outcome.time_ns
        )

    def asset(self, uint32_t index):
        if index >= self.data.count:
            raise IndexError(index)
        cdef lc_record* record = &self.data.records[index]
        cdef uint8_t status = self.data.outcomes[index].status
        # An outcome of "not found" stays one, even where the account exists by now.
        if status == LC_SOURCE_NOT_FOUND or status == LC_TARGET_NOT_FOUND:
            return None
        if record.source >= self.ledger.account_count:
            return None
        return self.ledger.asset_names[self.ledger.account[record.source].asset]


cdef void* grow(void* memory, size_t size) except NULL:
    cdef void* larger = realloc(memory, size)
    if larger == NULL:
        raise MemoryError()
    return larger
