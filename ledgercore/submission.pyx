"""A micro-batch of transfers on its way: filled by one thread, applied by another, then read.

Its memory grows with what is put in, and stays where it is once it is submitted.
"""

cimport cython
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

from ledgercore._c cimport *
from ledgercore.ledger cimport Ledger

from .validation import check_amount, check_id, check_memo, check_scope
from .errors import QueueFull, TransferRefused
from .status import Status

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    char* PyUnicode_DATA(object text)
    int64_t PyLong_AsLongLongAndOverflow(object number, int* overflow)

cdef enum:
    SCOPE_BYTES_MAX = 255 + 1 + 255
    RECORDS_MIN = 32
    TEXT_BYTES_MIN = 1024

cdef list STATUSES = [None] * (max(Status) + 1)
for status in Status:
    STATUSES[status] = status
cdef object APPLIED = Status.APPLIED


def status_names():
    """Return the names of all statuses by number, as src/status.h tells them."""
    names = {}
    for number in range(LC_STATUS_END):
        if lc_status_name(number) != NULL:
            names[number] = lc_status_name(number).decode()
    return names


@cython.final
@cython.freelist(64)
@cython.no_gc
cdef class Outcome:
    """What became of one transfer. See submission.pyi.

    A value like those of types.py; in C, since every single transfer makes one.
    """

    cdef:
        readonly uint64_t id
        readonly object status
        readonly bint replayed
        readonly int64_t time_ns

    def __init__(self, uint64_t id, status, bint replayed, int64_t time_ns):
        self.id = id
        self.status = status
        self.replayed = replayed
        self.time_ns = time_ns

    @property
    def is_applied(self):
        return self.status is APPLIED

    def raise_if_refused(self):
        if self.status is not APPLIED:
            raise TransferRefused(self)
        return self

    def __bool__(self):
        raise TypeError(
            "an Outcome is neither true nor false: ask is_applied, or call raise_if_refused()"
        )

    cdef tuple fields(self):
        return self.id, self.status, self.replayed, self.time_ns

    def __eq__(self, other):
        return isinstance(other, Outcome) and self.fields() == (<Outcome> other).fields()

    def __hash__(self):
        return hash(self.fields())

    def __reduce__(self):
        return Outcome, self.fields()

    def __repr__(self):
        return "Outcome(id=%r, status=%r, replayed=%r, time_ns=%r)" % self.fields()


cdef Outcome make_outcome(const lc_outcome* outcome):
    cdef Outcome made = Outcome.__new__(Outcome)
    made.id = outcome.lsn
    made.status = STATUSES[outcome.status]
    made.replayed = outcome.replayed
    made.time_ns = outcome.time_ns
    return made


cdef struct late_t:
    uint64_t key[2]
    uint32_t row


cdef int compare_late(const void* first, const void* second) noexcept nogil:
    """By key, and those of one key by their rows."""
    cdef const late_t* a = <const late_t*> first
    cdef const late_t* b = <const late_t*> second
    if a.key[0] != b.key[0]:
        return 1 if a.key[0] > b.key[0] else -1
    if a.key[1] != b.key[1]:
        return 1 if a.key[1] > b.key[1] else -1
    return 1 if a.row > b.row else -1


cdef inline int64_t add_amount(int64_t total, int64_t amount) noexcept nogil:
    return INT64_MAX if total > INT64_MAX - amount else total + amount


