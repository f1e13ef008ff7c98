"""A histogram that is being filled, for whoever records natively."""

from ledgercore._c cimport lc_histogram


cdef class Recorder:
    cdef lc_histogram histogram
