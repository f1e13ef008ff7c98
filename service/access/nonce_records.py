"""The bytes of a file of nonces: what they say, and what can be believed of them.

This module owns the format, and tells what of it was found. What follows from that is for
nonce_file.py. It writes nothing.

    0      head    magic (8 bytes), id of the boot (16), key of the digests (16), how many records
                   the generation before has (uint64), its latest second (int64), zeros (4), CRC
    512    state   turn by turn with the next: a number that rises (uint64), how many records there
    1024   state   are (uint64), the second up to which some may be accepted (int64), flags (4), CRC
    4096   records of 32 bytes each
      SEEN         digest (16), its second (int64), sort (1 byte) and mark of its client (3), CRC
      RESERVED     the same with digest 0: from here on, seconds up to this one may be accepted
      CLOSED       the same with digest 0: nothing up to this second may be accepted again

A CRC is CRC-32. That of a record begins with its number in the file, so that one that is taken
out, or put elsewhere, is noticed. That some are missing at the end tells the state, which is
written anew after each record; there are two, each in a sector of its own, so that one is always
whole. A file of before (magic LCNONCE1, records from byte 64 on) has no state, and no numbers.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
NEVER = -1
"""A second before all that a signature can name."""
DIGEST_BYTES = 16
MARK_BYTES = 3
"""What is kept of a client: enough that two of them seldom are one, and nobody is told by it."""

HEAD = struct.Struct("<8s16s16sQq4xI")
STATE = struct.Struct("<QQqII")
STATE_OFFSETS = (512, 1024)
RECORDS_OFFSET = 4096
RECORD = struct.Struct("<16sqII")
NO_BOOT = bytes(16)

_MAGIC, _OLD_MAGIC = b"LCNONCE2", b"LCNONCE1"
_OLD_HEAD = struct.Struct("<8s16s16s20xI")
_CRC_BYTES = 4
_NO_DIGEST = bytes(DIGEST_BYTES)
_ZEROS = bytes(RECORD.size)
_SYNCING = 1


class Sort(IntEnum):
    """What a record says."""

    SEEN = 1
    RESERVED = 2
    CLOSED = 3


class Seen(NamedTuple):
    """A nonce that was seen: its digest, its second, and the mark of its client."""

    digest: bytes
    second: int
    mark: int = 0


class State(NamedTuple):
    """What a file says of itself. `number` rises with every time that it is written.

    While something `is_syncing`, nobody knows what of it is on the disk; see nonce_file.py.
    """

    number: int
    records: int
    reserved_s: int
    is_syncing: bool


@dataclass(slots=True)
class Generation:
    """What could be read of one file. `newest_s` is the latest second of its nonces."""

    boot_id: bytes = NO_BOOT
    hash_key: bytes = b""
    seen: list[Seen] = field(default_factory=list)
    closed_s: int = NEVER
    reserved_s: int = NEVER
    newest_s: int = NEVER
    records: int = 0
    """How many there are, with those that are damaged."""
    states: int = 0
    """The number of the last state that it has."""
    previous_records: int = 0
    previous_newest_s: int = NEVER
    is_old: bool = False
    is_bounded: bool = False
    """Whether what may have been accepted is known: at most what `reserved_s` says."""
    is_whole: bool = False
    """Whether, beyond that, every nonce is here."""


def encode_head(
    boot_id: bytes, hash_key: bytes, previous_records: int = 0, previous_newest_s: int = NEVER
) -> bytes:
    """Return the head of a generation."""
    return _seal(HEAD.pack(_MAGIC, boot_id, hash_key, previous_records, previous_newest_s, 0))


def encode_state(state: State) -> bytes:
    """Return what a file says of itself."""
    flags = _SYNCING if state.is_syncing else 0
    return _seal(STATE.pack(state.number, state.records, state.reserved_s, flags, 0))


def encode_record(sort: Sort, second: int, number: int, seen: Seen | None = None) -> bytes:
    """Return the record that is to be the `number`th, from 0 on."""
    digest, mark = (seen.digest, seen.mark) if seen else (_NO_DIGEST, 0)
    return _seal(RECORD.pack(digest, second, sort | mark << 8, 0), number)


def read_generation(path: Path) -> Generation | None:
    """Read a file as far as it can be believed; None if there is none. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if data.startswith(_OLD_MAGIC):
        return _read_old(data)
    generation = Generation()
    head = data[: HEAD.size]
    is_head_sound = len(head) == HEAD.size and head.startswith(_MAGIC) and _seal(head) == head
    if is_head_sound:
        _, generation.boot_id, generation.hash_key, records, newest_s, _ = HEAD.unpack(head)
        generation.previous_records, generation.previous_newest_s = records, newest_s
    # What follows is read even so: it may tell of more than is known otherwise.
    wrong = _read_records(generation, data, RECORDS_OFFSET, is_numbered=True)
    states = [state for offset in STATE_OFFSETS if (state := _read_state(data, offset))]
    if not states:
        return generation
    last = max(states)
    is_missing = generation.records < last.records or any(n < last.records for n in wrong)
    # What is wrong behind those that there are was not finished, and nobody was told of it.
    generation.records = min([generation.records, *(n for n in wrong if n >= last.records)])
    generation.states = last.number
    generation.reserved_s = max(generation.reserved_s, *(state.reserved_s for state in states))
    generation.is_bounded = is_head_sound
    generation.is_whole = is_head_sound and not is_missing and not last.is_syncing
    return generation


