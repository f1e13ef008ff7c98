"""A histogram that is being filled (src/histogram.h), by any thread, with or without the GIL."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from ledgercore._c cimport *

import numpy as np

from .histogram import Histogram


cdef class Recorder:
    """Counts whole numbers by their size. Any thread may call anything, save `clear`."""

    def record(self, int64_t value, uint64_t times=1):
        """Count a value so many times; a negative one counts as 0."""
        lc_histogram_record(&self.histogram, value, times)

    def record_each(self, const int64_t[::1] values):
        """Count many values, without the GIL."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(values.shape[0]):
                lc_histogram_record(&self.histogram, values[i], 1)

    def read(self):
        """Return what was counted so far."""
        array = np.empty(LC_HISTOGRAM_BUCKETS, np.uint64)
        cdef uint64_t[::1] counts = array
        return Histogram(array, lc_histogram_read(&self.histogram, &counts[0]))

    def clear(self):
        """Set all counts to zero. No other thread may record meanwhile."""
        memset(&self.histogram, 0, sizeof(self.histogram))
