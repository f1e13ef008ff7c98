"""The file of the API keys: how it is read, and how it is changed without losing anything.

This module owns the safety of that file; what its text may be is for key_document.py. It never says
who may do what.

    DIR/api-keys.json       all keys, one JSON object
    DIR/api-keys.json.lock  held by whoever changes them; it stays, empty, for ever
    DIR/api-keys.json.new   a change on its way; one that was left behind is harmless

The file holds the secrets of signed keys as they are, for an HMAC cannot be checked against a hash.
So its mode is 0600, and a file that others may read is refused; only a group of this program's own
may read it too, as that of a secret that is mounted does (0440, 0640). Of tokens it holds hashes
alone.

A change is made under a lock, on what the file says at that moment. It is written beside, synced,
renamed, and the directory synced: a reader finds the old file or the new one whole, after a power
cut too. The suffix is not `.tmp`, since the engine removes such files when it opens its directory.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ledgercore.file_replacement import replace_file

from .api_keys import Credential, NewKey, Scope, make_key
from .key_document import (
    KEYS_MAX,
    VERSION,
    ChecksumError,
    UnknownVersion,
    decode_keys,
    encode_keys,
)
from .key_mark import FILE_NAME, leave_mark
from .private_files import (
    FILE_MODE,
    KeyFileError,
    check_status,
    explain_errors,
    give_access,
    give_to_owner,
    make_directory,
)

__all__ = [
    "FILE_BYTES_MAX",
    "FILE_NAME",
    "KEYS_MAX",
    "FileState",
    "KeyFile",
    "KeyFileError",
    "accept_file",
    "add_checksum",
    "create_key",
    "find_state",
    "list_keys",
    "read_file",
    "revoke_key",
]

FILE_BYTES_MAX = 16 << 20
"""More than twice what KEYS_MAX keys need. What is longer is not read at all."""

FileState = tuple[int, int, int]
"""Time of the last change (ns), inode and size (bytes): one of them differs after a change."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a file says, the oldest key first, and the state in which it said so."""

    state: FileState
    credentials: tuple[Credential, ...]
    version: int = VERSION


# -- reading ---------------------------------------------------------------------------------


def find_state(path: Path) -> FileState | None:
    """Return the state of the file now, None if there is none. Raises KeyFileError."""
    with explain_errors(path):
        try:
            return _describe_state(os.stat(path))
        except FileNotFoundError:
            return None


def read_file(path: Path, *, is_trusted: bool = False) -> KeyFile | None:
    """Return what the file says, None if there is none.

    Raises KeyFileError if it cannot be read, is not wholly sound, or can be read by others. Where
    it `is_trusted`, its checksum may be any.
    """
    with explain_errors(path):
        try:
            # Without O_NONBLOCK, a pipe of this name would hold up the server.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            check_status(path, status, descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                text = file.read(FILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    if len(text) > FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: it is longer than {FILE_BYTES_MAX} bytes")
    version, credentials = _decode(path, text, is_trusted)
    return KeyFile(_describe_state(status), credentials, version)


def list_keys(path: Path) -> list[Credential]:
    """Return all keys, the oldest first; none where there is no file. Raises KeyFileError."""
    file = read_file(path)
    return [] if file is None else list(file.credentials)


def _describe_state(status: os.stat_result) -> FileState:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _decode(path: Path, text: bytes, is_trusted: bool) -> tuple[int, tuple[Credential, ...]]:
    try:
        return decode_keys(text, is_trusted=is_trusted)
    except ChecksumError as error:
        raise KeyFileError(
            f"{path}: it is damaged, or was changed by hand: {error};"
            " `ledgercore admin keys accept` shows what it says, and takes it"
        ) from None
    except UnknownVersion as error:
        raise KeyFileError(f"{path}: {error}") from None
    # msgspec's errors are ValueErrors, and so is what is not UTF-8.
    except ValueError as error:
        raise KeyFileError(f"{path}: it is damaged: {error}") from None


# -- changing --------------------------------------------------------------------------------


def create_key(
    path: Path,
    client: str,
    scope: Scope,
    *,
    is_signed: bool = False,
    rate: float | None = None,
    burst: int | None = None,
    quota: int | None = None,
) -> NewKey:
    """Make a key and put it into the file, which is made if it is not there, and its directory too.

    Raises ValueError for what no key can have, and KeyFileError.
    """
    # Before anything is made on the disk, for no name can be taken yet.
    make_key(client, scope, is_signed=is_signed, rate=rate, burst=burst, quota=quota)
    with explain_errors(path):
        make_directory(path.parent)
        if path.name == FILE_NAME:
            # Before the key, so that no copy of the directory has the one without the other.
            leave_mark(path.parent)
    with _hold(path):
        held = list_keys(path)
        if len(held) >= KEYS_MAX:
            raise KeyFileError(f"{path}: there are {KEYS_MAX} keys, and no room for another")
        # Revoking takes a name or an id, so that no text may be one key's id and another's name.
        if any(client == credential.id for credential in held):
            raise KeyFileError(f"{path}: {client} is the id of a key, and so no name for another")
        new = make_key(
            client,
            scope,
            is_signed=is_signed,
            rate=rate,
            burst=burst,
            quota=quota,
            names_taken={name for held_key in held for name in (held_key.id, held_key.client)},
        )
        _write_keys(path, [*held, new.credential])
    return new


def revoke_key(path: Path, name_or_id: str) -> list[str]:
    """Take one key out of the file by its id, or all of a client by its name. Returns their ids.

    The file stays when its last key goes. Raises KeyFileError, also if there is no such key.
    """
    if find_state(path) is not None:
        with _hold(path):
            held = list_keys(path)
            revoked = [key for key in held if name_or_id in (key.id, key.client)]
            if revoked:
                _write_keys(path, [key for key in held if name_or_id not in (key.id, key.client)])
                return [key.id for key in revoked]
    raise KeyFileError(f"{path}: there is no key with the name or the id {name_or_id!r}")


def accept_file(path: Path, state: FileState) -> None:
    """Give a file the checksum of what it said in this state. Raises KeyFileError."""
    with _hold(path):
        file = read_file(path, is_trusted=True)
        if file is None or file.state != state:
            raise KeyFileError(f"{path}: it has changed meanwhile")
        _write_keys(path, file.credentials)


def add_checksum(path: Path) -> bool:
    """Write a file of before there were checksums anew, with one. Return whether all is well then.

    What is not this program's own stays as it is, and what cannot be written. Raises KeyFileError
    as `read_file` does.
    """
    file = read_file(path)
    if file is None or file.version == VERSION:
        return True
    with suppress(KeyFileError), explain_errors(path):
        if not path.is_symlink() and path.stat().st_uid == os.geteuid():
            accept_file(path, file.state)
            return True
    return False


@contextmanager
def _hold(path: Path) -> Iterator[None]:
    """Hold the lock for changes of the file. The lock ends with the process, however that ends."""
    lock = path.with_name(path.name + ".lock")
    with explain_errors(lock):
        descriptor = _open_lock(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _open_lock(lock: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(lock, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return os.open(lock, flags)
    give_to_owner(descriptor, lock.parent)
    return descriptor


def _write_keys(path: Path, credentials: Sequence[Credential]) -> None:
    replace_file(path, encode_keys(credentials), prepare=lambda new: give_access(new, path))
