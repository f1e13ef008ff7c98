"""How many transfers are in flight, admitted and not yet answered, and how many may be.

This module owns that count, and how whoever is refused for it is answered. It never sets the limit:
scaling/inflight.py does.
"""

from libc.stdint cimport INT64_MAX, int64_t

from .drain_rate import DrainMeter
from ..wire.errors import encode_error
from ..wire.problems import OVERLOADED, make_busy_problem


cdef class InFlight:
    """How many transfers are in flight, admitted and not yet answered, and how many may be.

    Used in the event loop only, where nothing comes between a look and what is done upon it.
    """

    def __init__(self, drain=None, int64_t limit=INT64_MAX):
        self.drain = DrainMeter() if drain is None else drain
        self.limit = limit
        self.answers = {}

    cdef bint is_full(self) noexcept:
        """Whether no transfer may come in. What came in as one request may be beyond the limit, or
        many transfers in one would be refused for ever."""
        return self.count >= self.limit

    cpdef void add(self, int64_t count) noexcept:
        """Count transfers that were admitted."""
        self.count += count
        if self.count > self.peak:
            self.peak = self.count

    def finish(self, int64_t count, int64_t now_ns):
        """Count transfers that were answered now."""
        self.count -= count
        self.drain.add(count, now_ns)

    def remove(self, int64_t count):
        """Count transfers that the engine has not taken: they are gone, and nothing was drained."""
        self.count -= count

    def reset_peak(self):
        """Return the most that was in flight since the last call."""
        peak, self.peak = self.peak, self.count
        return peak

    def check(self):
        """Raise the problem `overloaded` where no transfer may come in."""
        if self.is_full():
            raise self.refuse()

    def refuse(self):
        """Count a refusal, and return its problem."""
        self.refused += 1
        return make_busy_problem(OVERLOADED, self.find_wait_s())

    cdef bytes encode_refusal(self):
        """Do as `refuse`, and return the whole answer.

        Under overload it is made for most requests, and differs only by the seconds to wait.
        """
        self.refused += 1
        wait_s = self.find_wait_s()
        answer = self.answers.get(wait_s)
        if answer is None:
            answer = encode_error(make_busy_problem(OVERLOADED, wait_s))[0]
            self.answers[wait_s] = answer
        return answer

    def find_wait_s(self):
        """Return in how many seconds what is in flight will be answered, as far as it is known."""
        return self.drain.find_wait_s(self.count)
