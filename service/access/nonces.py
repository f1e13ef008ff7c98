"""The memory of nonces: which signed requests have been here before.

This module owns that promise, and it is kept over restarts, kills, power cuts and clocks that are
set back. It never looks at a signature; signatures.py does, and asks here last.

What holds, always: every nonce that was ever accepted with a second later than `closed_s` is
remembered, and `closed_s` never falls. What is not later is refused, new or not. So wherever
something is forgotten or may be lost, `closed_s` rises to it, and nothing opens a hole:

* A nonce is forgotten when the window of its signature is over; `closed_s` becomes its second. A
  clock that is set back then finds that second closed, and later ones open.
* A killed process leaves all nonces in the file, and a power cut or damage a bound of what was
  accepted (nonce_file.py).

The memory is bounded by `count_max` nonces of about 200 bytes each. It never forgets early: when
it is full, what is new is refused until the oldest is out of the window. It is never full because
of one client: each may have SHARE times as many nonces as there is room left, so that whoever comes
next finds some, and those who want all of it end up with equal parts. The file, which keeps for two
windows what clients with late clocks have sent, is shared in the same way.
"""

import hashlib
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from .nonce_file import NonceFile
from .nonce_records import BOOT_ID_PATH, DIGEST_BYTES, MARK_BYTES, NEVER, Seen

FILE_NAME = "nonces"
WINDOW_S = 300
"""How far the second of a signature may be from the present, to either side."""
COUNT_MAX = 1_000_000
SHARE = 3
"""How many times what is left a client may have: three quarters of all, where it is alone."""
MARKS_MAX = 20_000
"""How many marks of clients are kept at hand; they can be made anew."""

RECORDS_SPARE = 1024
"""What a generation of the file may have besides nonces: its reservations, 300 in two windows."""


class NoncesFull(Exception):
    """No further nonce of this client can be remembered for now. The request was not taken."""


class NonceMemory:
    """Remembers each nonce of each client for as long as its signature could be used again.

    Without a path it is kept in memory alone, and a restart forgets it. With one, the process
    holds the lock of the data directory that the file is in. Safe to share between threads.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        window_s: int = WINDOW_S,
        count_max: int = COUNT_MAX,
        clock: Callable[[], float] = time.time,
        boot_id_path: Path = BOOT_ID_PATH,
    ) -> None:
        """Open or make the file, and read it: about a second for each million. Raises OSError."""
        if window_s < 1 or count_max < 1:
            raise ValueError("window_s, count_max: they are at least one")
        self._window_s = window_s
        self._count_max = count_max
        self._clock = clock
        self._lock = threading.Lock()
        # All nonces of one client and second are one list, and each nonce knows its list: so a
        # second is forgotten as a whole, and no nonce needs a number of its own.
        self._lists: dict[int, dict[int, list[bytes]]] = {}
        self._known: dict[bytes, list[bytes]] = {}
        self._counts: Counter[int] = Counter()
        self._marks: dict[str, int] = {}
        self._closed_s = NEVER
        self._looked_s: int | None = None
        self._file: NonceFile | None = None
        self._hash_key = os.urandom(DIGEST_BYTES)
        if path is not None:
            self._file = NonceFile(path, clock(), window_s, boot_id_path)
            self._hash_key = self._file.hash_key
            self._closed_s = self._file.closed_s
            for seen in self._file.seen:
                if seen.second > self._closed_s:
                    self._add(seen)
            self._file.seen = []

    @property
    def closed_s(self) -> int:
        """The last second, in Unix time, of which no signature is accepted any more; -1: none."""
        return self._closed_s

    def __len__(self) -> int:
        return len(self._known)

    def remember(self, client: str, nonce: str, timestamp: int) -> bool:
        """Tell whether a nonce is new, and remember it.

        False if this client sent it before, if its second is out of the window, or if that is so
        long ago that it cannot be known. Once it was True, that is in the file. Raises NoncesFull,
        and OSError where the file cannot be written; the nonce is not remembered then.
        """
        with self._lock:
            now_s = self._clock()
            self._forget(now_s)
            if timestamp <= self._closed_s or not self._is_near(timestamp, now_s):
                return False
            digest = self._hash(client, nonce)
            if digest in self._known:
                return False
            seen = Seen(digest, timestamp, self._mark(client))
            if not _has_room(self._counts[seen.mark], len(self._known), self._count_max):
                raise NoncesFull("too many nonces are remembered")
            if self._file is not None:
                self._store(self._file, seen, now_s)
            self._add(seen)
            return True

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _is_near(self, timestamp: int, now_s: float) -> bool:
        return now_s - self._window_s <= timestamp <= now_s + self._window_s

    def _hash(self, client: str, nonce: str) -> bytes:
        # Keyed, so that nobody can look for two nonces with one digest. The length keeps client
        # and nonce apart.
        text = f"{len(client)}:{client}{nonce}"
        return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES, key=self._hash_key).digest()

    def _mark(self, client: str) -> int:
        mark = self._marks.get(client)
        if mark is None:
            if len(self._marks) >= MARKS_MAX:
                self._marks.clear()
            text, key = client.encode(), self._hash_key
            digest = hashlib.blake2b(text, digest_size=MARK_BYTES, key=key).digest()
            mark = self._marks[client] = int.from_bytes(digest)
        return mark

    def _store(self, file: NonceFile, seen: Seen, now_s: float) -> None:
        records_max = self._count_max + RECORDS_SPARE
        file.turn(self._closed_s, now_s, records_max)
        # It comes to this only where clients with late clocks, whose nonces are forgotten soon,
        # write a generation full while one with an early clock keeps the other alive.
        if not _has_room(file.count_written(seen.mark), file.records, 2 * records_max):
            raise NoncesFull("the file of the nonces is full")
        file.append(seen, now_s)

    def _add(self, seen: Seen) -> None:
        nonces = self._lists.setdefault(seen.second, {}).setdefault(seen.mark, [])
        nonces.append(seen.digest)
        if seen.digest not in self._known:
            self._counts[seen.mark] += 1
        self._known[seen.digest] = nonces

    def _forget(self, now_s: float) -> None:
        """Forget the seconds whose signatures would be refused for their age alone."""
        first_s = math.ceil(now_s - self._window_s)
        if first_s == self._looked_s:
            return
        self._looked_s = first_s
        for second in [second for second in self._lists if second < first_s]:
            for mark, nonces in self._lists.pop(second).items():
                for digest in nonces:
                    # A file may hold a nonce twice: forgotten, and then sent with a later second.
                    if self._known.get(digest) is nonces:
                        del self._known[digest]
                        self._counts[mark] -= 1
                if self._counts[mark] <= 0:
                    del self._counts[mark]
            self._closed_s = max(self._closed_s, second)


def _has_room(own: int, total: int, most: int) -> bool:
    """Whether a client with so many of a total may have one more, where there may be `most`."""
    return own < SHARE * (most - total)