def _read_state(data: bytes, offset: int) -> State | None:
    text = data[offset : offset + STATE.size]
    if len(text) < STATE.size or _seal(text) != text:
        return None
    number, records, reserved_s, flags, _ = STATE.unpack(text)
    return State(number, records, reserved_s, bool(flags & _SYNCING))


def _read_old(data: bytes) -> Generation:
    """Read a file of before. Zeros at its end are what a power cut leaves of what was lost."""
    generation = Generation(is_old=True)
    head = data[: _OLD_HEAD.size]
    if len(head) < _OLD_HEAD.size or _seal(head) != head:
        return generation
    _, generation.boot_id, generation.hash_key, _ = _OLD_HEAD.unpack(head)
    kept = data.rstrip(b"\0")
    end = len(kept) + -(len(kept) - _OLD_HEAD.size) % RECORD.size
    wrong = _read_records(generation, data[: max(end, _OLD_HEAD.size)], _OLD_HEAD.size)
    generation.is_bounded = not wrong
    generation.is_whole = not wrong and len(data) - end < RECORD.size
    return generation


def _read_records(
    generation: Generation, data: bytes, start: int, is_numbered: bool = False
) -> list[int]:
    """Take in all records that are sound, and return the numbers of those that are not."""
    wrong = []
    generation.records = max(len(data) - start, 0) // RECORD.size
    for number, record in enumerate(_cut_records(data, start, generation.records)):
        if record != _seal(record, number if is_numbered else 0):
            wrong.append(number)
            continue
        digest, second, sort, _ = RECORD.unpack(record)
        if sort & 0xFF == Sort.SEEN:
            generation.seen.append(Seen(digest, second, sort >> 8))
            generation.newest_s = max(generation.newest_s, second)
        elif sort == Sort.RESERVED:
            generation.reserved_s = max(generation.reserved_s, second)
        elif sort == Sort.CLOSED:
            generation.closed_s = max(generation.closed_s, second)
    return wrong


def read_boot_id(path: Path = BOOT_ID_PATH) -> bytes:
    """Return the id of this boot of the machine, zeros where it cannot be known."""
    with suppress(OSError, ValueError):
        boot_id = bytes.fromhex(path.read_text().strip().replace("-", ""))
        if len(boot_id) == len(NO_BOOT):
            return boot_id
    return NO_BOOT


def _seal(data: bytes, number: int = 0) -> bytes:
    """Put the checksum of what is before it into the last bytes."""
    checksum = zlib.crc32(data[:-_CRC_BYTES], number)
    return data[:-_CRC_BYTES] + checksum.to_bytes(_CRC_BYTES, "little")


def _cut_records(data: bytes, start: int, count: int) -> Iterator[bytes]:
    for place in range(start, start + count * RECORD.size, RECORD.size):
        yield data[place : place + RECORD.size]
