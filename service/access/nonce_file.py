"""The file of the nonces: what was seen, in the order in which it was seen, in two generations.

This module owns what is written and synced when, and what may be believed after a killed process, a
power cut or damage. The bytes are nonce_records.py's. It never decides whether a request passes;
nonces.py does.

    PATH           the generation that is written: a head, its state, and records, one by one
    PATH.previous  the one before; it is dropped when all in it is out of the window
    PATH.tmp       the next one, on its way

What holds, always:

1. A nonce is in the file, and then counted in its state, before anybody is told that it is new. So
   it survives the process, however that ends; and where one is missing, that is seen.
2. A nonce of second T is accepted only when a RESERVED of T or later has been *synced*. So all that
   was ever accepted lies at or before the last RESERVED on the disk, whatever else is lost, and
   closing all seconds up to that one closes the hole. A reservation reaches RESERVE_S beyond the
   present and is renewed in the background when it is nearly used up: less than one sync a second
   while requests come, none while none come. It is told twice, by a record and by the state.
3. A generation is dropped only after a CLOSED that covers all of it was written to the next.

So there are three cases at the start:

* All is here: same boot, every nonce that the state counts, nothing under way. Nothing is closed.
* Something may be missing: another boot, so that the power may have been cut; a nonce that is
  damaged, or missing, in the middle, at the end or with the whole generation before; a sync that
  was under way, which is what a cut leaves on the disk even where the boot is the same, as with a
  volume that was torn off. All seconds up to the last RESERVED are closed: RESERVE_S beyond the
  last request, which is over when a machine is up again. Only if a client's clock ran ahead is it
  as much more, at most the window.
* The head or both states are damaged, or the generation that was written is missing: nothing is
  known, so all seconds that could have been accepted by now are closed, which is one window from
  now on. To refuse the start instead would stop all the clients that sign nothing, and lead an
  operator to remove the file, which opens the very hole.

The log says so wherever it can matter to somebody.

Who holds the lock of the data directory may open the file; two who open it at a time would not see
each other.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from errno import ENOSPC
from pathlib import Path

from .nonce_records import (
    BOOT_ID_PATH,
    DIGEST_BYTES,
    NEVER,
    NO_BOOT,
    RECORD,
    RECORDS_OFFSET,
    STATE_OFFSETS,
    Generation,
    Seen,
    Sort,
    State,
    encode_head,
    encode_record,
    encode_state,
    read_boot_id,
    read_generation,
)

RESERVE_S = 3
"""How far a reservation reaches beyond the present, in seconds."""
RENEW_S = 1
"""How near its end a reservation is renewed."""

logger = logging.getLogger("ledgercore")


class NonceFile:
    """The two generations, open for writing. Not safe to share between threads.

    Once a sync has failed nothing more is taken, since a second try would prove nothing.
    """

    def __init__(
        self, path: Path, now_s: float, window_s: int, boot_id_path: Path = BOOT_ID_PATH
    ) -> None:
        """Open or make the file. Raises OSError."""
        self._path = path
        self._previous_path = path.with_name(path.name + ".previous")
        self._beside_path = path.with_name(path.name + ".tmp")
        self._window_s = window_s
        self._turned_at_s = now_s
        self._boot_id = read_boot_id(boot_id_path)
        self._descriptor = -1
        self._failure: OSError | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._renewal: Future[None] | None = None
        self._renewed_s = NEVER
        # What a process before this one reserved it may not have synced.
        self._reserved_s = NEVER
        # The state is written by the thread that syncs as well.
        self._lock = threading.Lock()
        self._state_number = 0
        self._is_syncing = False
        self._finish_turn()
        self._open(read_generation(self._previous_path), read_generation(path), now_s)

    def _finish_turn(self) -> None:
        """Put a generation in place that a killed process had ready, and no other is there."""
        if self._path.exists() or not self._previous_path.exists():
            return
        previous, ready = map(read_generation, (self._previous_path, self._beside_path))
        if previous and ready and ready.is_bounded and _is_next(previous, ready):
            self._beside_path.replace(self._path)

    def _open(self, previous: Generation | None, present: Generation | None, now_s: float) -> None:
        found = [generation for generation in (previous, present) if generation]
        self.closed_s = max((generation.closed_s for generation in found), default=NEVER)
        self._written_s = max((generation.reserved_s for generation in found), default=NEVER)
        self.seen = [item for generation in found for item in generation.seen]
        """The nonces that were found, the oldest first."""
        self._newest_s = present.newest_s if present else NEVER
        self._previous_newest_s = previous.newest_s if previous else NEVER
        self._written = Counter(item.mark for item in present.seen) if present else Counter()
        self._records = present.records if present else 0
        is_believed = self._can_believe(previous, present, now_s)
        if is_believed and present and not present.is_old:
            self._hash_key = present.hash_key
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            os.ftruncate(self._descriptor, self._length)
            self._state_number = present.states
            self._write_state()
            return
        if is_believed and present:
            self._hash_key = present.hash_key
        else:
            self._hash_key = os.urandom(DIGEST_BYTES)
            self.seen = []
        # So that each of the first two records of the new one is enough.
        self._written_s = max(self._written_s, self.closed_s)
        self._put_in_place(self._begin(self.seen))
        # Only now, since what it says is told by the new one; if it comes back it says the same.
        self._previous_path.unlink(missing_ok=True)
        self._newest_s = max((item.second for item in self.seen), default=NEVER)
        self._previous_newest_s = NEVER

    def _can_believe(
        self, previous: Generation | None, present: Generation | None, now_s: float
    ) -> bool:
        """Whether all that was seen is here; where it is not, close the seconds it may have had."""
        found = [generation for generation in (previous, present) if generation]
        if not found:
            return False
        if present is None or not all(generation.is_bounded for generation in found):
            newest_s = max(generation.newest_s for generation in found)
            now_closed_s = int(now_s) + self._window_s
            self.closed_s = max(self.closed_s, self._written_s, newest_s, now_closed_s)
            self._log_closed("damaged", "nonces-damaged")
            return False
        if any(generation.boot_id != self._boot_id for generation in found) or (
            self._boot_id == NO_BOOT
        ):
            sentence, event = "after another boot", "nonces-of-another-boot"
        elif _is_all_here(previous, present):
            return True
        else:
            sentence, event = "not all of it is there", "nonces-missing"
        self.closed_s = max(self.closed_s, self._written_s)
        if self.closed_s >= now_s:
            self._log_closed(sentence, event)
        return False

    def _log_closed(self, sentence: str, event: str) -> None:
        logger.warning(
            "%s: %s; signatures made up to %d (Unix seconds) are refused",
            self._path,
            sentence,
            self.closed_s,
            extra={"event": event, "closed_s": self.closed_s},
        )

    @property
    def hash_key(self) -> bytes:
        """The key of the digests, the same for as long as any of them is remembered."""
        return self._hash_key

    @property
    def records(self) -> int:
        """How many records the present generation has."""
        return self._records

    def count_written(self, mark: int) -> int:
        """Return how many records of the present generation are those of a client."""
        return self._written[mark]

    def append(self, seen: Seen, now_s: float) -> None:
        """Write that a nonce was seen. Raises OSError, and then it may be written or not."""
        self._reserve(seen.second, now_s)
        self._write(Sort.SEEN, seen.second, seen)
        self._write_state()
        self._written[seen.mark] += 1
        self._newest_s = max(self._newest_s, seen.second)

    def turn(self, closed_s: int, now_s: float, records_max: int) -> None:
        """Begin a new generation if it is time, and drop the one before the present.

        Raises OSError. It is time when all in the dropped one is out of the window, and the present
        one is as old as the window or has its number of records. `closed_s` is what was forgotten
        so far.
        """
        self._turned_at_s = min(self._turned_at_s, now_s)
        is_old = now_s - self._turned_at_s >= self._window_s and self._newest_s != NEVER
        is_droppable = self._previous_newest_s < now_s - self._window_s
        if not is_droppable or not (is_old or self._records >= records_max):
            return
        self._finish_renewal()
        self.closed_s = max(closed_s, self._previous_newest_s)
        # In the present one too, which is the next to be read if the process ends between the two
        # renames.
        self._write(Sort.CLOSED, self.closed_s)
        self._write_state()
        descriptor = self._begin((), self._records, self._newest_s)
        try:
            self._path.replace(self._previous_path)
            self._put_in_place(descriptor)
        except OSError as error:
            self._failure = error
            raise
        self._turned_at_s = now_s
        self._written.clear()
        self._previous_newest_s, self._newest_s = self._newest_s, NEVER

    def close(self) -> None:
        """Wait for what is being synced, and let go of the file."""
        if self._pool:
            self._pool.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # -- reservations --------------------------------------------------------------------------

    def _reserve(self, second: int, now_s: float) -> None:
        """See to it that this second is reserved on the disk, and that soon the next are."""
        self._check()
        if self._renewal and self._renewal.done():
            self._finish_renewal()
        if second > self._reserved_s:
            self._finish_renewal()
        if second > self._reserved_s:
            until_s = max(second, int(now_s)) + RESERVE_S
            self._write_reservation(until_s)
            self._sync_records()
            self._reserved_s = until_s
        elif not self._renewal and int(now_s) + RENEW_S >= self._reserved_s:
            self._renewed_s = int(now_s) + RESERVE_S
            self._write_reservation(self._renewed_s)
            self._pool = self._pool or ThreadPoolExecutor(1, "nonces")
            self._renewal = self._pool.submit(self._sync_records)

    def _write_reservation(self, until_s: int) -> None:
        self._write(Sort.RESERVED, until_s)
        self._written_s = max(self._written_s, until_s)
        # What is on the disk after this sync says that one was under way, and what follows may be
        # lost; only the cache of the kernel, which outlives a process, says that it was not.
        self._write_state(is_syncing=True)

    def _finish_renewal(self) -> None:
        """Take what became of the renewal under way, if there is one; waits for it."""
        if self._renewal:
            renewal, self._renewal = self._renewal, None
            renewal.result()
            self._reserved_s = max(self._reserved_s, self._renewed_s)

    def _sync_records(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._failure = error
            raise
        self._write_state(is_syncing=False)

    # -- the bytes -----------------------------------------------------------------------------

    @property
    def _length(self) -> int:
        return RECORDS_OFFSET + self._records * RECORD.size

    def _check(self) -> None:
        if self._failure:
            raise OSError(self._failure.errno, "an earlier write has failed", str(self._path))

    def _write(self, sort: Sort, second: int, seen: Seen | None = None) -> None:
        """Append a record, wholly or not at all. Raises OSError."""
        self._check()
        record = encode_record(sort, second, self._records, seen)
        try:
            if os.pwrite(self._descriptor, record, self._length) < len(record):
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(self._path))
        except OSError:
            try:
                os.ftruncate(self._descriptor, self._length)
            except OSError as error:
                self._failure = error
            raise
        self._records += 1

    def _write_state(self, is_syncing: bool | None = None) -> None:
        """Let the file say how many records it has. Raises OSError."""
        with self._lock:
            if is_syncing is not None:
                self._is_syncing = is_syncing
            self._state_number += 1
            state = State(self._state_number, self._records, self._written_s, self._is_syncing)
            offset = STATE_OFFSETS[self._state_number % len(STATE_OFFSETS)]
            os.pwrite(self._descriptor, encode_state(state), offset)

    def _begin(
        self, seen: Iterable[Seen], previous_records: int = 0, previous_newest_s: int = NEVER
    ) -> int:
        """Write a new generation beside the others, synced, and return its descriptor."""
        records = [
            encode_record(Sort.CLOSED, self.closed_s, 0),
            encode_record(Sort.RESERVED, self._written_s, 1),
        ]
        records += [
            encode_record(Sort.SEEN, item.second, number, item)
            for number, item in enumerate(seen, len(records))
        ]
        data = bytearray(RECORDS_OFFSET)
        head = encode_head(self._boot_id, self._hash_key, previous_records, previous_newest_s)
        data[: len(head)] = head
        state = encode_state(State(1, len(records), self._written_s, is_syncing=True))
        data[STATE_OFFSETS[1] : STATE_OFFSETS[1] + len(state)] = state
        data += b"".join(records)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self._beside_path, flags, 0o600)
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(self._path))
            os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _put_in_place(self, descriptor: int) -> None:
        """Make the generation of this descriptor the present one, durably."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._records = (os.fstat(descriptor).st_size - RECORDS_OFFSET) // RECORD.size
        self._beside_path.replace(self._path)
        # Otherwise a reservation could be synced into a file that a power cut leaves nameless.
        self._sync_folder()
        self._state_number, self._is_syncing = 1, False
        self._write_state()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_next(previous: Generation, ready: Generation) -> bool:
    """Whether a generation was begun when the one before had just what it has now."""
    return (ready.hash_key, ready.previous_records, ready.previous_newest_s) == (
        previous.hash_key,
        previous.records,
        previous.newest_s,
    )


def _is_all_here(previous: Generation | None, present: Generation) -> bool:
    """Whether two generations of one boot have all that they had, and belong together."""
    if not present.is_whole:
        return False
    if previous is None:
        # One that is missing may be: all in it is closed, or it was never there.
        return present.previous_newest_s <= present.closed_s
    return (
        previous.is_whole
        and previous.hash_key == present.hash_key
        and (present.is_old or previous.records >= present.previous_records)
    )
