"""The file journal: frames appended to zero-filled segments, synced, and sealed.

It knows frames and files, never balances. `append`, `sync` and `idle` run in one native thread,
without the GIL; `prepare_spares` in another. Any error is final: the caller stops acknowledging.

The files of a journal, in one directory:

    0000000001.segment …   the segments, by number (src/frame.h tells their format)
    spare.tmp              the next segment while it is made; removed at the start
    ../seal                how far the journal was synced (src/seal.h)

A new segment is zero-filled and synced ahead of need, for fresh blocks write at a fraction of the
speed of written ones. To rotate: seal, header into the spare, sync, rename, sync the directory.
"""

from libc.errno cimport EMFILE, ENFILE, EPERM, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from posix.fcntl cimport O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, fcntl
from posix.fcntl cimport open as c_open
from posix.time cimport nanosleep, timespec
from posix.unistd cimport close as c_close, fsync, getpid, unlink

from ledgercore._c cimport *
from ledgercore.logged_time cimport ClockKeeper

import os

from .directory import segment_name
from .frames import encode_segment_header

cdef extern from "<stdio.h>" nogil:
    int rename(const char* old, const char* new)

cdef extern from "<fcntl.h>" nogil:
    const int O_CLOEXEC
    const int F_DUPFD_CLOEXEC

cdef extern from "<sys/stat.h>" nogil:
    int fchmod(int fd, unsigned int mode)

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* buffer, size_t length, unsigned int flags)

cdef enum:
    PATH_BYTES_MAX = 4096
    STANDARD_FDS = 3  # What is printed goes to the first three descriptors, whoever holds them.
    OPEN_TRIES_MAX = 1000
    OPEN_PAUSE_NS = 10_000_000

SEGMENT_BYTES_MIN = 4 << 20


cdef int above_standard(int fd) noexcept nogil:
    """Return the descriptor, or another of its file that is none of the standard three; -1 and
    errno where there is none left. Where a process was started with those closed, the next file
    gets one of them, and whatever is printed then would be written into it."""
    cdef int higher = fd
    if 0 <= fd < STANDARD_FDS:
        higher = fcntl(fd, F_DUPFD_CLOEXEC, STANDARD_FDS)
        c_close(fd)
    return higher


cdef class Journal:
    """What the pipeline needs of a store. This one keeps nothing: the others derive from it."""

    def __cinit__(self, *_, **__):
        self.group_records_max = LC_FRAME_RECORDS_MAX
        self.group_text_max = LC_FRAME_TEXT_BYTES_MAX

    def close(self):
        """End the journal cleanly. Nothing is appended after this. Raises OSError."""

    cdef int append(self, lc_frame* frame) noexcept nogil:
        return 0

    cdef int sync(self) noexcept nogil:
        return 0

    cdef int idle(self, uint32_t* again_ms) noexcept nogil:
        again_ms[0] = 0
        return 0


