"""The file of the nonces: what was seen, in the order in which it was seen, in two generations.

This module owns the bytes on the disk and what may be believed of them after a killed process, a
power cut or damage. It never decides whether a request passes; nonces.py does.

    PATH           the generation that is written: a head, then records, appended one by one
    PATH.previous  the one before; it is dropped when all in it is out of the window

A head and the records have a CRC-32 of their own:

    head    magic (8 bytes), id of the boot (16), key of the digests (16), zeros (20), CRC
    SEEN      digest (16), its second (int64), sort (uint32), CRC
    RESERVED  the same with digest 0: from here on, seconds up to this one may be accepted
    CLOSED    the same with digest 0: nothing up to this second may be accepted again

What holds, always:

1. A nonce is in the file, by one write(2), before anybody is told that it is new. So it survives
   the process, however that ends.
2. A nonce of second T is accepted only when a RESERVED of T or later has been *synced*. So after
   a power cut everything that was ever accepted lies at or before the last RESERVED on the disk,
   whatever else is lost, and closing all seconds up to that one closes the hole. A reservation
   reaches RESERVE_S beyond the present and is renewed in the background when it is nearly used
   up: less than one sync a second while requests come, none while none come.
3. A generation is dropped only after a CLOSED that covers all of it was written to the next.

A power cut is seen by the id of the boot in the head: another boot than this one, or one that
cannot be read, counts as a power cut. It costs honest clients next to nothing, since to start a
machine takes longer than RESERVE_S. Only if a client's clock ran ahead is more closed, by as much
as it ran ahead: at most by the window.

Half a record at the end is what a full disk and a killed process leave; nobody was told of it, and
it is cut off. Any other damage hides nonces that cannot be known, so all seconds that could have
been accepted by now are closed, which is one window from now on, and the log says so. To refuse the
start instead would stop all the clients that sign nothing, and lead an operator to remove the file,
which opens the very hole. One damaged record hides nothing even if the clock was set back as well:
a nonce lies at or before its reservation, and a reservation that is hidden is no matter where all
nonces can be read. Several may, together with such a clock.

Who holds the lock of the data directory may open the file; two who open it at a time would not see
each other.
"""

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from errno import ENOSPC
from pathlib import Path

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
RESERVE_S = 3
"""How far a reservation reaches beyond the present, in seconds."""
RENEW_S = 1
"""How near its end a reservation is renewed."""
NEVER = -1
"""A second before all that a signature can name."""
DIGEST_BYTES = 16

HEAD = struct.Struct("<8s16s16s20xI")
RECORD = struct.Struct("<16sqII")
_MAGIC = b"LCNONCE1"
_CRC_BYTES = 4
_NO_DIGEST = bytes(DIGEST_BYTES)
_NO_BOOT = bytes(16)

logger = logging.getLogger("ledgercore")


class Sort(IntEnum):
    """What a record says."""

    SEEN = 1
    RESERVED = 2
    CLOSED = 3


@dataclass(slots=True)
class Generation:
    """What could be read of one file. `newest_s` is the latest second of its nonces."""

    boot_id: bytes = _NO_BOOT
    hash_key: bytes = b""
    seen: list[tuple[bytes, int]] = field(default_factory=list)
    closed_s: int = NEVER
    reserved_s: int = NEVER
    newest_s: int = NEVER
    records: int = 0
    is_sound: bool = False


def encode_head(boot_id: bytes, hash_key: bytes) -> bytes:
    """Return the head of a generation."""
    return _seal(HEAD.pack(_MAGIC, boot_id, hash_key, 0))


def encode_record(sort: Sort, second: int, digest: bytes = _NO_DIGEST) -> bytes:
    """Return one record."""
    return _seal(RECORD.pack(digest, second, sort, 0))


