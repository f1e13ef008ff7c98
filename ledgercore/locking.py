"""The lock of a data directory: on the directory itself, and on the file `lock` in it.

The directory's own is what counts: removing a file lets nobody in. The file's is what programs of
before know, and it names the process that holds it. Both belong to the open file descriptions, so
they end with the process however that ends; and since a forked child shares these, letting go is
said, not left to the closing of the last descriptor.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from .errors import DirectoryLocked, DirectoryUnusable
from .permissions import open_private

NO_WRITING = {errno.EROFS, errno.EACCES, errno.EPERM}
NO_LOCKING = {errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems answer that lock files only (NFS), or nothing at all."""
PID_BYTES_MAX = 32
PLACE = 5
"""Which word of a line of /proc/locks says what is locked; the one before it says by whom."""


class DirectoryLock:
    """The lock of one directory, free at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "lock"
        self._descriptors: list[int] = []
        self._pid = 0

    def acquire(self, *, writes: bool) -> None:
        """Acquire the lock. Raises DirectoryLocked, DirectoryUnusable, OSError.

        Who only reads may do so where nothing can be written, and needs no file there.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        taken: list[int] = []
        try:
            is_locked = self._add(taken, os.open(self.path, flags))
            file = self._open_file(writes)
            if file is not None:
                is_locked = self._add(taken, file) or is_locked
            if not is_locked:
                raise DirectoryUnusable(f"{self.path}: the file system has no locks")
            if file is not None and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_RDWR:
                os.ftruncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            for descriptor in taken:
                os.close(descriptor)
            raise
        self._descriptors, self._pid = taken, os.getpid()

    def release(self) -> None:
        """Let go of the lock; in a forked child leave it to the process that took it."""
        for descriptor in self._descriptors:
            if self._pid == os.getpid():
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
        self._descriptors = []

    def _add(self, taken: list[int], descriptor: int) -> bool:
        """Lock one descriptor, which is `taken` from here on; whether it could be locked at all."""
        taken.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryLocked(
                f"{self.path}: another process holds this ledger (pid {self._read_holder()})"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKING:
                raise
            return False
        return True

    def _open_file(self, writes: bool) -> int | None:
        """Open the lock file, None where there is none and none can be made."""
        try:
            return open_private(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as error:
            if writes or error.errno not in NO_WRITING:
                raise
        with suppress(FileNotFoundError, PermissionError):
            return os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        return None

    def _read_holder(self) -> str:
        """Return the process that holds the lock, from the file, or else from the kernel."""
        with suppress(OSError):
            holder = self.file.read_bytes()[:PID_BYTES_MAX].decode(errors="replace").strip()
            if holder:
                return holder
        with suppress(OSError):
            facts = self.path.stat()
            device = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}"
            for line in Path("/proc/locks").read_text().splitlines():
                # "1: FLOCK  ADVISORY  WRITE 708 fe:00:1234 0 EOF"
                fields = line.split()
                if len(fields) > PLACE and fields[PLACE] == f"{device}:{facts.st_ino}":
                    return fields[PLACE - 1]
        return "unknown"
