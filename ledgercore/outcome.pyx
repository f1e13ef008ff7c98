"""What became of one transfer, as a value of Python; and the statuses as C has them.

This module owns that value. It never looks into a submission or a ledger.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from ledgercore._c cimport *

from .errors import TransferRefused
from .status import Status

cdef list STATUSES = [None] * (max(Status) + 1)
for status in Status:
    STATUSES[status] = status
cdef object APPLIED = Status.APPLIED


@cython.final
@cython.freelist(64)
@cython.no_gc
cdef class Outcome:
    """What became of one transfer: its `status`; `replayed`, where an earlier call has stored it.

    `id` is its LSN, 0 where nothing was stored, and `time_ns` when that was, in ns of Unix time.
    """

    def __init__(self, uint64_t id, status, bint replayed, int64_t time_ns):
        self.id = id
        self.status = status
        self.replayed = replayed
        self.time_ns = time_ns

    @property
    def is_applied(self):
        """Whether the money has moved, by this call or, if `replayed`, by an earlier one."""
        return self.status is APPLIED

    def raise_if_refused(self):
        """Return the outcome of an applied transfer. Raises TransferRefused for any other."""
        if self.status is not APPLIED:
            raise TransferRefused(self)
        return self

    def __bool__(self):
        """Raise TypeError: a refused transfer would otherwise be as true as an applied one."""
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
