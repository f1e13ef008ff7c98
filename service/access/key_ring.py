"""The API keys of a running server, kept up to date with their file.

This module owns when the file is read again, and how a token is compared. It changes no file: the
functions that do are named here for who needs both.

A ring is open, `is_empty`, only until a file has been seen at its path. From then on it is closed
for good: without the file, with a damaged one or with one that holds no key, it lets nobody in
whose key it does not know. Whether a server may begin with an open one is for open_mode.py.
"""

import logging
import time
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path

from .api_keys import DIGEST_BYTES, Credential, NewKey, Scope, hash_token, read_id
from .key_file import (
    KEYS_MAX,
    FileState,
    KeyFile,
    KeyFileError,
    create_key,
    find_state,
    list_keys,
    read_file,
    revoke_key,
)

__all__ = [
    "CHECK_INTERVAL_S",
    "KEYS_MAX",
    "Credential",
    "KeyFileError",
    "KeyRing",
    "NewKey",
    "Scope",
    "create_key",
    "list_keys",
    "revoke_key",
]

CHECK_INTERVAL_S = 0.5
"""How long a change may go unnoticed. To look costs one system call."""

_NO_DIGEST = bytes(DIGEST_BYTES)

logger = logging.getLogger("ledgercore")


class KeyRing:
    """The keys of one file. It has no timer: whoever asks calls `refresh` first.

    Made for one thread, as the event loop is. `authenticate` sees the keys of one file, never a
    mixture of two.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        """Read the file, if there is one. Raises KeyFileError: no server starts with a bad one.

        `on_closed` is called once the ring is closed, and again at each look while it raises
        KeyFileError. What it raises here and now stops the start as well.
        """
        self._path = path
        self._clock = clock
        self._on_closed = on_closed
        self._looked_at_s = clock()
        self._state: FileState | None = None
        self._keys: dict[str, Credential] = {}
        self._is_closed = False
        self._warning = ""
        self._generation = 0
        if (file := read_file(path)) is not None:
            self._take(file)
            self._log_closed()

    @property
    def is_empty(self) -> bool:
        """Whether there has been no file so far, so that clients cannot be identified."""
        return not self._is_closed

    @property
    def generation(self) -> int:
        """A number that rises with every change; what was found out before it may be wrong."""
        return self._generation

    def refresh(self, is_changed: bool = False) -> None:
        """Read the file again if it has changed. Looks at it once in CHECK_INTERVAL_S at most.

        It looks at once for who knows that it `is_changed`.

        Raises nothing: what cannot be read is logged once, and the keys stay as they were.
        """
        now_s = self._clock()
        if not is_changed and now_s - self._looked_at_s < CHECK_INTERVAL_S:
            return
        self._looked_at_s = now_s
        self._read_again()
        try:
            self._log_closed()
        except KeyFileError as error:
            self._warn(str(error))

    def _read_again(self) -> None:
        try:
            state = find_state(self._path)
            if state is not None and state == self._state:
                self._warning = ""
                return
            file = None if state is None else read_file(self._path)
        except KeyFileError as error:
            self._keep(error)
            return
        if file is not None:
            self._take(file)
        elif self._is_closed:
            self._lose()

    def authenticate(self, token: str) -> Credential | None:
        """Return the key of a token, None for any text that is no token of ours.

        It takes as long for an id that is not there as for a wrong token of one that is: how long a
        refusal takes tells nothing.
        """
        key_id = read_id(token)
        if key_id is None:
            return None
        credential = self._keys.get(key_id)
        digest = _NO_DIGEST if credential is None else credential.digest
        return credential if compare_digest(hash_token(token), digest) else None

    def find(self, key_id: str) -> Credential | None:
        """Return the key with this id, None if there is none."""
        return self._keys.get(key_id)

    def credentials(self) -> list[Credential]:
        """Return all keys, the oldest first."""
        return list(self._keys.values())

    # -- what became of the file ------------------------------------------------------------------

    def _log_closed(self) -> None:
        if self._is_closed and self._on_closed is not None:
            self._on_closed()
            self._on_closed = None

    def _take(self, file: KeyFile) -> None:
        self._keys = {credential.id: credential for credential in file.credentials}
        self._state = file.state
        self._is_closed = True
        self._warning = ""
        self._generation += 1

    def _keep(self, error: KeyFileError) -> None:
        """Go on with the last good keys; with none at all if there were none.

        Their state stays too, so that every look reads again until the file is sound: what is wrong
        may be its mode, which is no part of a state.
        """
        if not self._is_closed:
            self._is_closed = True
            self._generation += 1
        self._warn(f"{error}; the API keys stay as they were")

    def _lose(self) -> None:
        """Drop all keys: the file is gone, and no request may be accepted without one."""
        # The same file may come back, in the same state, and has to be read then.
        self._state = None
        if self._keys:
            self._keys = {}
            self._generation += 1
        self._warn(f"{self._path}: the file of the API keys is gone; every request is refused")

    def _warn(self, sentence: str) -> None:
        if sentence != self._warning:
            self._warning = sentence
            logger.error("%s", sentence, extra={"event": "api-keys-unusable"})
