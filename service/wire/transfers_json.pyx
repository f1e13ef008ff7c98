"""Transfers that are plain JSON, read by C (src/wire/transfer_json.h).

This module owns the fast way through bodies: that of one transfer becomes its members, and those of
many go straight into the records of a submission. It never says what is wrong with a body: what is
not plain is left to the whole grammar (json_bodies.py), which reads the same.
"""

from libc.stdint cimport uint32_t

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission


def read_plain_transfer(bytes body not None):
    """Return the members of a transfer by their names; None where the body is not plain.

    It is where lc_read_transfer takes it, with nothing but space around it. The amount is a number,
    however it was written; the members are those that are there.
    """
    cdef lc_transfer found
    cdef uint32_t told = 0
    cdef const char* at = body
    cdef const char* end = at + len(body)
    at = lc_read_transfer(lc_skip_space(at, end), end, &found, &told)
    if at == NULL or lc_skip_space(at, end) != end:
        return None
    cdef dict members = {
        "from": decode(found.source), "to": decode(found.target), "amount": found.amount
    }
    if told & LC_MEMBER_MEMO:
        members["memo"] = decode(found.memo)
    if told & LC_MEMBER_KEY:
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
