"""Atomic replacement of whole files: after a power cut the old one or the new one is there.

This module owns the order of that: written beside, synced, renamed, the folder synced. It knows
nothing of what is in a file, and turns no error of the OS into another.
"""

import os
from collections.abc import Callable
from pathlib import Path

from .permissions import open_private


def replace_file(
    path: Path,
    data: bytes,
    *,
    suffix: str = ".new",
    prepare: Callable[[int], None] | None = None,
) -> None:
    """Put a file in place of what is there, durably, for its owner alone.

    It is written beside, under its name with the `suffix`; one that was left there is harmless.
    `prepare` is called with the descriptor while it is empty, to give it other rights.
    """
    beside = path.with_name(path.name + suffix)
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(open_private(beside, flags), "wb") as file:
        if prepare is not None:
            prepare(file.fileno())
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames, new names and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
