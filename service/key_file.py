"""The file of the API keys: how it is read, and how it is changed without losing anything.

This module owns the format and the safety of that file. It never says who may do what.

    DIR/api-keys.json       all keys, one JSON object
    DIR/api-keys.json.lock  held by whoever changes them; it stays, empty, for ever
    DIR/api-keys.json.new   a change on its way; one that was left behind is harmless

The file holds the secrets of signed keys as they are, for an HMAC cannot be checked against a hash.
So its mode is 0600, and a file that others may read is refused. Of tokens it holds hashes alone.

A change is made under a lock, on what the file says at that moment. It is written beside, synced,
renamed, and the directory synced: a reader finds the old file or the new one whole, after a power
cut too. The suffix is not `.tmp`, since the engine removes such files when it opens its directory.
"""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from .api_keys import Credential, NewKey, Scope, check_credential, make_key

FILE_NAME = "api-keys.json"
VERSION = 1
KEYS_MAX = 10_000
FILE_BYTES_MAX = 16 << 20
"""More than twice what KEYS_MAX keys need. What is longer is not read at all."""
FILE_MODE = 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO

FileState = tuple[int, int, int]
"""Time of the last change (ns), inode and size (bytes): one of them differs after a change."""


class KeyFileError(Exception):
    """The keys cannot be read or changed so. The message is one sentence for the operator."""


class _Head(msgspec.Struct):
    """What a file of any version has."""

    version: int


class _Record(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: str
    client: str
    scope: Literal["read", "transfer", "admin"]
    created_at: str
    digest: str
    secret: str | None = None
    rate: float | None = None
    burst: int | None = None
    quota: int | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    keys: list[_Record]


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_document = msgspec.json.Decoder(_Document).decode


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a file says, the oldest key first, and the state in which it said so."""

    state: FileState
    credentials: tuple[Credential, ...]


# -- reading ---------------------------------------------------------------------------------


def find_state(path: Path) -> FileState | None:
    """Return the state of the file now, None if there is none. Raises KeyFileError."""
    with _explained(path):
        try:
            return _describe_state(os.stat(path))
        except FileNotFoundError:
            return None


def read_file(path: Path) -> KeyFile | None:
    """Return what the file says, None if there is none.

    Raises KeyFileError if it cannot be read, is not wholly sound, or can be read by others.
    """
    with _explained(path):
        try:
            # Without O_NONBLOCK, a pipe of this name would hold up the server.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            _check_status(path, status)
            with open(descriptor, "rb", closefd=False) as file:
                text = file.read(FILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    if len(text) > FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: it is longer than {FILE_BYTES_MAX} bytes")
    return KeyFile(_describe_state(status), _read_keys(path, text))


def list_keys(path: Path) -> list[Credential]:
    """Return all keys, the oldest first; none where there is no file. Raises KeyFileError."""
    file = read_file(path)
    return [] if file is None else list(file.credentials)


def _describe_state(status: os.stat_result) -> FileState:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _check_status(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: it is not a file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & OTHERS:
        raise KeyFileError(
            f"{path}: its mode is {mode:04o}, and it has to be {FILE_MODE:04o}: it holds secrets"
        )


def _read_keys(path: Path, text: bytes) -> tuple[Credential, ...]:
    try:
        version = _decode_head(text).version
        if version != VERSION:
            raise KeyFileError(
                f"{path}: its version is {version}, and this program knows {VERSION}"
            )
        credentials = tuple(map(_read_record, _decode_document(text).keys))
    # msgspec's errors are ValueErrors, and so is what is not UTF-8; brackets may nest too deep.
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path}: it is damaged: {error}") from None
    if len(credentials) > KEYS_MAX:
        raise KeyFileError(f"{path}: it holds more than {KEYS_MAX} keys")
    if len({credential.id for credential in credentials}) < len(credentials):
        raise KeyFileError(f"{path}: it is damaged: two keys have one id")
    return credentials


def _read_record(record: _Record) -> Credential:
    credential = Credential(
        id=record.id,
        client=record.client,
        scope=Scope[record.scope.upper()],
        is_signed=record.secret is not None,
        secret=record.secret,
        rate=record.rate,
        burst=record.burst,
        quota=record.quota,
        created_at=record.created_at,
        digest=bytes.fromhex(record.digest),
    )
    check_credential(credential)
    return credential


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
    with _explained(path):
        _make_directory(path.parent)
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


@contextmanager
def _hold(path: Path) -> Iterator[None]:
    """Be the only one who changes the file. The lock ends with the process, however that ends."""
    lock = path.with_name(path.name + ".lock")
    with _explained(lock):
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
    _give_to_owner(descriptor, lock.parent)
    return descriptor


def _write_keys(path: Path, credentials: Sequence[Credential]) -> None:
    text = msgspec.json.encode(_Document(VERSION, list(map(_make_record, credentials))))
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(beside, flags, FILE_MODE), "wb") as file:
        _give_to_owner(file.fileno(), path.parent)
        file.write(msgspec.json.format(text, indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_directory(path.parent)


def _make_record(credential: Credential) -> _Record:
    return _Record(
        id=credential.id,
        client=credential.client,
        scope=credential.scope.label,  # type: ignore[arg-type]  # A test reads every scope back.
        created_at=credential.created_at,
        digest=credential.digest.hex(),
        secret=credential.secret,
        rate=credential.rate,
        burst=credential.burst,
        quota=credential.quota,
    )


def _give_to_owner(descriptor: int, directory: Path) -> None:
    """Let root make a file for whose directory it is: the server must be able to read it."""
    if os.geteuid() == 0:
        owner = os.stat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _make_directory(directory: Path) -> None:
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_directory(folder.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the OS refuses into one clear sentence."""
    try:
        yield
    except OSError as error:
        blocking = [way for way in path.parents if way.exists() and not way.is_dir()]
        if blocking:
            # Nobody may have named a file of keys: what was named is a directory that is none.
            raise KeyFileError(f"{blocking[0]}: it is not a directory") from None
        raise KeyFileError(f"{error.filename or path}: {error.strerror or error}") from None
