"""Transfers as columns, from and to a submission, without a Python object for any of them.

This module owns the fast way through tables that follow Arrow's C interfaces, whichever library
has decoded them: rows go straight into records, and outcomes straight into columns. It names the
first row that does not do, and never says why: arrow.py does.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.errno cimport ENOMEM
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strcmp, strlen

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission

cdef enum:
    COLUMNS = 5
    STATUSES_MAX = 256

COLUMN_NAMES = ("key", "from", "to", "amount", "memo")

cdef int MEMBERS[COLUMNS]
MEMBERS[:] = [LC_MEMBER_KEY, LC_MEMBER_FROM, LC_MEMBER_TO, LC_MEMBER_AMOUNT, LC_MEMBER_MEMO]

cdef dict CELLS = {
    LC_CELL_GOOD: "", LC_CELL_NULL: "null", LC_CELL_OUT_OF_RANGE: "out-of-range",
    LC_CELL_BROKEN: "broken",
}


class ColumnFault(Exception):
    """A column that is not one of transfers, or the first row that does not do.

    `row` is None for what is wrong with the column itself. `code` is one of missing, unknown,
    duplicate, type; of a row one of null, out-of-range, broken, or "" where `value` tells: bytes,
    or the int of an amount.
    """

    def __init__(self, column, code, row=None, value=None):
        super().__init__(column, code, row, value)
        self.column, self.code = column, code
        self.row, self.value = row, value


class CompressedStream(Exception):
    """A stream that would have to be expanded to be read: a few bytes may become any number."""


def check_stream(bytes body):
    """Walk the frame of an Arrow IPC stream; returns how many rows it has.

    Raises ValueError where it is malformed, and CompressedStream where it is compressed.
    """
    cdef lc_arrow_facts facts
    cdef int result = lc_arrow_check(<const uint8_t*> <const char*> body, len(body), &facts)
    if result == LC_ARROW_COMPRESSED:
        raise CompressedStream
    if result != LC_ARROW_GOOD:
        raise ValueError("its messages are cut, mixed up or larger than they say")
    return facts.rows


# -- in -------------------------------------------------------------------------------------------


cdef struct table_t:
    # Where each of COLUMN_NAMES is among the columns, -1 where it is absent; and what is read.
    int places[COLUMNS]
    lc_column columns[COLUMNS]
    lc_column dictionaries[COLUMNS]
    lc_transfer_columns rows


def add_columns(Submission submission not None, stream, bytes client):
    """Add every row of a table of transfers to an empty submission, which it fits.

    `stream` is what has `__arrow_c_stream__`; `client` is the scope of the keys, of at most 255
    bytes. Raises ColumnFault, ValueError with what the decoder says, MemoryError; then the
    submission is empty again. Releases the GIL.
    """
    cdef table_t table
    cdef lc_text scope
    scope.start, scope.length = <const char*> client, len(client)
    if scope.length > LC_KEY_BYTES_MAX or len(submission) > 0:
        raise ValueError("a client of more than 255 bytes, or a submission that is not empty")
    capsule = stream.__arrow_c_stream__()  # It owns what it points to.
    cdef ArrowArrayStream* source = <ArrowArrayStream*> PyCapsule_GetPointer(
        capsule, b"arrow_array_stream"
    )
    try:
        read_schema(source, submission, &table)
        while add_batch(source, submission, &table, scope):
            pass
    except BaseException:
        submission.forget()
        raise


cdef int refuse_stream(ArrowArrayStream* stream, int code) except -1:
    cdef const char* text = stream.get_last_error(stream)
    if code == ENOMEM:
        raise MemoryError()
    raise ValueError("" if text == NULL else (<bytes> text).decode(errors="replace"))


cdef int read_schema(ArrowArrayStream* stream, Submission submission, table_t* table) except -1:
    """Find the columns, and refuse what is none of them."""
    cdef ArrowSchema schema
    cdef int code
    memset(table, 0, sizeof(table_t))
    memset(&schema, 0, sizeof(ArrowSchema))
    with nogil:
        code = stream.get_schema(stream, &schema)
    if code != 0:
        refuse_stream(stream, code)
    try:
        find_columns(&schema, submission, table)
    finally:
        schema.release(&schema)
    return 0


cdef int find_columns(ArrowSchema* schema, Submission submission, table_t* table) except -1:
    cdef int i, place
    cdef bytes name
    for i in range(COLUMNS):
        table.places[i] = -1
    if strcmp(schema.format, b"+s") != 0:
        raise ValueError("not a table")
    for place in range(<int> schema.n_children):
        name = b"" if schema.children[place].name == NULL else schema.children[place].name
        text = name.decode(errors="replace")
        if text not in COLUMN_NAMES:
            raise ColumnFault(text, "unknown")
        i = COLUMN_NAMES.index(text)
        if table.places[i] >= 0:
            raise ColumnFault(text, "duplicate")
        table.places[i] = place
        if not find_kind(i, schema.children[place], submission, table):
            raise ColumnFault(text, "type")
    for i in range(COLUMNS):
        if table.places[i] < 0 and MEMBERS[i] != LC_MEMBER_MEMO:
            raise ColumnFault(COLUMN_NAMES[i], "missing")
    return 0


cdef lc_column_kind string_kind(ArrowSchema* schema) noexcept:
    if strcmp(schema.format, b"u") == 0:
        return LC_COLUMN_STRING
    return LC_COLUMN_LARGE_STRING if strcmp(schema.format, b"U") == 0 else LC_COLUMN_ABSENT


cdef bint find_kind(int i, ArrowSchema* schema, Submission submission, table_t* table) noexcept:
    """Note what a column is made of; False where it may not be."""
    cdef lc_column* column = &table.columns[i]
    cdef bint is_account = MEMBERS[i] == LC_MEMBER_FROM or MEMBERS[i] == LC_MEMBER_TO
    if MEMBERS[i] == LC_MEMBER_AMOUNT:
        column.kind = LC_COLUMN_AMOUNT
        return strcmp(schema.format, b"l") == 0 and schema.dictionary == NULL
    if schema.dictionary != NULL:
        column.kind = LC_COLUMN_ENTRY
        column.number_format = schema.format[0]
        column.dictionary = &table.dictionaries[i]
        table.dictionaries[i].kind = string_kind(schema.dictionary)
        return (
            table.dictionaries[i].kind != LC_COLUMN_ABSENT and schema.dictionary.dictionary == NULL
            and strlen(schema.format) == 1 and schema.format[0] in b"cCsSiIlL"
        )
    if is_account and strcmp(schema.format, b"I") == 0:
        column.kind = LC_COLUMN_SLOT
        # Accounts are only added, and under the GIL, so those that are counted here are whole.
        column.account_count = submission.count_accounts()
        return True
    column.kind = string_kind(schema)
    return column.kind != LC_COLUMN_ABSENT


cdef bint add_batch(
    ArrowArrayStream* stream, Submission submission, table_t* table, lc_text client
) except -1:
    """Add the rows of the next batch; False where there is none."""
    cdef ArrowArray batch
    cdef int code
    cdef int64_t row = -1
    cdef uint32_t before = submission.data.count
    memset(&batch, 0, sizeof(ArrowArray))
    with nogil:
        code = stream.get_next(stream, &batch)
    if code != 0:
        refuse_stream(stream, code)
    if batch.release == NULL:
        return False
    try:
        if not bind(&batch, table):
            raise ValueError("a batch that is not laid out as its schema says")
        if batch.length > submission.count_max - before:
            raise ValueError("more rows than were announced")
        with nogil:
            code = add_rows(submission, table, batch.length, client, &row)
        if code < 0:
            raise MemoryError()
        if code > 0:
            raise make_fault(table, code, before, row)
    finally:
        batch.release(&batch)
    return True


cdef bint bind(ArrowArray* batch, table_t* table) noexcept:
    """Point the columns at the memory of a batch; False where it is not laid out as it should."""
    cdef int i
    cdef ArrowArray* array
    if batch.offset != 0 or batch.length < 0:
        return False
    for i in range(COLUMNS):
        if table.places[i] < 0:
            continue
        if table.places[i] >= batch.n_children:
            return False
        array = batch.children[table.places[i]]
        if array.length != batch.length or not bind_column(array, &table.columns[i]):
            return False
        if table.columns[i].kind == LC_COLUMN_ENTRY:
            if array.dictionary == NULL:
                return False
            if not bind_column(array.dictionary, &table.dictionaries[i]):
                return False
    table.rows.key = table.columns[0]
    table.rows.source = table.columns[1]
    table.rows.target = table.columns[2]
    table.rows.amount = table.columns[3]
    table.rows.memo = table.columns[4]
    return True


cdef bint bind_column(ArrowArray* array, lc_column* column) noexcept:
    cdef bint is_text = column.kind == LC_COLUMN_STRING or column.kind == LC_COLUMN_LARGE_STRING
    if array.offset != 0 or array.length < 0 or array.n_buffers != (3 if is_text else 2):
        return False
    column.rows = array.length
    column.validity = <const uint8_t*> array.buffers[0]
    column.numbers = array.buffers[1]
    column.data = <const char*> array.buffers[2] if is_text else NULL
    return column.numbers != NULL or array.length == 0


cdef int add_rows(
    Submission submission, table_t* table, int64_t rows, lc_text client, int64_t* row
) noexcept nogil:
    """0: all of them; else the member that does not do in `row`; -1: there is no memory."""
    cdef lc_transfer found
    cdef int member
    cdef int64_t i
    for i in range(rows):
        member = lc_read_row(&table.rows, i, &found)
        if member != 0:
            row[0] = i
            return member
        found.client = client
        if submission.put(&found) < 0:
            return -1
    return 0


cdef object make_fault(table_t* table, int member, uint32_t before, int64_t row):
    """Return the fault of a cell, with what it holds."""
    cdef int i = 0, cell
    cdef lc_text text
    while MEMBERS[i] != member:
        i += 1
    cdef lc_column* column = &table.columns[i]
    value = None
    if column.kind == LC_COLUMN_AMOUNT:
        cell = LC_CELL_GOOD if lc_is_there(column, row) else LC_CELL_NULL
        value = (<const int64_t*> column.numbers)[row]
    else:
        cell = lc_read_cell(column, row, &text)
        if cell == LC_CELL_GOOD and column.kind != LC_COLUMN_SLOT:
            value = text.start[:text.length]
    return ColumnFault(COLUMN_NAMES[i], CELLS[cell], before + row, value)


# -- out ------------------------------------------------------------------------------------------


def encode_outcomes(Submission submission not None, list names):
    """Return the outcomes of a submission as the buffers of columns, in their order.

    `names` holds, by the number of a status, what it is called. Returned are of `id` the validity,
    bits, and the numbers, uint64; of `status` the offsets, int32, and the text; and `replayed`,
    bits. What was not stored has no id. Releases the GIL.
    """
    cdef const char* texts[STATUSES_MAX]
    cdef uint32_t lengths[STATUSES_MAX]
    cdef uint32_t i, count = submission.data.count
    cdef size_t bits = (count + 7) // 8
    cdef uint64_t text_bytes = 0
    if len(names) < LC_STATUS_END or len(names) > STATUSES_MAX:
        raise ValueError("a name for each status is needed")
    for i in range(<uint32_t> len(names)):
        name = <bytes> names[i]
        texts[i] = name
        lengths[i] = len(name)
    for i in range(count):
        text_bytes += lengths[submission.data.outcomes[i].status]
    cdef bytes validity = PyBytes_FromStringAndSize(NULL, bits)
    cdef bytes replayed = PyBytes_FromStringAndSize(NULL, bits)
    cdef bytes ids = PyBytes_FromStringAndSize(NULL, count * sizeof(uint64_t))
    cdef bytes offsets = PyBytes_FromStringAndSize(NULL, (count + 1) * sizeof(int32_t))
    cdef bytes text = PyBytes_FromStringAndSize(NULL, text_bytes)
    cdef uint8_t* is_stored = <uint8_t*> PyBytes_AS_STRING(validity)
    cdef uint8_t* is_replayed = <uint8_t*> PyBytes_AS_STRING(replayed)
    cdef uint64_t* id_at = <uint64_t*> PyBytes_AS_STRING(ids)
    cdef int32_t* offset_at = <int32_t*> PyBytes_AS_STRING(offsets)
    cdef char* start = PyBytes_AS_STRING(text)
    cdef char* end = start
    cdef const lc_outcome* outcome
    with nogil:
        memset(is_stored, 0, bits)
        memset(is_replayed, 0, bits)
        for i in range(count):
            outcome = &submission.data.outcomes[i]
            id_at[i] = outcome.lsn
            is_stored[i >> 3] |= (outcome.lsn != 0) << (i & 7)
            is_replayed[i >> 3] |= (outcome.replayed != 0) << (i & 7)
            offset_at[i] = <int32_t> (end - start)
            memcpy(end, texts[outcome.status], lengths[outcome.status])
            end += lengths[outcome.status]
        offset_at[count] = <int32_t> (end - start)
    return validity, ids, offsets, text, replayed
