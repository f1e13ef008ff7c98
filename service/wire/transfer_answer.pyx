"""Answers to transfers as bytes: their members, and the order of these.

This module owns these bytes for whoever asked, and by whatever way the request came in: the answer
to one transfer, the items of the answer to many, and a transfer of the past. An answer is a
function of the stored outcome and the request, never of present state, so that a replay has the
bytes of the first answer. It never decides anything.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, strlen

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission
from ledgercore.service.wire.integer_forms cimport IntegerForms, write_integer

import msgspec
from sanic.headers import format_http1_response

from ledgercore import Status

from .problems import (
    CONTENT_TYPE, DEADLINE_PASSED, LATE_KINDS, NOT_STORED, STATUS_KINDS, encode_problem, list_kinds,
    make_headers,
)

cdef enum:
    STATUSES_MAX = 256
    TEXT_BYTES_MAX = 256  # Of each of the texts below.
    BODY_BYTES_MAX = 4 * TEXT_BYTES_MAX + 6 * 64 + 128
    DATE_LINE_BYTES = 6 + 29 + 2  # The second is LC_HTTP_DATE_BYTES.
    HEAD_BYTES_MAX = TEXT_BYTES_MAX + 192 + 128 + DATE_LINE_BYTES  # LC_TRACE_LINES_BYTES_MAX.
    TIME_BYTES_MAX = 32
    # What is written of an item, and of a transfer of the past, besides texts.
    ITEM_BYTES = 96
    PAST_BYTES = 192

JSON_TYPE = "application/json"
NOT_EXECUTED = {"executed": False}
REPLAYED = "idempotent-replayed"
NUMBERS = IntegerForms()

cdef struct kind_t:
    # The start of the head: the status line, and the headers that do not vary.
    char head[TEXT_BYTES_MAX]
    # What stands in the body before its first number and, for what is refused, before its id.
    char opening[TEXT_BYTES_MAX]
    char reason[TEXT_BYTES_MAX]

cdef struct date_line_t:
    int64_t time_s
    char text[DATE_LINE_BYTES]

cdef kind_t kinds[STATUSES_MAX]
cdef dict unstored = {}
cdef date_line_t date_line
date_line.time_s = -1


def list_headers(status):
    """Return the headers that every answer of a status has, as pairs of bytes."""
    kind = STATUS_KINDS[status]
    is_applied = status is Status.APPLIED
    headers = {"content-type": JSON_TYPE if is_applied else CONTENT_TYPE} | make_headers(kind)
    return [(name.encode(), text.encode()) for name, text in headers.items()]


cdef int keep(char* place, bytes text) except -1:
    if len(text) >= TEXT_BYTES_MAX:
        raise ValueError("a text of an answer is too long")
    memcpy(place, <const char*> text, len(text) + 1)
    return 0


cdef int prepare() except -1:
    """Fill the table from the one of problems.py."""
    for status, kind in STATUS_KINDS.items():
        head = format_http1_response(kind.http_status, list_headers(status))
        keep(kinds[<int> status].head, head.removesuffix(b"\r\n"))
        if not status.is_outcome:
            unstored[int(status)] = encode_problem(
                kind,
                f"{kind.title}. {NOT_STORED}, and changed nothing.",
                extra=NOT_EXECUTED if status is Status.DEADLINE_PASSED else None,
            )
            continue
        opening = encode_problem(kind, f"{kind.title}: ").removesuffix(b'"}')
        reason = f'"outcome":"refused","reason":"{kind.name}"'
        keep(kinds[<int> status].opening, opening)
        keep(kinds[<int> status].reason, reason.encode())
    return 0


prepare()


cdef bytes encode_unstored(const lc_outcome* outcome, IntegerForms forms):
    """The body of the answer to what was not stored; it names the transfer that stands in the way
    where there is one."""
    if outcome.status != LC_KEY_EXPIRED:
        return unstored[outcome.status]
    kind = STATUS_KINDS[Status.KEY_EXPIRED]
    return encode_problem(
        kind,
        f"{kind.title}, for transfer {outcome.lsn}. This request has stored nothing, and changed"
        " nothing; a new transfer needs a new key.",
        extra={"transfer_id": forms.write(outcome.lsn)},
    )


def encode_body(
    Submission submission not None, uint32_t index, IntegerForms forms not None = NUMBERS
):
    """Return the body of the answer to a transfer of a submission that has completed."""
    if index >= submission.data.count:
        raise IndexError(index)
    cdef lc_outcome* outcome = &submission.data.outcomes[index]
    cdef char body[BODY_BYTES_MAX]
    if outcome.status >= LC_OUTCOME_END:
        return encode_unstored(outcome, forms)
    return PyBytes_FromStringAndSize(
        body, write_body(submission, index, forms, body) - body
    )


def encode_reply(
    Submission submission not None, uint32_t index, IntegerForms forms not None = NUMBERS
):
    """Return the whole answer, head and body, on a connection that stays open."""
    if index >= submission.data.count:
        raise IndexError(index)
    return make_reply(submission, index, forms, NULL, False)


cdef bytes make_reply(
    Submission submission, uint32_t index, IntegerForms forms, const lc_trace* trace,
    bint is_sampled
):
    """The whole answer, with the lines of a trace unless that is NULL."""
    cdef lc_outcome* outcome = &submission.data.outcomes[index]
    cdef char answer[HEAD_BYTES_MAX + BODY_BYTES_MAX]
    cdef char body[BODY_BYTES_MAX]
    cdef size_t length
    cdef char* at = write_text(answer, kinds[outcome.status].head)
    cdef bytes fixed
    if outcome.status >= LC_OUTCOME_END:
        fixed = encode_unstored(outcome, forms)
        at = write_varying(at, trace, is_sampled)
        return answer[:write_end(at, len(fixed)) - answer] + fixed
    length = write_body(submission, index, forms, body) - body
    if outcome.status == LC_APPLIED:
        at = lc_write_number(write_text(at, b"location: /transfers/"), outcome.lsn)
        at = write_text(at, b"\r\n")
    if outcome.replayed:
        at = write_text(at, b"idempotent-replayed: true\r\n")
    at = write_varying(at, trace, is_sampled)
    at = write_end(at, length)
    memcpy(at, body, length)
    return PyBytes_FromStringAndSize(answer, at + length - answer)


cdef bytes complete_reply(bytes reply, const lc_trace* trace):
    """The same answer with what varies, where the ordinary way has it: the lines of a trace, unless
    that is NULL, and the date."""
    cdef char lines[LC_TRACE_LINES_BYTES_MAX + DATE_LINE_BYTES]
    cdef Py_ssize_t length = write_varying(lines, trace, False) - lines
    cdef Py_ssize_t place = reply.index(b"content-length: ")
    return reply[:place] + lines[:length] + reply[place:]


def date_reply(bytes reply not None):
    """Return an answer that was made before with its date."""
    return complete_reply(reply, NULL)


def format_date(time_s=None):
    """Return a time, seconds since 1970, as HTTP has it; now, if it is None."""
    cdef char text[DATE_LINE_BYTES]
    cdef int64_t wanted_s = lc_wall_s() if time_s is None else time_s
    return text[:lc_write_http_date(text, wanted_s) - text].decode("ascii")


cdef inline char* write_varying(char* at, const lc_trace* trace, bint is_sampled) noexcept:
    """Write what stands in every answer and in none alike."""
    cdef int64_t now_s = lc_wall_s()
    if trace != NULL:
        at = lc_trace_write(at, trace, is_sampled)
    if now_s != date_line.time_s:
        date_line.time_s = now_s
        memcpy(date_line.text, b"date: ", 6)
        memcpy(lc_write_http_date(date_line.text + 6, now_s), b"\r\n", 2)
    memcpy(at, date_line.text, DATE_LINE_BYTES)
    return at + DATE_LINE_BYTES


cdef inline char* write_end(char* at, size_t length) noexcept:
    at = lc_write_number(write_text(at, b"content-length: "), length)
    return write_text(at, b"\r\nconnection: keep-alive\r\n\r\n")


cdef char* write_body(
    Submission submission, uint32_t index, IntegerForms forms, char* at
) except NULL:
    """Write what is told of an outcome that was stored; returns where it ends."""
    cdef lc_record* record = &submission.data.records[index]
    cdef lc_outcome* outcome = &submission.data.outcomes[index]
    cdef kind_t* kind = &kinds[outcome.status]
    cdef bint is_string = forms.is_string(outcome.lsn)
    cdef lc_text source = submission.source(index)
    cdef lc_text target = submission.target(index)
    if outcome.status == LC_APPLIED:
        at = write_integer(write_text(at, b'{"id":'), outcome.lsn, is_string)
        at = write_text(at, b',"status":"applied"')
    else:
        at = lc_write_number(write_text(at, kind.opening), record.amount)
        at = write(write_text(at, b" from "), source)
        at = write(write_text(at, b" to "), target)
        at = write_integer(write_text(at, b'.","id":'), outcome.lsn, is_string)
        at = write_text(write_text(at, b","), kind.reason)
    at = write_wanted(at, source, target, record.amount, is_string)
    at = write_asset(submission, index, at)
    return write_text(write_creation(at, outcome.time_ns), b"}")


cdef inline char* write_wanted(
    char* at, lc_text source, lc_text target, int64_t amount, bint is_string
) noexcept nogil:
    """Write what was asked for. No id has a byte that JSON would escape."""
    at = write(write_text(at, b',"from":"'), source)
    at = write(write_text(at, b'","to":"'), target)
    return write_integer(write_text(at, b'","amount":'), amount, is_string)


cdef inline char* write_creation(char* at, int64_t time_ns) noexcept nogil:
    """Write when a transfer was stored."""
    return write_text(lc_write_time(write_text(at, b',"created_at":"'), time_ns), b'"')


cdef char* write_asset(Submission submission, uint32_t index, char* at) except NULL:
    """Where an account did not exist at the time, the outcome names no asset, and never will."""
    cdef Py_ssize_t length
    cdef const char* name
    asset = submission.asset(index)
    if asset is None:
        return at
    name = PyUnicode_AsUTF8AndSize(asset, &length)
    at = write_text(at, b',"asset":"')
    memcpy(at, name, length)
    return write_text(at + length, b'"')


cdef inline char* write(char* at, lc_text text) noexcept nogil:
    memcpy(at, text.start, text.length)
    return at + text.length


cdef inline char* write_text(char* at, const char* text) noexcept nogil:
    cdef size_t length = strlen(text)
    memcpy(at, text, length)
    return at + length


# -- the past ------------------------------------------------------------------------------------


def format_time(int64_t time_ns):
    """Return a time since 1970 as RFC 3339 in UTC, to the microsecond, which is cut."""
    cdef char text[TIME_BYTES_MAX]
    return text[:lc_write_time(text, time_ns) - text].decode("ascii")


def encode_transfer(transfer not None, IntegerForms forms not None = NUMBERS):
    """Return a transfer of the past as it is told, in the form of integers that is in force."""
    cdef bytes source = transfer.source.encode(), target = transfer.target.encode()
    cdef bint is_applied = transfer.status is Status.APPLIED, is_string = forms.are_strings
    cdef size_t room = PAST_BYTES + <size_t> len(source) + <size_t> len(target)
    cdef bytes told = PyBytes_FromStringAndSize(NULL, room)
    cdef char* start = PyBytes_AS_STRING(told)
    cdef char* at = write_integer(write_text(start, b'{"id":'), transfer.id, is_string)
    at = write_text(at, b',"status":"applied"' if is_applied else b',"status":"refused"')
    at = write_wanted(at, view(source), view(target), transfer.amount, is_string)
    at = write_creation(at, transfer.time_ns)
    more = {
        "reason": None if is_applied else STATUS_KINDS[transfer.status].name,
        "asset": transfer.asset,
        "memo": transfer.memo,
    }
    known = {name: text for name, text in more.items() if text is not None}
    end = b"," + msgspec.json.encode(known)[1:] if known else b"}"
    return told[:at - start] + end


cdef inline lc_text view(bytes text) noexcept:
    cdef lc_text seen
    seen.start = <const char*> text
    seen.length = <uint32_t> len(text)
    return seen


# -- many ----------------------------------------------------------------------------------------


cdef list make_parts(late):
    """Return what an item tells of each status, by its number."""
    parts = []
    for number, kind in enumerate(list_kinds(late)):
        state = "refused" if number < LC_OUTCOME_END else "not-stored"
        parts.append(f'"status":"{state}","reason":"{kind.name}"'.encode())
    parts[LC_APPLIED] = b'"status":"applied"'
    return parts


cdef dict PARTS = {late: make_parts(late) for late in LATE_KINDS}


def encode_outcomes(
    Submission submission not None, IntegerForms forms not None = NUMBERS, late=DEADLINE_PASSED
):
    """Return the outcomes of a submission as a JSON array, in their order. Releases the GIL.

    What is late is told as `late`, one of LATE_KINDS. An outcome that was stored has `id` first and
    `created_at` behind its status; one that was stored before has `"replayed":true` last.
    """
    cdef lc_text parts[STATUSES_MAX]
    cdef uint32_t i, longest = 0
    for i, part in enumerate(PARTS[late]):
        parts[i] = view(part)
        longest = max(longest, parts[i].length)
    cdef size_t room = 2 + <size_t> submission.data.count * (longest + ITEM_BYTES)
    cdef bytes answer = PyBytes_FromStringAndSize(NULL, room)
    cdef char* start = PyBytes_AS_STRING(answer)
    cdef char* end
    with nogil:
        end = write_array(submission, start, parts, forms)
    return answer[:end - start]


cdef char* write_array(
    Submission submission, char* at, const lc_text* parts, IntegerForms forms
) noexcept nogil:
    cdef const lc_outcome* outcome
    cdef uint32_t i
    at = write_text(at, b"[")
    for i in range(submission.data.count):
        outcome = &submission.data.outcomes[i]
        if i > 0:
            at = write_text(at, b",")
        at = write_item(at, outcome, parts[outcome.status], forms.is_string(outcome.lsn))
    return write_text(at, b"]")


cdef inline char* write_item(
    char* at, const lc_outcome* outcome, lc_text part, bint is_string
) noexcept nogil:
    at = write_text(at, b"{")
    if outcome.lsn != 0:
        at = write_text(write_integer(write_text(at, b'"id":'), outcome.lsn, is_string), b",")
    at = write(at, part)
    if outcome.status < LC_OUTCOME_END:
        at = write_creation(at, outcome.time_ns)
        if outcome.replayed:
            at = write_text(at, b',"replayed":true')
    return write_text(at, b"}")
