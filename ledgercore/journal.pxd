"""The journal as the pipeline sees it: four verbs, so that another store can stand behind them."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ledgercore._c cimport lc_frame, lc_seal, lc_segment_header, pthread_cond_t, pthread_mutex_t
from ledgercore.logged_time cimport ClockKeeper


cdef class Journal:
    # Each returns 0, or the errno after which nothing may be acknowledged any more.
    cdef int append(self, lc_frame* frame) noexcept nogil
    cdef int sync(self) noexcept nogil
    cdef int rest(self) noexcept nogil
    # The highest LSN that is synced.
    cdef uint64_t synced_lsn


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
