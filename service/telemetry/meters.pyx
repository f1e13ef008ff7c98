"""What a server counts of its requests: each answer by route, status and outcome, and its time.

This module owns the counts, the ids of traces, and the choice of the requests that are looked at
one by one: those whose caller asks for it, some by chance, and the slow ones. What is made of such
a one is for its `observer`. It never changes an answer. Used in the event loop only.

The choice is made when the answer is: by then everything is known of a request. There are
LOOKS_PER_S of them at most, so that a server under which all is slow does not become slower.
"""

from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint32_t

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.recorder cimport Recorder
from ledgercore.submission cimport Submission

from ..wire.problems import STATUS_KINDS

cdef enum:
    LOOKS_PER_S = 1000
    MILLION = 1_000_000

REFUSED = frozenset((401, 403, 429, 503))
TRANSFER = "/transfer"
"""The route that is counted natively as well."""


cdef inline tuple pack(const lc_trace* trace):
    """(trace id, span id of the caller or 0, our span id, flags)."""
    return (<object> trace.id[0] << 64) | trace.id[1], trace.parent, trace.span, trace.flags


cdef class Meters:
    """The counts of one server, and its traces."""

    def __init__(self, bint is_on=True, slow_ms=0, samples_per_million=0):
        """Begin at zero. `samples_per_million` requests are looked at by chance."""
        self.is_on = is_on
        self.slow_ns = slow_ms * MILLION
        self.sample(samples_per_million)
        self.transfer = Recorder()
        self.recorders = {TRANSFER: self.transfer}
        self.answers = {}
        if not lc_random_start(&self.random):
            raise OSError("the system gives no random numbers")

    def sample(self, samples_per_million):
        """Look at so many of a million requests from now on."""
        part = samples_per_million * (UINT64_MAX // MILLION)
        self.sample_below = UINT64_MAX if samples_per_million >= MILLION else part

    # -- traces -----------------------------------------------------------------------------------

    cdef void begin(self, lc_text traceparent, lc_trace* trace) noexcept:
        """Begin our part of the trace that the request told; of a new one where it told none."""
        lc_trace_begin(traceparent, &self.random, trace)

    def begin_trace(self, bytes traceparent=b""):
        """Return (trace id, span id of the caller or 0, our span id, flags) of a request."""
        cdef lc_text told
        cdef lc_trace trace
        told.start, told.length = traceparent, len(traceparent)
        self.begin(told, &trace)
        return pack(&trace)

    cdef bint is_of_interest(
        self, const lc_trace* trace, int64_t now_ns, int64_t elapsed_ns
    ) noexcept:
        """Whether the observer is to see a request that was answered now."""
        if self.observer is None or now_ns < self.next_look_ns:
            return False
        if (
            elapsed_ns >= self.slow_ns > 0
            or self.is_tracing and (
                trace.flags & LC_TRACE_SAMPLED
                or lc_random_next(&self.random) < self.sample_below
            )
        ):
            self.next_look_ns = now_ns + NS_PER_S // LOOKS_PER_S
            return True
        return False

    def interests(self, int64_t now_ns, int64_t elapsed_ns, uint8_t flags):
        """Return whether the observer is to see a request that was answered now."""
        cdef lc_trace trace
        trace.flags = flags
        return self.is_of_interest(&trace, now_ns, elapsed_ns)

    cdef bint show(
        self, Submission submission, uint32_t row, const lc_trace* trace, int64_t started_ns,
        int64_t ended_ns
    ) except -1:
        """Show the observer a transfer; whether it keeps that as a trace."""
        return self.observer.observe_transfer(submission, row, pack(trace), started_ns, ended_ns)

    # -- counts -----------------------------------------------------------------------------------

    cdef void note_transfer(self, uint8_t status, int64_t elapsed_ns) noexcept:
        """Count the answer to a transfer, natively."""
        self.transfers[status] += 1
        if status == LC_KEYS_FULL:
            return  # As `note` has it: a 503.
        lc_histogram_record(&self.transfer.histogram, elapsed_ns, 1)

    def note(self, str route, int http_status, str outcome, int64_t elapsed_ns):
        """Count an answer. `outcome` is the name of a problem, or `ok`.

        The time of who was not let in is not counted: it is next to none, and the more are refused,
        the faster all of it would look.
        """
        if not self.is_on:
            return
        answer = route, http_status, outcome
        self.answers[answer] = self.answers.get(answer, 0) + 1
        if http_status in REFUSED:
            return
        recorder = self.recorders.get(route)
        if recorder is None:
            recorder = self.recorders[route] = Recorder()
        recorder.record(elapsed_ns)

    def read_answers(self):
        """Return how many answers there were, by (route, HTTP status, outcome)."""
        answers = dict(self.answers)
        for status, kind in STATUS_KINDS.items():
            count = self.transfers[<int> status]
            if count > 0:
                answer = TRANSFER, kind.http_status, kind.name
                answers[answer] = answers.get(answer, 0) + count
        return answers

    def read_latencies(self):
        """Return how long answers took in nanoseconds, as a Histogram by route."""
        return {route: recorder.read() for route, recorder in self.recorders.items()}
