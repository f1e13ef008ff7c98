"""The native way of POST /transfer: from the bytes of a connection to a row of a batch, and back.

This module owns what a connection does with bytes before Sanic sees them. A request that is plain
(src/wire/http_request.h) is put into the open submission without a Python object for it; everything
else goes to Sanic untouched, from its first byte. It never judges a request, and never says what is
wrong with one. Both ways ask the same Admission, and answer through the same transfer_answer.pyx.

Answers keep the order of their requests. A connection has rows in one submission at a time, so
that they come back together; what arrives meanwhile is held. Bytes go to Sanic only when no answer
is due, and come back here only when Sanic is through with all that it was given.
"""

from libc.stdint cimport int64_t, uint32_t

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission
from ledgercore.service.admission.limiter cimport ADMITTED, QUOTA_EXCEEDED
from ledgercore.service.http.sender cimport Sender
from ledgercore.service.runtime.open_batch cimport OpenBatch, Waiter
from ledgercore.service.wire.transfer_answer cimport complete_reply, make_reply

from ..admission.guard import is_local
from ..wire.base_path import put_on_reply
from ..wire.errors import CLOSING_KINDS, encode_error
from ..telemetry.meters import TRANSFER
from .sanic_protocol import OrdinaryProtocol
from .client_timeouts import PARTIAL_S, ClientTimeouts, is_through

cdef enum:
    # What becomes of a plain request.
    TAKEN
    WAITS
    ORDINARY
    HELD_BYTES_MAX = 65536  # What a connection may send ahead while its answers are due.
    DUE_MAX = 256  # How many of its requests may be on their way at once.