cdef class Submission:
    """A micro-batch on its way through one segment. See engine.pyi for its contract."""

    def __cinit__(self, Ledger ledger, uint32_t count_max):
        self.ledger = ledger
        self.count_max = count_max

    def __dealloc__(self):
        free(self.data.records)
        free(self.data.outcomes)
        free(self.data.text)
        free(self.data.deadlines)

    def __len__(self):
        return self.data.count

    @property
    def is_full(self):
        return self.data.count >= self.count_max

    @property
    def failed(self):
        return self.data.failed

    @property
    def late_count(self):
        return self.data.late_count

    @property
    def segment_hash(self):
        return self.data.segment_hash

    @property
    def stamps(self):
        cdef submission_t* data = &self.data
        return data.queued_ns, data.begun_ns, data.applied_ns, data.durable_ns

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
            if data.deadlines != NULL:
                if grow(<void**> &data.deadlines, capacity * sizeof(int64_t)) < 0:
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
        cdef bytes scope, from_id, to_id, text
        cdef int64_t index = -1, number = 0
        cdef lc_text key_text, source_text, target_text, nothing
        nothing.start, nothing.length = b"", 0
        if self.data.owner != NULL or self.data.count >= self.count_max:
            raise QueueFull("the submission is full")
        # What is plain is read here; for all else validation.py says whether it is right.
        if (
            client == "" and memo is None and read_amount(amount, &number)
            and read_text(key, LC_BYTE_KEY, LC_KEY_BYTES_MAX, &key_text)
            and read_text(source, LC_BYTE_ID, LC_ACCOUNT_ID_BYTES_MAX, &source_text)
            and read_text(target, LC_BYTE_ID, LC_ACCOUNT_ID_BYTES_MAX, &target_text)
        ):
            index = self.put_for(nothing, key_text, source_text, target_text, number, nothing)
        else:
            scope, from_id = check_scope(key, client), check_id("source", source)
            to_id, number = check_id("target", target), check_amount(amount)
            text = check_memo(memo) or b""
            index = self.put(view(scope), view(from_id), view(to_id), number, view(text))
        if index < 0:
            raise MemoryError()
        return index

    cdef int64_t put_for(
        self, lc_text client, lc_text key, lc_text source, lc_text target, int64_t amount,
        lc_text memo
    ) noexcept nogil:
        """Do as `put` for a client of at most 255 bytes, of length 0 for none, and its key."""
        cdef char bytes_of_scope[SCOPE_BYTES_MAX]
        cdef lc_text scope
        memcpy(bytes_of_scope, client.start, client.length)
        bytes_of_scope[client.length] = 0
        memcpy(bytes_of_scope + client.length + 1, key.start, key.length)
        scope.start = bytes_of_scope
        scope.length = client.length + 1 + key.length
        return self.put(scope, source, target, amount, memo)

    cdef int set_deadline(self, uint32_t index, int64_t deadline_ns) noexcept nogil:
        """Let a row be applied before a time or not at all; -1 where there is no memory."""
        cdef submission_t* data = &self.data
        if data.deadlines == NULL:
            data.deadlines = <int64_t*> calloc(data.capacity, sizeof(int64_t))
            if data.deadlines == NULL:
                return -1
        data.deadlines[index] = deadline_ns
        return 0

    def limit_time(self, int64_t deadline_ns, index=None):
        if self.data.owner != NULL:
            raise ValueError("the submission was submitted before")
        if index is not None and not 0 <= index < self.data.count:
            raise IndexError(index)
        cdef uint32_t row, first = 0 if index is None else index
        for row in range(first, self.data.count if index is None else first + 1):
            if self.set_deadline(row, deadline_ns) < 0:
                raise MemoryError()

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
        # Both ids are hashed before either is looked up, so that the misses of memory overlap.
        cdef uint64_t source_hash = self.ledger.prefetch_id(source.start, source.length)
        cdef uint64_t target_hash = self.ledger.prefetch_id(target.start, target.length)
        record.source = self.ledger.find_hashed(source_hash, source.start, source.length)
        if record.source == LC_SLOT_NONE:
            record.first_length = source.length
            self.add_text(record, source.start, source.length)
        record.target = self.ledger.find_hashed(target_hash, target.start, target.length)
        if record.target == LC_SLOT_NONE:
            record.second_length = target.length
            self.add_text(record, target.start, target.length)
        self.add_text(record, memo.start, memo.length)
        if self.data.deadlines != NULL:
            self.data.deadlines[self.data.count] = 0
        if self.data.count == 0:
            self.data.segment_hash = source_hash
        self.data.count += 1
        return self.data.count - 1

    def sum_new(self):
        cdef const lc_outcome* outcome
        cdef uint32_t row
        cdef int64_t total = 0
        for row in range(self.data.count):
            outcome = &self.data.outcomes[row]
            if outcome.status == LC_APPLIED and not outcome.replayed:
                total = add_amount(total, self.data.records[row].amount)
        return total

    def sum_late(self):
        cdef uint32_t row, count = 0
        cdef int64_t total = 0
        cdef lc_record* record
        cdef late_t* late = <late_t*> malloc((self.data.late_count + 1) * sizeof(late_t))
        if late == NULL:
            raise MemoryError()
        with nogil:
            for row in range(self.data.count):
                if self.data.outcomes[row].status == LC_DEADLINE_PASSED:
                    record = &self.data.records[row]
                    late[count].key[0], late[count].key[1] = record.key[0], record.key[1]
                    late[count].row = row
                    count += 1
            qsort(late, count, sizeof(late_t), compare_late)
            for row in range(count):
                if row == 0 or late[row].key[0] != late[row - 1].key[0] or (
                    late[row].key[1] != late[row - 1].key[1]
                ):
                    total = add_amount(total, self.data.records[late[row].row].amount)
        free(late)
        return total

    def renew(self):
        if self.data.owner != NULL and not self.data.is_over:
            raise ValueError("the submission is under way")
        self.data.owner = NULL
        self.data.done = self.data.late_count = 0
        self.data.rest_lsn = 0
        self.data.is_look_up = self.data.is_over = False

    cdef void forget(self) noexcept nogil:
        """Take out all that was put in; before it is handed over."""
        self.data.count = self.data.text_used = 0

    def outcome(self, uint32_t index):
        if index >= self.data.count:
            raise IndexError(index)
        return make_outcome(&self.data.outcomes[index])

    def asset(self, uint32_t index):
        if index >= self.data.count:
            raise IndexError(index)
        cdef uint16_t asset = self.data.outcomes[index].asset
        return None if asset == 0 else self.ledger.asset_names[asset - 1]


cdef inline bint read_text(
    object text, uint8_t byte_class, Py_ssize_t length_max, lc_text* found
) noexcept:
    """Whether this is a plain string of one class of bytes; `found` points into it."""
    if type(text) is not str or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    if not 0 < PyUnicode_GET_LENGTH(text) <= length_max:
        return False
    found.start = PyUnicode_DATA(text)
    found.length = <uint32_t> PyUnicode_GET_LENGTH(text)
    return lc_is_class(found[0], byte_class)


cdef inline bint read_amount(object amount, int64_t* number) except -1:
    """Whether this is a plain amount."""
    cdef int overflow = 0
    if type(amount) is not int:
        return False
    number[0] = PyLong_AsLongLongAndOverflow(amount, &overflow)
    return overflow == 0 and number[0] > 0


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
