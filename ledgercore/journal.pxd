"""The journal as the pipeline sees it, so that any store can stand behind it.

`append`, `sync` and `idle` are called by one thread, the pipeline's, with neither the GIL nor a
mutex: they may take as long as a disk does. Each returns 0, or the errno after which nothing may be
acknowledged any more; ESTALE says that another has the right to write by now.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ledgercore._c cimport lc_frame, lc_seal, lc_segment_header, pthread_cond_t, pthread_mutex_t
from ledgercore.logged_time cimport ClockKeeper


cdef class Journal:
    cdef:
        uint64_t synced_lsn  # The highest LSN that is durable.
        # How large a group may be, if a frame holds that much; its text has room for three records.
        readonly uint32_t group_records_max, group_text_max

    # Finish the frame, which is the caller's, and hand it over.
    cdef int append(self, lc_frame* frame) noexcept nogil
    # Return once all that was appended is durable.
    cdef int sync(self) noexcept nogil
    # Do what is due in a lull: nothing was appended for a while, and all is synced. `again_ms` is
    # set to when to come again, should the lull last; 0: not before the next one.
    cdef int idle(self, uint32_t* again_ms) noexcept nogil


cdef class FileJournal(Journal):
    cdef:
        bytes directory
        const char* directory_path
        int directory_fd, fd, seal_fd, pid
        int reserved_fd  # Held back, so that the next segment can be opened.
        uint64_t segment_bytes, bytes_here, offset
        uint64_t written_lsn
        uint32_t previous_crc
        lc_segment_header header
        lc_seal seal
        ClockKeeper clock
        object zeros
        const uint8_t* zeros_start
        pthread_mutex_t mutex
        pthread_cond_t changed
        int spare_fd
        bint spare_asked, spare_wanted, stopping

    cdef int write_seal(self, bint clean) noexcept nogil
    cdef void ask_for_spare(self) noexcept nogil
    cdef int rotate(self, uint64_t first_lsn) noexcept nogil
    cdef int take_spare(self, int* fd) noexcept nogil
    cdef int make_spare(self, int* fd) noexcept nogil
    cdef int open_spare(self, const char* path) noexcept nogil
    cdef void reserve_descriptor(self) noexcept nogil