def read_generation(path: Path) -> Generation | None:
    """Read a file as far as it can be believed; None if there is none. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    generation = Generation()
    if len(data) < HEAD.size:
        return generation
    magic, generation.boot_id, generation.hash_key, _ = HEAD.unpack_from(data)
    generation.is_sound = magic == _MAGIC and _seal(data[: HEAD.size]) == data[: HEAD.size]
    generation.records = (len(data) - HEAD.size) // RECORD.size
    for record in _cut_records(data, generation.records):
        digest, second, sort, crc = RECORD.unpack(record)
        if zlib.crc32(record[:-_CRC_BYTES]) != crc:
            generation.is_sound = False
        elif sort == Sort.SEEN:
            generation.seen.append((digest, second))
            generation.newest_s = max(generation.newest_s, second)
        elif sort == Sort.RESERVED:
            generation.reserved_s = max(generation.reserved_s, second)
        elif sort == Sort.CLOSED:
            generation.closed_s = max(generation.closed_s, second)
    return generation


def read_boot_id(path: Path = BOOT_ID_PATH) -> bytes:
    """Return the id of this boot of the machine, zeros where it cannot be known."""
    with suppress(OSError, ValueError):
        boot_id = bytes.fromhex(path.read_text().strip().replace("-", ""))
        if len(boot_id) == len(_NO_BOOT):
            return boot_id
    return _NO_BOOT


class NonceFile:
    """The two generations, open for appending. Not safe to share between threads.

    Once a sync has failed nothing more is taken, since a second try would prove nothing.
    """

    def __init__(
        self, path: Path, now_s: float, window_s: int, boot_id_path: Path = BOOT_ID_PATH
    ) -> None:
        """Open or make the file. Raises OSError."""
        self._path = path
        self._previous_path = path.with_name(path.name + ".previous")
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
        self._open(read_generation(self._previous_path), read_generation(path), now_s)

    def _open(self, previous: Generation | None, present: Generation | None, now_s: float) -> None:
        found = [generation for generation in (previous, present) if generation]
        self.closed_s = max((generation.closed_s for generation in found), default=NEVER)
        self._written_s = max((generation.reserved_s for generation in found), default=NEVER)
        self.seen = [item for generation in found for item in generation.seen]
        """The nonces that were found, the oldest first."""
        self._records = present.records if present else 0
        self._newest_s = present.newest_s if present else NEVER
        self._previous_newest_s = previous.newest_s if previous else NEVER
        if self._can_believe(found, now_s):
            self._hash_key = found[0].hash_key
            if present:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                os.ftruncate(self._descriptor, self._length)
            else:
                # A killed process had moved the one away, and not yet put the next in its place.
                self._put_in_place(self._begin())
            return
        self.seen = []
        # So that each of the first two records of the new one is enough.
        self._written_s = max(self._written_s, self.closed_s)
        self._hash_key = os.urandom(DIGEST_BYTES)
        self._put_in_place(self._begin())
        # Only now, since what it says is told by the new one; if it comes back it says the same.
        self._previous_path.unlink(missing_ok=True)
        self._previous_newest_s = NEVER

    def _can_believe(self, found: list[Generation], now_s: float) -> bool:
        """Whether all that was seen is here; where it is not, close the seconds it may have had."""
        if not all(generation.is_sound for generation in found):
            newest_s = max(generation.newest_s for generation in found)
            now_closed_s = int(now_s) + self._window_s
            self.closed_s = max(self.closed_s, self._written_s, newest_s, now_closed_s)
            logger.warning(
                "%s: damaged; signatures made up to %d (Unix seconds) are refused",
                self._path,
                self.closed_s,
                extra={"event": "nonces-damaged", "closed_s": self.closed_s},
            )
            return False
        is_same_boot = all(generation.boot_id == self._boot_id for generation in found)
        is_same_key = len({generation.hash_key for generation in found}) == 1
        if found and not (is_same_boot and is_same_key and self._boot_id != _NO_BOOT):
            self.closed_s = max(self.closed_s, self._written_s)
            if self.closed_s >= now_s:
                logger.warning(
                    "%s: after another boot; signatures made up to %d (Unix seconds) are refused",
                    self._path,
                    self.closed_s,
                    extra={"event": "nonces-of-another-boot", "closed_s": self.closed_s},
                )
            return False
        return bool(found)

    @property
    def hash_key(self) -> bytes:
        """The key of the digests, the same for as long as any of them is remembered."""
        return self._hash_key

    @property
    def records(self) -> int:
        """How many records the present generation has."""
        return self._records

    def append(self, digest: bytes, second: int, now_s: float) -> None:
        """Write that a nonce was seen. Raises OSError, and then it was not written."""
        self._reserve(second, now_s)
        self._write(encode_record(Sort.SEEN, second, digest))
        self._newest_s = max(self._newest_s, second)

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
        self._settle()
        self.closed_s = max(closed_s, self._previous_newest_s)
        # In the present one too, which is the next to be read if the process ends between the two
        # renames.
        self._write(encode_record(Sort.CLOSED, self.closed_s))
        descriptor = self._begin()
        try:
            self._path.replace(self._previous_path)
            self._put_in_place(descriptor)
        except OSError as error:
            self._failure = error
            raise
        self._turned_at_s = now_s
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
            self._settle()
        if second > self._reserved_s:
            self._settle()
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
        self._write(encode_record(Sort.RESERVED, until_s))
        self._written_s = max(self._written_s, until_s)

    def _settle(self) -> None:
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

    # -- the bytes -----------------------------------------------------------------------------

    @property
    def _length(self) -> int:
        return HEAD.size + self._records * RECORD.size

    def _check(self) -> None:
        if self._failure:
            raise OSError(self._failure.errno, "an earlier write has failed", str(self._path))

    def _write(self, record: bytes) -> None:
        """Append a record, wholly or not at all. Raises OSError."""
        self._check()
        try:
            if os.write(self._descriptor, record) < len(record):
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(self._path))
        except OSError:
            # A part that stayed would shift all that is written after it.
            try:
                os.ftruncate(self._descriptor, self._length)
            except OSError as error:
                self._failure = error
            raise
        self._records += 1

    def _begin(self) -> int:
        """Write a new generation beside the others, synced, and return its descriptor."""
        data = encode_head(self._boot_id, self._hash_key)
        data += encode_record(Sort.CLOSED, self.closed_s)
        data += encode_record(Sort.RESERVED, self._written_s)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
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
        self._records = 2
        self._beside_path.replace(self._path)
        # Otherwise a reservation could be synced into a file that a power cut leaves nameless.
        self._sync_folder()

    @property
    def _beside_path(self) -> Path:
        return self._path.with_name(self._path.name + ".tmp")

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _seal(data: bytes) -> bytes:
    """Put the checksum of what is before it into the last bytes."""
    return data[:-_CRC_BYTES] + zlib.crc32(data[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little")


def _cut_records(data: bytes, count: int) -> Iterator[bytes]:
    for start in range(HEAD.size, HEAD.size + count * RECORD.size, RECORD.size):
        yield data[start : start + RECORD.size]
