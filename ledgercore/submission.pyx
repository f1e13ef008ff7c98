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

    @property
    def segment_hash(self):
        return self.data.segment_hash

    cdef int make_room(self, uint32_t text_bytes) noexcept nogil:
        """Have room for one more transfer; -1 where there is no memory."""
        cdef submission_t* data = &self.data
        cdef uint32_t capacity
        if data.count >= data.capacity:
            capacity = min(max(data.capacity * 2, <uint32_t> RECORDS_MIN), self.count_max)
            if grow(<void**> &data.records, capacity * sizeof(lc_record)) < 0:
                return -1
            if grow(<void**> &data.outcomes, capacity * sizeof(lc_outcome)) < 0:
                return -1
            data.capacity = capacity
        if data.text_used + text_bytes > data.text_capacity:
            capacity = max(data.text_capacity * 2, <uint32_t> TEXT_BYTES_MIN, text_bytes)
            if grow(<void**> &data.text, capacity) < 0:
                return -1
            data.text_capacity = capacity
        return 0

    cdef void add_text(self, lc_record* record, const char* text, uint32_t length) noexcept nogil:
        memcpy(self.data.text + self.data.text_used, text, length)
        self.data.text_used += length
        record.text_length += length

    def add(self, client, key, source, target, amount, memo=None):
        """Add a transfer and return its index."""
        cdef bytes scope = check_scope(key, client), from_id = check_id("source", source)
        cdef bytes to_id = check_id("target", target), text = check_memo(memo) or b""
        cdef int64_t number = check_amount(amount)
        if self.data.owner != NULL or self.data.count >= self.count_max:
            raise QueueFull("the submission is full")
        number = self.put(view(scope), view(from_id), view(to_id), number, view(text))
        if number < 0:
            raise MemoryError()
        return number

    cdef int64_t put(
        self, lc_text scope, lc_text source, lc_text target, int64_t amount, lc_text memo
    ) noexcept nogil:
        """Add a transfer whose values were checked, where one fits; returns its index, -1 where
        there is no memory. `scope` is what check_scope returns, a memo of length 0 is none."""
        if self.make_room(LC_RECORD_TEXT_BYTES_MAX) < 0:
            return -1
        cdef lc_record* record = &self.data.records[self.data.count]
        memset(record, 0, sizeof(lc_record))
        record.kind = LC_TRANSFER
        cdef lc_hash128 key = lc_siphash(self.ledger.hash_key, scope.start, scope.length)
        record.key[0] = key.low
        record.key[1] = key.high
        record.amount = amount
        record.text_offset = self.data.text_used
        record.source = self.ledger.find(source.start, source.length)
        if record.source == LC_SLOT_NONE:
            record.first_length = source.length
            self.add_text(record, source.start, source.length)
        record.target = self.ledger.find(target.start, target.length)
        if record.target == LC_SLOT_NONE:
            record.second_length = target.length
            self.add_text(record, target.start, target.length)
        self.add_text(record, memo.start, memo.length)
        if self.data.count == 0:
            self.data.segment_hash = self.ledger.hash_id(source.start, source.length)
        self.data.count += 1
        return self.data.count - 1

    cdef void forget(self) noexcept nogil:
        """Take out all that was put in; before it is handed over."""
        self.data.count = self.data.text_used = 0

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


cdef inline lc_text view(bytes text) noexcept:
    cdef lc_text seen
    seen.start = <const char*> text
    seen.length = <uint32_t> len(text)
    return seen


cdef int grow(void** memory, size_t size) noexcept nogil:
    cdef void* larger = realloc(memory[0], size)
    if larger == NULL:
        return -1
    memory[0] = larger
    return 0
