"""The native verbs of reply.pyx, for the protocol."""

from libc.stdint cimport uint32_t

from ledgercore.submission cimport Submission


cdef bytes make_reply(Submission submission, uint32_t index)
