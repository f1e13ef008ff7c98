"""How whole numbers are written in answers: as JSON numbers, or as strings of their digits.

This module owns which of the two an answer has. The answer to a transfer has the form that was in
force when the transfer was stored, so that a repeat has the bytes of the first answer whatever the
server is told by then. All other answers have the form in force. It never decides which that is.
"""

from libc.stdint cimport uint32_t, uint64_t

from ledgercore._c cimport *
from ledgercore.service._c cimport *

import struct


cdef class IntegerForms:
    """The form of whole numbers in answers, now and by the LSN of a transfer.

    Strings have those from the first LSN of `starts` on, up to the second, and so on; the numbers
    of `starts` are ascending.
    """

    def __init__(self, starts=()):
        if any(one >= other for one, other in zip(starts, starts[1:])):
            raise ValueError("the starts are not ascending")
        self.memory = struct.pack(f"={len(starts)}Q", *starts)
        self.starts = <const uint64_t*> <const char*> self.memory
        self.count = <uint32_t> len(starts)

    @property
    def starts_as_tuple(self):
        """The LSNs at which the form changed; it began with numbers."""
        return struct.unpack(f"={self.count}Q", self.memory)

    @property
    def are_strings(self):
        """Whether the form in force is that of strings."""
        return self.count % 2 == 1

    cdef bint is_string(self, uint64_t lsn) noexcept nogil:
        """Whether the answer to the transfer of an LSN has strings."""
        cdef uint32_t i = self.count
        while i > 0 and self.starts[i - 1] > lsn:
            i -= 1
        return i % 2 == 1

    def are_strings_at(self, uint64_t lsn):
        """Tell whether the answer to the transfer of an LSN has strings."""
        return self.is_string(lsn)

    def write(self, value):
        """Return a number as it is told now; None stays."""
        return str(value) if value is not None and self.count % 2 == 1 else value


cdef char* write_integer(char* at, uint64_t number, bint is_string) noexcept nogil:
    """Write a number in one of the two forms, and return where it ends."""
    if not is_string:
        return lc_write_number(at, number)
    at[0] = c'"'
    at = lc_write_number(at + 1, number)
    at[0] = c'"'
    return at + 1