cdef class FileJournal(Journal):
    """The segments from one tail on. Its file descriptors, the seal's too, are its own."""

    def __cinit__(
        self, directory, int seal_fd, header, seal, uint64_t segment_bytes, uint64_t offset,
        uint32_t previous_crc, uint64_t synced_lsn, ClockKeeper clock=None
    ):
        """Continue the segment of `header` at `offset`, behind the frame with `previous_crc`.

        `clock` is kept before each sync."""
        self.fd = self.spare_fd = self.directory_fd = self.reserved_fd = -1
        self.directory = os.fsencode(directory)
        self.directory_path = self.directory
        cdef bytes head = encode_segment_header(header), ledger_id = header.ledger_id
        cdef bytes zeros = bytes(LC_FILL_BYTES)
        memcpy(&self.header, <const char*> head, sizeof(self.header))
        self.seal_fd = above_standard(seal_fd)
        self.pid = getpid()
        self.clock = clock
        self.seal.sequence = seal.sequence
        self.seal.frame_crc = seal.frame_crc
        self.seal.synced_lsn = seal.synced_lsn
        memcpy(self.seal.ledger_id, <const char*> ledger_id, 16)
        self.segment_bytes = segment_bytes
        self.offset = offset
        self.previous_crc = previous_crc
        self.synced_lsn = self.written_lsn = synced_lsn
        self.zeros = zeros
        self.zeros_start = <const uint8_t*> <const char*> zeros
        pthread_mutex_init(&self.mutex, NULL)
        pthread_cond_init(&self.changed, NULL)
        self.directory_fd = above_standard(
            os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        )
        path = os.path.join(directory, segment_name(header.number))
        self.fd = above_standard(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        self.reserve_descriptor()
        for fd in (self.seal_fd, self.directory_fd, self.fd, self.reserved_fd):
            if fd < 0:
                raise OSError(EMFILE, os.strerror(EMFILE), path)
        self.bytes_here = os.fstat(self.fd).st_size

    def __dealloc__(self):
        for fd in (self.fd, self.spare_fd, self.directory_fd, self.seal_fd, self.reserved_fd):
            if fd >= 0:
                c_close(fd)
        pthread_cond_destroy(&self.changed)
        pthread_mutex_destroy(&self.mutex)

    @property
    def segment(self):
        """The number of the segment that is being written."""
        return self.header.number

    @property
    def position(self):
        """Where the next frame goes in it, in bytes."""
        return self.offset

    def close(self):
        """Seal the journal as cleanly ended, and keep how time was logged."""
        cdef int error = self.write_seal(True)
        if error != 0:
            raise OSError(error, os.strerror(error), "seal")
        if self.clock is not None:
            self.clock.finish()

    cdef int append(self, lc_frame* frame) noexcept nogil:
        cdef uint64_t length_max = (
            sizeof(lc_frame) + frame.count * <uint64_t> sizeof(lc_record) + frame.text_length
            + LC_FRAME_ALIGNMENT
        )
        cdef int error
        if self.offset + length_max > self.bytes_here:
            error = self.rotate(frame.first_lsn)
            if error != 0:
                return error
        cdef uint32_t length = lc_frame_finish(
            frame, self.header.salt, self.previous_crc, self.synced_lsn
        )
        error = lc_write_all(self.fd, frame, length, self.offset)
        if error == 0:
            self.offset += length
            self.previous_crc = frame.crc
            self.written_lsn = lc_frame_last_lsn(frame)
        if not self.spare_asked and self.offset > self.bytes_here // 2:
            self.ask_for_spare()
        return error

    cdef int sync(self) noexcept nogil:
        if self.clock is not None:
            self.clock.keep()
        cdef int error = lc_sync_data(self.fd)
        if error == 0:
            self.synced_lsn = self.written_lsn
        return error

    cdef int idle(self, uint32_t* again_ms) noexcept nogil:
        again_ms[0] = 0
        return 0 if self.seal.synced_lsn == self.synced_lsn else self.write_seal(False)

    cdef int write_seal(self, bint clean) noexcept nogil:
        # A child that was forked knows an old LSN, and shares the file.
        if getpid() != self.pid:
            return EPERM
        self.seal.synced_lsn = self.synced_lsn
        self.seal.segment = self.header.number
        self.seal.frame_crc = self.previous_crc
        self.seal.clean = clean
        return lc_seal_write(self.seal_fd, &self.seal)

    # -- segments ---------------------------------------------------------------------------------

    cdef int rotate(self, uint64_t first_lsn) noexcept nogil:
        """Go on in a new segment. All that was written to the old one is synced."""
        cdef char old_path[PATH_BYTES_MAX]
        cdef char new_path[PATH_BYTES_MAX]
        cdef int fd = -1
        cdef int error = self.write_seal(False)
        if error == 0:
            error = self.take_spare(&fd)
        if error != 0:
            return error
        self.header.number += 1
        self.header.first_lsn = first_lsn
        self.header.previous_crc = self.previous_crc
        if getrandom(&self.header.salt, sizeof(self.header.salt), 0) != sizeof(self.header.salt):
            return errno
        lc_segment_finish(&self.header)
        error = lc_write_all(fd, &self.header, sizeof(self.header), 0)
        if error == 0:
            error = lc_sync_data(fd)
        snprintf(old_path, PATH_BYTES_MAX, b"%s/spare.tmp", self.directory_path)
        snprintf(
            new_path, PATH_BYTES_MAX, b"%s/%010llu.segment", self.directory_path,
            <unsigned long long> self.header.number
        )
        if error == 0 and rename(old_path, new_path) != 0:
            error = errno
        if error == 0 and fsync(self.directory_fd) != 0:
            error = errno
        c_close(self.fd)
        self.reserve_descriptor()
        self.fd = fd
        self.offset = LC_SEGMENT_HEADER_BYTES
        self.bytes_here = self.segment_bytes
        self.spare_asked = False
        return error

    cdef void ask_for_spare(self) noexcept nogil:
        """Half of the segment is used: time for `prepare_spare` to make the next one."""
        self.spare_asked = True
        pthread_mutex_lock(&self.mutex)
        self.spare_wanted = True
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.mutex)

    cdef int take_spare(self, int* fd) noexcept nogil:
        """Take the prepared segment, waiting for one that is being made; make it here if there is
        none, for then the disk was full, and may not be any more."""
        cdef int error = 0
        pthread_mutex_lock(&self.mutex)
        while self.spare_wanted and self.spare_fd < 0 and not self.stopping:
            pthread_cond_wait(&self.changed, &self.mutex)
        if self.spare_fd < 0:
            error = self.make_spare(&self.spare_fd)
        fd[0] = self.spare_fd
        self.spare_fd = -1
        pthread_mutex_unlock(&self.mutex)
        return error

    cdef int make_spare(self, int* fd) noexcept nogil:
        cdef char path[PATH_BYTES_MAX]
        snprintf(path, PATH_BYTES_MAX, b"%s/spare.tmp", self.directory_path)
        cdef int file = self.open_spare(path)
        if file < 0:
            return -file
        # The umask may have taken even the owner's rights away.
        cdef int error = 0 if fchmod(file, 0o600) == 0 else errno
        if error == 0:
            error = lc_fill_zeros(file, 0, self.segment_bytes, self.zeros_start)
        if error != 0:
            c_close(file)
            unlink(path)
            return error
        fd[0] = file
        return 0

    cdef int open_spare(self, const char* path) noexcept nogil:
        """Create the file of a spare; the negative errno where that cannot be.

        A process whose descriptors are all in use must not end the journal: one is held back, and
        given up here. Another thread may snatch it, so that it takes more than one try; what waits
        for ten seconds in vain waits for a process that closes nothing.
        """
        cdef timespec pause
        cdef int file, _tries, problem = EMFILE
        pause.tv_sec, pause.tv_nsec = 0, OPEN_PAUSE_NS
        for _tries in range(OPEN_TRIES_MAX):
            file = above_standard(c_open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600))
            if file >= 0:
                return file
            problem = errno
            if problem != EMFILE and problem != ENFILE:
                break
            if self.reserved_fd >= 0:
                c_close(self.reserved_fd)
                self.reserved_fd = -1
            elif self.stopping:
                break
            else:
                nanosleep(&pause, NULL)
        return -problem

    cdef void reserve_descriptor(self) noexcept nogil:
        """Hold a descriptor back for the next spare, if there is one to be had."""
        if self.reserved_fd < 0:
            self.reserved_fd = above_standard(c_open(b"/dev/null", O_RDONLY | O_CLOEXEC))

    def prepare_spare(self):
        """Wait until a spare segment is wanted, and make it; False once the journal stops.

        For a thread of its own. A disk that is full now is left for `rotate` to meet, when it
        matters.
        """
        cdef int fd = -1
        cdef bint stopping
        with nogil:
            pthread_mutex_lock(&self.mutex)
            while (not self.spare_wanted or self.spare_fd >= 0) and not self.stopping:
                pthread_cond_wait(&self.changed, &self.mutex)
            stopping = self.stopping
            pthread_mutex_unlock(&self.mutex)
            if not stopping:
                self.make_spare(&fd)
                pthread_mutex_lock(&self.mutex)
                self.spare_fd = fd
                self.spare_wanted = False
                pthread_cond_broadcast(&self.changed)
                pthread_mutex_unlock(&self.mutex)
        return not stopping

    def stop_spares(self):
        """Let `prepare_spare` return."""
        with nogil:
            pthread_mutex_lock(&self.mutex)
            self.stopping = True
            pthread_cond_broadcast(&self.changed)
            pthread_mutex_unlock(&self.mutex)