cdef class Connection(Waiter):
    """The native half of one connection. Used in the event loop only."""

    def __cinit__(self, protocol, transport, lifecycle):
        self.protocol = protocol
        self.transport = transport
        self.lifecycle = lifecycle
        self.meters = lifecycle.meters
        self.timeouts = ClientTimeouts(protocol)
        self.unread = lifecycle.unread
        self.base_path = lifecycle.settings.base_path

    # -- in ---------------------------------------------------------------------------------------

    cdef int receive(self, bytes data) except -1:
        """Take what has arrived."""
        self.was_active = True
        if self.held is not None:
            data = self.held + data
            self.held = None
        if self.is_write_paused:
            self.hold(data)
        elif self.is_native():
            self.read(data)
        elif self.flight is None:
            self.hand_to_sanic(data)
        else:
            self.hold(data)
        return 0

    cdef bint is_native(self) except -1:
        """Whether bytes may be read here: Sanic is through, and the ledger takes requests."""
        if self.is_with_sanic:
            http = self.protocol.http
            self.is_with_sanic = http is None or not http.keep_alive or not is_through(http)
        return not self.is_with_sanic and self.lifecycle.is_ready

    cdef int read(self, bytes data) except -1:
        """Admit the plain requests that the data begins with, and hold or hand on what follows."""
        cdef const char* at = data
        cdef const char* end = at + len(data)
        cdef lc_request request
        cdef int length = LC_REQUEST_PARTIAL
        if self.admission is None:
            self.admission = self.lifecycle.admission
            self.sender = Sender(self.admission, self.lifecycle.hosts, is_local(self.transport))
            self.batcher = self.lifecycle.batcher
            self.batches = self.batcher.batches
            self.forms = self.lifecycle.forms
        self.now_ns = lc_monotonic_ns()
        self.admission.look(self.now_ns)
        self.fault_injector = self.batcher.fault_injector
        while at < end:
            length = lc_read_request(at, end, &request)
            if length <= 0 or self.admit(&request) != TAKEN:
                break
            at += length
        if at == end or self.is_lost:
            return 0
        rest = data if at == <const char*> data else at[:end - at]
        if self.flight is not None:
            self.hold(rest)
        elif length == LC_REQUEST_PARTIAL and not self.is_ended:
            self.hold(rest)
            if self.timer is None:
                self.timer = self.protocol.loop.call_later(PARTIAL_S, self.stop_waiting)
        else:
            self.hand_to_sanic(rest)
        return 0

    cdef int admit(self, lc_request* request) except -1:
        """Put a request into the open submission of its segment, or refuse it, if it is TAKEN.

        It WAITS for the answers that are due where it cannot be among them.
        """
        cdef OpenBatch batch
        cdef int verdict
        if not self.sender.is_same(request):
            if self.flight is not None:
                return WAITS  # The answers that are due are those of one client.
            self.sender.identify(request)
            self.client = self.sender.client
        if self.client is None or not self.client.is_plain:
            return ORDINARY
        batch = self.batches.find(request.transfer.source)
        if self.flight is not None:
            if self.flight is not batch.submission or self.due >= DUE_MAX:
                return WAITS
        if self.fault_injector is not None and self.fault_injector.drops_before():
            self.cut()
            return WAITS
        verdict = self.admission.judge(self.client, self.now_ns, 1, request.transfer.amount)
        if verdict == QUOTA_EXCEEDED:
            batch = self.batcher.place_look_up()
            if self.flight is not None and self.flight is not batch.submission:
                return WAITS
            verdict = self.admission.judge(self.client, self.now_ns, 1, 0)
        if verdict != ADMITTED:
            if self.flight is not None:
                return WAITS
            self.refuse(request, verdict)
            return TAKEN
        self.put(batch, request)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return TAKEN

    cdef int refuse(self, lc_request* request, int verdict) except -1:
        """Answer a request that was not admitted."""
        cdef lc_trace trace
        reply, kind = self.admission.encode_refusal(self.client, self.now_ns, verdict)
        if self.meters.is_on:
            self.meters.note(TRANSFER, kind.http_status, kind.name, 0)
            self.meters.begin(request.traceparent, &trace)
        self.transport.write(complete_reply(reply, &trace if self.meters.is_on else NULL))
        self.lifecycle.on_work()
        return 0

    cdef int put(self, OpenBatch batch, lc_request* request) except -1:
        cdef lc_transfer* wanted = &request.transfer
        if batch.submission is None:
            self.batcher.place(batch.segment)
        cdef Submission submission = batch.submission
        wanted.client = self.client.text()
        wanted.deadline_ns = self.admission.find_deadline(self.now_ns, request.timeout_ms)
        if request.traceparent.length > 0:
            if self.traces is None:
                self.traces = {}
            self.traces[self.answered + self.due] = (
                request.traceparent.start[:request.traceparent.length]
            )
        # The waiter comes first: after a row without one, each would be told of its neighbour's.
        batch.waiters.append(self)
        if submission.put(wanted) < 0:
            batch.waiters.pop()
            raise MemoryError()
        if self.flight is None:
            self.flight = submission
            self.charged_ns = self.now_ns
        self.admission.in_flight.add(1)
        self.due += 1
        if submission.data.count >= submission.count_max:
            self.batcher.submit(batch)
        return 0

    cdef int hold(self, bytes data) except -1:
        """Keep bytes until the answers before them are written."""
        self.held = data
        if len(data) > HELD_BYTES_MAX and not self.is_paused:
            self.is_paused = True
            self.transport.pause_reading()
        return 0

    cdef int hand_to_sanic(self, bytes data) except -1:
        """Let Sanic have bytes, and all that follow until it is through with them."""
        if not self.is_with_sanic:
            self.timeouts.begin()
        self.timeouts.count(len(data))
        self.is_with_sanic = True
        OrdinaryProtocol.data_received(self.protocol, data)
        return 0

    cdef int read_on(self) except -1:
        """Read on, with what was held."""
        cdef bytes data = self.held
        if self.is_paused:
            self.is_paused = False
            self.transport.resume_reading()
        if data is not None:
            self.held = None
            self.receive(data)
        return self.close_if_ended()

    cdef bint end_input(self) except -1:
        """The client sends nothing more. Whether answers are due here, after which to close."""
        self.is_ended = True
        if self.timer is not None:
            # Half a request, and the other half will never come.
            self.timer.cancel()
            self.stop_waiting()
        return self.flight is not None or self.held is not None

    # -- what the protocol is told ----------------------------------------------------------------

    cdef int lose(self) except -1:
        """Handle the loss of the connection; what was admitted stands."""
        self.is_lost = True
        self.held = None
        self.timeouts.end()
        self.unread.end(self.transport)
        if self.timer is not None:
            self.timer.cancel()
        return 0

    cdef int pause_writing(self) except -1:
        """Read nothing more from a client that does not read."""
        self.is_write_paused = True
        self.timeouts.begin_reading()
        self.unread.note(self.transport)
        return 0

    cdef int resume_writing(self) except -1:
        """Read on, since the client has read."""
        self.is_write_paused = False
        self.timeouts.end_reading()
        self.unread.end(self.transport)
        if self.flight is None and not self.is_lost:
            self.read_on()
        return 0

    cdef bint close_when_answered(self) noexcept:
        """Close once the answers that are due are written; whether any are."""
        if self.due > 0:
            self.is_closing = True
        return self.due > 0

    cdef bint has_been_active(self) noexcept:
        """Whether anything came in since the last call, or an answer is due."""
        cdef bint was_active = self.was_active
        self.was_active = False
        return was_active or self.due > 0

    cdef int close_if_ended(self) except -1:
        """Close once all is answered to a client that sends nothing more."""
        if self.is_ended and self.flight is None and self.held is None and not self.is_with_sanic:
            self.transport.close()
        return 0

    def stop_waiting(self):
        """Let Sanic wait for the rest of a request."""
        cdef bytes data = self.held
        self.timer = None
        if data is not None and self.flight is None and not self.is_lost:
            self.held = None
            self.hand_to_sanic(data)

    # -- out --------------------------------------------------------------------------------------

    cdef int complete(self, object submission, uint32_t row, bint is_look_up) except -1:
        if not is_look_up:
            self.admission.refund_unmoved_row(self.client, submission, row, self.charged_ns)
        if self.is_lost:
            return 0
        if is_look_up:
            return self.answer_looked_up(submission, row)
        return self.answer_outcome(submission, row)

    cdef int refund(self, object submission, uint32_t row) except -1:
        return self.admission.refund_row(self.client, submission, row, self.charged_ns)

    cdef int answer_outcome(self, Submission submission, uint32_t row) except -1:
        """Answer a transfer that has completed."""
        cdef lc_trace trace
        cdef int64_t now_ns
        cdef bint is_kept = False
        if not self.meters.is_on:
            return self.add_answer(make_reply(submission, row, self.forms, NULL, False))
        # Of rows that came later in a flight it says a little too much, and never too little.
        now_ns = lc_monotonic_ns()
        self.meters.note_transfer(submission.data.outcomes[row].status, now_ns - self.charged_ns)
        self.begin_trace(&trace)
        if self.meters.is_of_interest(&trace, now_ns, now_ns - self.charged_ns):
            is_kept = self.meters.show(submission, row, &trace, self.charged_ns, now_ns)
        return self.add_answer(make_reply(submission, row, self.forms, &trace, is_kept))

    cdef int begin_trace(self, lc_trace* trace) except -1:
        """Begin our part of the trace of the request that is answered next."""
        cdef lc_text told
        cdef bytes parent = None
        told.length = 0
        if self.traces is not None:
            parent = self.traces.pop(self.answered, None)
            if parent is not None:
                told.start, told.length = parent, <uint32_t> len(parent)
        self.meters.begin(told, trace)
        return 0

    cdef int add_answer(self, bytes reply) except -1:
        """Add the answer that is due next; the last of them writes all."""
        self.due -= 1
        self.answered += 1
        if self.base_path:
            reply = put_on_reply(self.base_path, reply)
        if self.due > 0 or self.answers is not None:
            if self.answers is None:
                self.answers = []
            self.answers.append(reply)
            if self.due > 0:
                return 0
            reply = b"".join(self.answers)
            self.answers = None
        if self.fault_injector is not None and self.fault_injector.takes(self, reply):
            self.due = 1  # Until it calls `finish`, so that nothing overtakes it.
            return 0
        return self.finish(reply)

    def cut(self):
        """Abort the connection, as an injected fault: no answer is written any more."""
        self.is_lost = True
        self.transport.abort()

    cpdef int finish(self, bytes reply) except -1:
        """Write the answers to all that was due, and read on."""
        self.due = self.answered = 0
        self.flight = None
        # To write to what is closed would raise, in the middle of telling all the others.
        if self.is_lost or self.transport.is_closing():
            return 0
        self.transport.write(reply)
        if self.is_write_paused:
            self.unread.note(self.transport)
        if self.is_closing:
            self.transport.close()
        elif (self.held is not None or self.is_paused) and not self.is_write_paused:
            self.read_on()
        else:
            self.close_if_ended()
        return 0

    def fail(self, error):
        """Answer with the problem that an error is."""
        reply, kind = encode_error(error)
        self.answer_problem(reply, kind)

    cdef int answer_problem(self, bytes reply, kind) except -1:
        """Add the answer that is due next, which is a problem."""
        cdef lc_trace trace
        self.is_closing = self.is_closing or kind in CLOSING_KINDS
        if self.meters.is_on:
            self.meters.note(
                TRANSFER, kind.http_status, kind.name, lc_monotonic_ns() - self.charged_ns
            )
            self.begin_trace(&trace)
        return self.add_answer(complete_reply(reply, &trace if self.meters.is_on else NULL))

    cdef int answer_looked_up(self, Submission submission, uint32_t row) except -1:
        """Answer a transfer that was looked up; what is new is refused for the client's money."""
        if submission.data.outcomes[row].status != LC_DEADLINE_PASSED:
            return self.answer_outcome(submission, row)
        amount = submission.data.records[row].amount
        self.fail(self.admission.make_money_problem(self.client, amount))
        return 0
