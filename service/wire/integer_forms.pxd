"""The native functions of integer_forms.pyx, for writers of answers."""

from libc.stdint cimport uint32_t, uint64_t


cdef class IntegerForms:
    cdef:
        bytes memory  # what `starts` points into
        const uint64_t* starts
        uint32_t count

    cdef bint is_string(self, uint64_t lsn) noexcept nogil


cdef char* write_integer(char* at, uint64_t number, bint is_string) noexcept nogil
