"""The native functions of transfer_answer.pyx, for the connection."""

from libc.stdint cimport uint32_t

from ledgercore.service._c cimport lc_trace
from ledgercore.submission cimport Submission
from ledgercore.service.wire.integer_forms cimport IntegerForms


cdef bytes make_reply(
    Submission submission, uint32_t index, IntegerForms forms, const lc_trace* trace,
    bint is_sampled
)
cdef bytes complete_reply(bytes reply, const lc_trace* trace)
