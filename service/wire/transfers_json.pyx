"""Transfers as JSON, from and to a submission, without a Python object for any of them.

This module owns the fast way through bodies of many transfers, where what is plain goes straight
into records, and outcomes straight into an answer; and how a time is written. It never says what
is wrong with a body: what is not plain is left to the whole grammar (bulk.py), which reads the
same.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission
from ledgercore.service.wire.integer_forms cimport IntegerForms, write_integer

cdef enum:
    TIME_BYTES_MAX = 32
    PARTS_MAX = 256
    FIXED_BYTES = 96  # What is written of an item besides its part: names, number, time, signs.


def read_plain_transfer(bytes body not None):
    """Return the members of a transfer by their names; None where the body is not plain.

    It is where lc_read_transfer takes it, with nothing but space around it. The amount is a number,
    however it was written; the members are those that are there.
    """
    cdef lc_transfer_json found
    cdef const char* at = body
    cdef const char* end = at + len(body)
    at = lc_read_transfer(lc_skip_space(at, end), end, &found)
    if at == NULL or lc_skip_space(at, end) != end:
        return None
    cdef dict members = {
        "from": decode(found.source), "to": decode(found.target), "amount": found.amount
    }
    if found.members & LC_MEMBER_MEMO:
        members["memo"] = decode(found.memo)
    if found.members & LC_MEMBER_KEY:
        members["idempotency_key"] = decode(found.key)
    return members


cdef inline str decode(lc_text text):
    return text.start[:text.length].decode("utf-8")


def add_transfers(Submission submission not None, bytes body, bytes client):
    """Add every transfer of a JSON array to an empty submission; False where it is not plain.

    `client` is the scope of the keys, of at most 255 bytes. The body is plain where
    lc_read_transfer takes each item, each with its key, and all of them fit. Where False is
    returned, the submission is empty again. Raises MemoryError. Releases the GIL.
    """
    cdef const char* start = body
    cdef const char* end = start + len(body)
    cdef lc_text scope
    cdef int result
    scope.start, scope.length = <const char*> client, len(client)
    if scope.length > LC_KEY_BYTES_MAX or len(submission) > 0:
        raise ValueError("a client of more than 255 bytes, or a submission that is not empty")
    with nogil:
        result = read_array(submission, start, end, scope)
        if result <= 0:
            submission.forget()
    if result < 0:
        raise MemoryError()
    return result > 0


cdef int read_array(
    Submission submission, const char* at, const char* end, lc_text client
) noexcept nogil:
    """1: all of it was read; 0: it is not plain; -1: there is no memory."""
    cdef lc_transfer found
    cdef uint32_t members = 0
    at = lc_skip_space(at, end)
    if at >= end or at[0] != c"[":
        return 0
    while at < end and (at[0] == c"[" or at[0] == c","):
        at = lc_read_transfer(lc_skip_space(at + 1, end), end, &found, &members)
        if at == NULL or not members & LC_MEMBER_KEY:
            return 0
        if submission.data.count >= submission.count_max:
            return 0
        found.client = client
        if submission.put(&found) < 0:
            return -1
        at = lc_skip_space(at, end)
    if at >= end or at[0] != c"]":
        return 0
    return lc_skip_space(at + 1, end) == end


def format_time(int64_t time_ns):
    """Return a time since 1970 as RFC 3339 in UTC, to the microsecond, which is cut."""
    cdef char text[TIME_BYTES_MAX]
    return text[:lc_write_time(text, time_ns) - text].decode("ascii")


def encode_outcomes(
    Submission submission not None, list parts, IntegerForms forms not None = IntegerForms()
):
    """Return the outcomes of a submission as a JSON array, in their order. Releases the GIL.

    `parts` holds, by the number of a status, what an item says of it, such as `"status":"applied"`.
    An outcome that was stored has `id` before it and `created_at` behind it; one that was stored
    before has `"replayed":true` last.
    """
    cdef const char* texts[PARTS_MAX]
    cdef uint32_t lengths[PARTS_MAX]
    cdef uint32_t i, longest = 0
    if len(parts) < LC_STATUS_END or len(parts) > PARTS_MAX:
        raise ValueError("a part for each status is needed")
    for i in range(<uint32_t> len(parts)):
        part = <bytes> parts[i]
        texts[i] = part
        lengths[i] = len(part)
        longest = max(longest, lengths[i])
    cdef size_t room = 2 + <size_t> submission.data.count * (longest + FIXED_BYTES)
    cdef bytes answer = PyBytes_FromStringAndSize(NULL, room)
    cdef char* start = PyBytes_AS_STRING(answer)
    cdef char* end
    with nogil:
        end = write_array(submission, start, texts, lengths, forms)
    return answer[:end - start]


cdef char* write_array(
    Submission submission, char* at, const char** texts, const uint32_t* lengths,
    IntegerForms forms
) noexcept nogil:
    cdef const lc_outcome* outcome
    cdef uint32_t i
    at[0] = c"["
    at += 1
    for i in range(submission.data.count):
        outcome = &submission.data.outcomes[i]
        if i > 0:
            at[0] = c","
            at += 1
        at = write_item(
            at, outcome, texts[outcome.status], lengths[outcome.status],
            forms.is_string(outcome.lsn)
        )
    at[0] = c"]"
    return at + 1


cdef inline char* write_item(
    char* at, const lc_outcome* outcome, const char* part, uint32_t length, bint is_string
) noexcept nogil:
    at = write(at, b"{", 1)
    if outcome.lsn != 0:
        at = write(write_integer(write(at, b'"id":', 5), outcome.lsn, is_string), b",", 1)
    at = write(at, part, length)
    if outcome.status >= LC_OUTCOME_END:
        return write(at, b"}", 1)
    at = lc_write_time(write(at, b',"created_at":"', 15), outcome.time_ns)
    if outcome.replayed:
        return write(at, b'","replayed":true}', 18)
    return write(at, b'"}', 2)


cdef inline char* write(char* at, const char* text, size_t length) noexcept nogil:
    memcpy(at, text, length)
    return at + length
