"""A micro-batch of transfers on its way: filled by one thread, applied by another, then read.

Its memory grows with what is put in, and stays where it is once it is submitted.
"""

from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

from ledgercore._c cimport *
from ledgercore.ledger cimport Ledger
from ledgercore.outcome cimport make_outcome

from .validation import check_amount, check_id, check_memo, check_scope
from .errors import QueueFull

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    char* PyUnicode_DATA(object text)
    int64_t PyLong_AsLongLongAndOverflow(object number, int* overflow)

cdef enum:
    SCOPE_BYTES_MAX = 255 + 1 + 255
    RECORDS_MIN = 32
    TEXT_BYTES_MIN = 1024

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
    """A micro-batch on its way through one segment, made by `Engine.new_submission`.

    Filled by one thread, handed over once with `Engine.submit`, and read again after
    `Engine.completed` has returned it. An empty one is a barrier.
    """

    def __cinit__(self, Ledger ledger not None, uint32_t count_max, bint keeps_names=True):
        self.engine_half = ledger
        self.count_max = count_max
        if keeps_names:
            self.data.names = <names_t*> malloc(RECORDS_MIN * sizeof(names_t))
            if self.data.names == NULL:
                raise MemoryError()

    def __dealloc__(self):
        free(self.data.records)
        free(self.data.outcomes)
        free(self.data.text)
        free(self.data.names)
        free(self.data.deadlines)

    def __len__(self):
        return self.data.count

    @property
    def is_full(self):
        """Whether it has as many transfers as it has room for."""
        return self.data.count >= self.count_max

    @property
    def failed(self):
        """True if the journal failed under it: the outcomes are unknown, and must not be told."""
        return self.data.failed

    @property
    def late_count(self):
        """How many of its transfers are DEADLINE_PASSED, once it has completed."""
        return self.data.late_count

    @property
    def segment_hash(self):
        """What names the segment of its first source: this, modulo the number of segments."""
        return self.data.segment_hash

    @property
    def stamps(self):
        """When it was submitted, begun, applied and durable, in monotonic ns; 0: not measured."""
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
            if data.names != NULL:
                if grow(<void**> &data.names, capacity * sizeof(names_t)) < 0:
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

    cdef void add_text(self, const char* text, uint32_t length) noexcept nogil:
        if length > 0:  # A text that is not there need not have a place.
            memcpy(self.data.text + self.data.text_used, text, length)
            self.data.text_used += length

    def add(self, client, key, source, target, amount, memo=None):
        """Add a transfer and return its index.

        `client` is the scope of the key (0-255 bytes), `key` 1-255 visible ASCII characters,
        `source` and `target` account ids, `amount` 1 to 2**63-1 minor units, `memo` at most
        256 bytes of UTF-8. Raises InvalidArgument, or QueueFull if the submission is full.
        """
        cdef bytes scope, from_id, to_id, text
        cdef int64_t index = -1
        cdef lc_transfer wanted
        lc_transfer_clear(&wanted)
        if self.data.owner != NULL or self.data.count >= self.count_max:
            raise QueueFull("the submission is full")
        # What is plain is read here; for all else validation.py says whether it is right.
        if not (
            client == "" and memo is None and read_amount(amount, &wanted.amount)
            and read_text(key, LC_BYTE_KEY, LC_KEY_BYTES_MAX, &wanted.key)
            and read_text(source, LC_BYTE_ID, LC_ACCOUNT_ID_BYTES_MAX, &wanted.source)
            and read_text(target, LC_BYTE_ID, LC_ACCOUNT_ID_BYTES_MAX, &wanted.target)
        ):
            scope, from_id = check_scope(key, client), check_id("source", source)
            to_id, wanted.amount = check_id("target", target), check_amount(amount)
            text = check_memo(memo) or b""
            wanted.client = wanted.key = view(scope)
            wanted.client.length = <uint32_t> scope.index(b"\0")
            wanted.key.start += wanted.client.length + 1
            wanted.key.length -= wanted.client.length + 1
            wanted.source, wanted.target, wanted.memo = view(from_id), view(to_id), view(text)
        index = self.put(&wanted)
        if index < 0:
            raise MemoryError()
        return index

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
        """Have the transfer at `index`, or all so far, applied before a time or not at all.

        By time.monotonic_ns(). What the kernel has not taken by then it never takes. It is answered
        from its key where that is known already; otherwise its status is DEADLINE_PASSED: nothing
        is stored. 0 takes a deadline away.
        """
        if self.data.owner != NULL:
            raise ValueError("the submission was submitted before")
        if index is not None and not 0 <= index < self.data.count:
            raise IndexError(index)
        cdef uint32_t row, first = 0 if index is None else index
        for row in range(first, self.data.count if index is None else first + 1):
            if self.set_deadline(row, deadline_ns) < 0:
                raise MemoryError()

    cdef int64_t put(self, const lc_transfer* wanted) noexcept nogil:
        """Add a transfer whose values were checked, where one fits; returns its index, -1 where
        there is no memory."""
        if self.make_room(LC_RECORD_TEXT_BYTES_MAX + 2 * LC_ACCOUNT_ID_BYTES_MAX) < 0:
            return -1
        cdef uint32_t index = self.data.count
        cdef lc_record* record = &self.data.records[index]
        cdef uint64_t source_hash, target_hash
        cdef lc_text source = wanted.source, target = wanted.target
        if wanted.deadline_ns > 0 or self.data.deadlines != NULL:
            if self.set_deadline(index, wanted.deadline_ns) < 0:
                return -1
        memset(record, 0, sizeof(lc_record))
        record.kind = LC_TRANSFER
        record.amount = wanted.amount
        self.set_key(record, wanted)
        # Both ids are hashed before either is looked up, so that the misses of memory overlap.
        source_hash = self.find_account(wanted.source_slot, &source)
        target_hash = self.find_account(wanted.target_slot, &target)
        record.source = self.find_slot(wanted.source_slot, source_hash, source)
        record.target = self.find_slot(wanted.target_slot, target_hash, target)
        if self.data.names != NULL:
            self.data.names[index].offset = self.data.text_used
            self.data.names[index].source_length = <uint8_t> source.length
            self.data.names[index].target_length = <uint8_t> target.length
            self.add_text(source.start, source.length)
            self.add_text(target.start, target.length)
        self.set_record_text(record, wanted)
        if index == 0:
            self.data.segment_hash = source_hash
        self.data.count += 1
        return index

    cdef void set_key(self, lc_record* record, const lc_transfer* wanted) noexcept nogil:
        """Take the fingerprint of the key: of the client, a zero byte, the key."""
        cdef char scope[SCOPE_BYTES_MAX]
        cdef lc_hash128 key
        if wanted.client.length > 0:
            memcpy(scope, wanted.client.start, wanted.client.length)
        scope[wanted.client.length] = 0
        memcpy(scope + wanted.client.length + 1, wanted.key.start, wanted.key.length)
        cdef uint32_t length = wanted.client.length + 1 + wanted.key.length
        key = lc_siphash((<Ledger> self.engine_half).hash_key, scope, length)
        record.key[0] = key.low
        record.key[1] = key.high

    cdef uint64_t find_account(self, uint32_t slot, lc_text* id) noexcept nogil:
        """The hash of an account's id, which is fetched; of one that is told by its slot, also the
        id itself."""
        cdef lc_account* account
        if slot == LC_SLOT_NONE:
            return (<Ledger> self.engine_half).prefetch_id(id.start, id.length)
        account = &(<Ledger> self.engine_half).account[slot]
        id.start = (<Ledger> self.engine_half).ids + account.id_offset
        id.length = account.id_length
        return account.id_hash

    cdef uint32_t find_slot(self, uint32_t slot, uint64_t hash, lc_text id) noexcept nogil:
        if slot != LC_SLOT_NONE:
            return slot
        return (<Ledger> self.engine_half).find_hashed(hash, id.start, id.length)

    cdef void set_record_text(self, lc_record* record, const lc_transfer* wanted) noexcept nogil:
        """Add the text that the record is stored with (src/record.h)."""
        record.text_offset = self.data.text_used
        if record.source == LC_SLOT_NONE:
            record.first_length = <uint8_t> wanted.source.length
            self.add_text(wanted.source.start, wanted.source.length)
        if record.target == LC_SLOT_NONE:
            record.second_length = <uint8_t> wanted.target.length
            self.add_text(wanted.target.start, wanted.target.length)
        self.add_text(wanted.memo.start, wanted.memo.length)
        record.text_length = <uint16_t> (self.data.text_used - record.text_offset)

    cdef lc_text source(self, uint32_t index) noexcept:
        """The id that a transfer was asked for with; of length 0 where names are not kept."""
        cdef lc_text id
        id.start, id.length = b"", 0
        if self.data.names != NULL:
            id.start = self.data.text + self.data.names[index].offset
            id.length = self.data.names[index].source_length
        return id

    cdef lc_text target(self, uint32_t index) noexcept:
        """As `source`."""
        cdef lc_text id = self.source(index)
        if self.data.names != NULL:
            id.start += id.length
            id.length = self.data.names[index].target_length
        return id

    cdef uint32_t count_accounts(self) noexcept:
        """How many accounts there are now; their slots are those below."""
        return (<Ledger> self.engine_half).account_count

    def sum_new(self):
        """The sum of what it has moved, once it has completed; at most 2**63-1."""
        cdef const lc_outcome* outcome
        cdef uint32_t row
        cdef int64_t total = 0
        for row in range(self.data.count):
            outcome = &self.data.outcomes[row]
            if outcome.status == LC_APPLIED and not outcome.replayed:
                total = add_amount(total, self.data.records[row].amount)
        return total

    def sum_late(self):
        """The sum of what is DEADLINE_PASSED, once it has completed, each key once; as above."""
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
        """Let a submission that has completed be submitted, as if it never had been."""
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
        """What became of the transfer at `index`, once it has completed. Raises IndexError."""
        if index >= self.data.count:
            raise IndexError(index)
        return make_outcome(&self.data.outcomes[index])

    def asset(self, uint32_t index):
        """The asset of the transfer, None where an account of it did not exist."""
        if index >= self.data.count:
            raise IndexError(index)
        cdef uint16_t asset = self.data.outcomes[index].asset
        return None if asset == 0 else (<Ledger> self.engine_half).asset_names[asset - 1]


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
