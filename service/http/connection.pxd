"""The native half of a connection, for the protocol that tells it what happens."""

from libc.stdint cimport int64_t, uint32_t

from ledgercore._c cimport lc_text
from ledgercore.service._c cimport lc_request, lc_trace
from ledgercore.submission cimport Submission
from ledgercore.service.admission.admission cimport Admission, Client
from ledgercore.service.wire.integer_forms cimport IntegerForms
from ledgercore.service.http.sender cimport Sender
from ledgercore.service.runtime.open_batch cimport OpenBatch, OpenBatches, Waiter
from ledgercore.service.telemetry.meters cimport Meters


cdef class Connection(Waiter):
    cdef:
        object protocol
        object transport
        object lifecycle
        object batcher
        OpenBatches batches
        object timer
        Submission flight  # where the rows are whose answers are due
        uint32_t due, answered  # how many of them are due, and how many are there already
        Admission admission
        Meters meters
        IntegerForms forms
        Sender sender
        Client client  # the sender's, who sent the last request
        int64_t now_ns  # when what is being read arrived
        int64_t charged_ns  # when the first of the rows was admitted
        list answers
        dict traces  # the traceparent of each row that told one, by its place in the flight
        object timeouts, unread  # clocks of its own
        object fault_injector  # None where no faults are planned
        bytes held
        str base_path  # what a proxy has taken off, and answers are to have
        bint is_lost, is_paused, is_closing, is_ended, was_active, is_write_paused
        bint is_with_sanic  # Sanic was given bytes, and was not yet seen to be through with them.

    cdef int receive(self, bytes data) except -1
    cdef bint is_native(self) except -1
    cdef int read(self, bytes data) except -1
    cdef int admit(self, lc_request* request) except -1
    cdef int refuse(self, lc_request* request, int verdict) except -1
    cdef int put(self, OpenBatch batch, lc_request* request) except -1
    cdef int hold(self, bytes data) except -1
    cdef int hand_to_sanic(self, bytes data) except -1
    cdef int read_on(self) except -1
    cdef bint end_input(self) except -1
    cdef int lose(self) except -1
    cdef int pause_writing(self) except -1
    cdef int resume_writing(self) except -1
    cdef bint close_when_answered(self) noexcept
    cdef bint has_been_active(self) noexcept
    cdef int close_if_ended(self) except -1
    cdef int answer_outcome(self, Submission submission, uint32_t row) except -1
    cdef int answer_looked_up(self, Submission submission, uint32_t row) except -1
    cdef int answer_problem(self, bytes reply, kind) except -1
    cdef int begin_trace(self, lc_trace* trace) except -1
    cdef int add_answer(self, bytes reply) except -1
    cpdef int finish(self, bytes reply) except -1
