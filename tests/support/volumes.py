"""A file system of its own whose power can be cut: what was not written to the disk is gone.

This module owns such volumes. It never asserts anything about what is on them.

The cut is the kernel's own (FS_IOC_SHUTDOWN): from one moment on nothing reaches the disk, and what
is read after the next mount is what was there, replayed from the journal of the file system. Only
the machine goes on, so the boot is the same.
"""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHUTDOWN = 0x8004587D
WITH_JOURNAL, WITHOUT_JOURNAL = 1, 2
"""Whether what the file system has logged so far still reaches the disk."""
NEEDED = "mkfs.ext4", "mount", "umount"


class Volume:
    """An ext4 in a file, mounted at `path`."""

    def __init__(self, folder: Path, size_bytes: int = 32 << 20) -> None:
        """Raises OSError and CalledProcessError where this machine does not allow it."""
        self.path = folder / "volume"
        self.path.mkdir()
        self._image = folder / "image"
        with self._image.open("wb") as image:
            image.truncate(size_bytes)
        run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        run("umount", str(self.path))

    def cut_power(self, how: int = WITHOUT_JOURNAL) -> None:
        """Let nothing reach the disk from now on."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(descriptor)


@contextmanager
def open_volume(folder: Path) -> Iterator[Volume]:
    """Make a volume, and unmount it at the end. Raises OSError where that cannot be done here."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        raise OSError(f"only root can mount, with {' and '.join(NEEDED)}")
    try:
        volume = Volume(folder)
    except subprocess.CalledProcessError as error:
        raise OSError(f"nothing can be mounted here: {error.stderr.strip()}") from None
    try:
        yield volume
    finally:
        subprocess.run(["umount", str(volume.path)], check=False, capture_output=True)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
