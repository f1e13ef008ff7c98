"""Open mode: whether a server may run without API keys, and the keys that it starts with.

This module owns that an open server is open on purpose: nobody has named a file of keys, nobody has
asked for keys, and the ledger has never had any, or it was said aloud that this is over. It reads
no key itself, and lets nobody in.
"""

import logging
from functools import partial
from pathlib import Path

from ..access.key_file import KeyFileError, add_checksum
from ..access.key_mark import has_mark, leave_mark
from ..access.key_ring import KeyRing
from ..settings import InvalidSetting, Settings

logger = logging.getLogger("ledgercore")


def check_access(settings: Settings) -> KeyRing:
    """Return the keys of a server with these settings. Changes nothing.

    Raises KeyFileError and InvalidSetting where there is no file of keys, and there has to be one.
    """
    ring = KeyRing(settings.keys_path)
    if ring.is_empty:
        _check_open(settings)
    return ring


def open_ring(settings: Settings) -> KeyRing:
    """Do as `check_access`, for who holds the ledger: it remembers that it has keys.

    A file of keys from before there were checksums gets one. Raises KeyFileError for all.
    """
    path = settings.keys_path
    if not add_checksum(path):
        logger.warning(
            "%s: it has no checksum, and cannot be given one", path, extra={"event": "api-keys-old"}
        )
    ring = KeyRing(path, on_closed=partial(leave_mark, Path(settings.data)))
    if ring.is_empty:
        try:
            _check_open(settings)
        except InvalidSetting as error:
            raise KeyFileError(str(error)) from None
    return ring


def _check_open(settings: Settings) -> None:
    path, create = settings.keys_path, "`ledgercore admin keys create`"
    if settings.keys_file:
        raise InvalidSetting(
            "keys_file", f"{path}: there is no such file; {create} with this flag makes it"
        )
    if settings.require_keys:
        raise InvalidSetting("require_keys", f"{path}: there is no such file; {create} makes it")
    if settings.base_path:
        raise InvalidSetting(
            "base_path",
            f"behind a proxy everybody seems to be on this machine, and {path} is not there;"
            f" {create} makes it",
        )
    if path.is_symlink():
        raise KeyFileError(f"{path}: it is a link to what is not there")
    if not settings.allow_open and has_mark(Path(settings.data)):
        raise KeyFileError(
            f"{settings.data}: this ledger has had API keys, and {path} is not there: put it back,"
            f" or make a key by {create}; with --allow-open everybody on this machine may do"
            " everything"
        )
