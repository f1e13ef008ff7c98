"""Files that nobody but their owner may read: whose they are, and how they are made to last.

This module owns who may read such a file, that its name outlives a power cut, and how a refusal of
the OS is told. It knows nothing of what is in one.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledgercore.file_replacement import sync_directory
from ledgercore.permissions import make_folder

FILE_MODE = 0o600


class KeyFileError(Exception):
    """The keys cannot be read or changed so. The message is one sentence for the operator."""


def check_status(path: Path, status: os.stat_result, descriptor: int) -> None:
    """Raise KeyFileError if others may read an open file, or if it is none."""
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: it is not a file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise KeyFileError(
            f"{path}: its mode is {mode:04o}, and it has to be {FILE_MODE:04o}: it holds secrets"
        )
    if not mode & stat.S_IRGRP:
        return
    if status.st_gid not in _find_groups(path):
        raise KeyFileError(
            f"{path}: its mode is {mode:04o}, and its group {status.st_gid} is none of this"
            f" program's; it has to be {FILE_MODE:04o}, or to have such a group"
        )
    # The bits of the group are then the most that anybody named in a list has.
    if _has_access_list(descriptor):
        raise KeyFileError(
            f"{path}: it has a list of others who may read it; it has to be {FILE_MODE:04o}"
        )


def _find_groups(path: Path) -> set[int]:
    """Return the groups whose members may read the file: those of this program.

    Root looks after the files of others, and a directory tells whose they are.
    """
    groups = {os.getegid(), *os.getgroups()}
    if os.geteuid() == 0:
        groups.add(os.stat(path.parent).st_gid)
    return groups


def _has_access_list(descriptor: int) -> bool:
    try:
        return bool(os.getxattr(descriptor, "system.posix_acl_access"))
    except OSError:
        return False  # There is none, or this file system has no such lists.


def give_to_owner(descriptor: int, directory: Path) -> None:
    """Give a file that root makes to the owner of its directory, so that the server can read it."""
    if os.geteuid() == 0:
        owner = os.stat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_access(descriptor: int, path: Path) -> None:
    """Give a file the permissions of the one that it replaces."""
    try:
        before = os.stat(path)
    except FileNotFoundError:
        give_to_owner(descriptor, path.parent)
        return
    with suppress(PermissionError):
        # Only root can give a file away, and others only to a group of their own.
        os.fchown(descriptor, before.st_uid if os.geteuid() == 0 else -1, before.st_gid)
        os.fchmod(descriptor, FILE_MODE | (before.st_mode & stat.S_IRGRP))


def make_directory(directory: Path) -> None:
    """Make a directory that is not there, durably, for its owner alone; and those above it."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    make_folder(directory)
    for folder in missing:
        sync_directory(folder.parent)


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn what the OS refuses into one clear sentence."""
    try:
        yield
    except OSError as error:
        blocking = [way for way in path.parents if way.exists() and not way.is_dir()]
        if blocking:
            # Nobody may have named a file of keys: what was named is a directory that is none.
            raise KeyFileError(f"{blocking[0]}: it is not a directory") from None
        raise KeyFileError(f"{error.filename or path}: {error.strerror or error}") from None
