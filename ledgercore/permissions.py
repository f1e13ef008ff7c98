"""The permissions of a ledger's files: for their owner alone, whatever the umask is.

Files are made 0600 and folders 0700. What lies there with more is tightened, never loosened, and
nothing is tightened that is not the ledger's own.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o600, 0o700
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; one that is there stays as it is."""
    if not path.parent.exists():
        make_folder(path.parent)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(FOLDER_MODE)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file, one that is made by this for its owner alone; returns the descriptor."""
    is_new = bool(flags & os.O_CREAT) and not Path(path).exists()
    descriptor = os.open(path, flags, FILE_MODE)
    if is_new:
        # The umask may have taken even the owner's rights away.
        with suppress(PermissionError):
            os.fchmod(descriptor, FILE_MODE)
    return descriptor


def tighten(paths: Iterable[Path]) -> tuple[int, list[Path]]:
    """Take all rights of others from files and folders; returns how many, and which it could not.

    A folder that many share, such as /tmp, is not a ledger's own: it is left, and named.
    """
    count, left = 0, []
    for path in paths:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if not mode & OTHERS:
                continue
            if mode & stat.S_ISVTX:
                left.append(path)
                continue
            path.chmod(mode & ~OTHERS)
        except FileNotFoundError:
            continue
        except OSError:
            left.append(path)
        else:
            count += 1
    return count, left
