"""The mark in a data directory that it has had API keys; a copy of the directory has it too.

This module owns that file. What is to happen without keys, open_mode.py decides.

    DIR/keys-required   there were keys; what it holds is for people, and that it is there counts

Without it a restored copy that lacks the file of the keys would look like a ledger that never had
any, and be served to everybody. It is there before the first key is, or as soon as a server sees
keys that were put there by hand, and nothing of ours removes it.
"""

import os
from pathlib import Path

from ledgercore.file_replacement import sync_directory

from .private_files import FILE_MODE, explain_errors, give_to_owner

FILE_NAME = "api-keys.json"
"""The file of the keys, where no other is named."""
MARK_NAME = "keys-required"

_TEXT = b"""\
The server of this ledger has asked for API keys. While this file is here, none starts without them,
unless it is told --allow-open. Keep it in every copy.
"""


def has_mark(directory: Path) -> bool:
    """Return whether a directory has had API keys. Raises KeyFileError if that cannot be known.

    A lock beside the keys tells the same, of a directory from before there was a mark.
    """
    return any(_is_there(directory / name) for name in (MARK_NAME, FILE_NAME + ".lock"))


def leave_mark(directory: Path) -> None:
    """Put the mark into a directory, durably. Raises KeyFileError.

    One that is not there has nothing to remember.
    """
    mark = directory / MARK_NAME
    with explain_errors(mark):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(mark, flags, FILE_MODE)
        except FileExistsError:
            return
        except FileNotFoundError:
            return
        with open(descriptor, "wb") as file:
            give_to_owner(descriptor, directory)
            file.write(_TEXT)
            file.flush()
            os.fsync(descriptor)
        sync_directory(directory)


def _is_there(path: Path) -> bool:
    with explain_errors(path):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True
