"""The open batch of a segment, the waiters for its rows, and the delivery to them.

This module owns that everybody is told, and that money which has not moved is given back before.
It never asks what a waiter is, and never looks at what an outcome means.
"""

from libc.stdint cimport uint32_t

from ledgercore._c cimport lc_text


cdef class OpenBatch:
    """The open batch of one segment in this turn of the loop: a submission, and the waiter for each
    of its rows. Both ways put their rows in here; the Batcher opens and submits it."""

    def __init__(self, int segment):
        self.segment = segment
        self.waiters = []


cdef class OpenBatches:
    """The open batches of all segments, found by the account that a transfer is from."""

    def __init__(self, engine):
        self.engine = engine
        self.of_segments = [OpenBatch(segment) for segment in range(engine.segments)]

    cdef OpenBatch find(self, lc_text source):
        """Return the batch for the transfers of an account."""
        if len(self.of_segments) == 1:
            return self.of_segments[0]
        segment = self.engine.segment_of(source.start[:source.length].decode())
        return self.of_segments[segment]


cdef class Waiter:
    """A waiter for a row of a submission, or for all of it.

    Exactly one of `complete` and `fail` is called, once. Each kind of waiter defines both; Cython
    has no abstract methods in C, so that here they raise.
    """

    cdef int complete(self, object submission, uint32_t row, bint is_look_up) except -1:
        """Note what became of the row. For what was only looked up nothing was charged."""
        raise NotImplementedError

    cdef int refund(self, object submission, uint32_t row) except -1:
        """Give back the money of the row, of a submission that was not taken."""
        return 0

    def fail(self, error):
        """Note the error for which there is no outcome."""
        raise NotImplementedError


cdef class FutureWaiter(Waiter):
    """A waiter with a future, whose result is the submission: for the row charged, or where
    that `is_of_all`, for all rows, which then are one request."""

    def __init__(self, future, charge=None, bint is_of_all=False):
        self.future = future
        self.charge = charge
        self.is_of_all = is_of_all

    cdef int complete(self, object submission, uint32_t row, bint is_look_up) except -1:
        if self.charge is not None:
            self.charge.refund_unmoved(submission, None if self.is_of_all else row)
        # A future that is done was cancelled: its client hung up. Its transfer stands.
        if not self.future.done():
            self.future.set_result(submission)
        return 0

    cdef int refund(self, object submission, uint32_t row) except -1:
        if self.charge is not None:
            self.charge.refund()
        return 0

    def fail(self, error):
        """Let the future raise the error."""
        if not self.future.done():
            self.future.set_exception(error)


def deliver(submission, list waiters, bint is_look_up=False):
    """Complete every waiter of a submission."""
    cdef Py_ssize_t row
    for row in range(len(waiters)):
        (<Waiter?> waiters[row]).complete(submission, <uint32_t> row, is_look_up)


def refund(submission, list waiters):
    """Give back the money of all rows of a submission that was not taken."""
    cdef Py_ssize_t row
    for row in range(len(waiters)):
        (<Waiter?> waiters[row]).refund(submission, <uint32_t> row)
