"""Frames, segment headers and seals between bytes and Python: reading, checking, encoding.

The formats are told in src/frame.h and src/seal.h. Nothing here opens a file.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ledgercore._c cimport *
from ledgercore.replay cimport Replay

from dataclasses import dataclass

SEGMENT_HEADER_BYTES = LC_SEGMENT_HEADER_BYTES
SEAL_BYTES = LC_SEAL_BYTES
FRAME_ALIGNMENT = LC_FRAME_ALIGNMENT
KIND_JOURNAL = LC_SEGMENT_JOURNAL
KIND_SNAPSHOT = LC_SEGMENT_SNAPSHOT
FRAME_RECORDS_MAX = LC_FRAME_RECORDS_MAX


def checksum(const uint8_t[::1] data, bint portable=False):
    """Return the CRC-32C of some bytes; `portable` takes the way without the instruction."""
    cdef const uint8_t* start = &data[0] if data.shape[0] else NULL
    if portable:
        return ~lc_crc32c_bitwise(0xFFFFFFFF, start, data.shape[0]) & 0xFFFFFFFF
    return lc_crc32c(0, start, data.shape[0])


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The head of a segment or snapshot file."""

    kind: int
    salt: int
    number: int
    first_lsn: int
    previous_crc: int
    ledger_id: bytes
    hash_key: bytes
    created_ns: int
    key_ttl_ns: int


@dataclass(frozen=True, slots=True)
class Seal:
    """How far the journal was synced; `frame_crc` names the frame that ends there."""

    synced_lsn: int
    segment: int
    ledger_id: bytes
    frame_crc: int
    clean: bool
    sequence: int


@dataclass(slots=True)
class Scan:
    """How far a walk over frames has come, and why it ended there.

    `end` is "end" (zeros, or the end of the file), "bad" (bytes that are no frame, or not the next
    one), "newer" (a frame that a newer program wrote) or "stopped" (the replay wants no more).
    `sealed_crc` and `snapshot_crc` are the header CRCs of the frames that ended with the LSNs asked
    for, or None; `last_offset` is where the last frame begins, 0 if there is none.
    """

    offset: int
    previous_crc: int
    next_lsn: int
    frames: int = 0
    end: str = "end"
    sealed_crc: int | None = None
    last_offset: int = 0
    snapshot_crc: int | None = None


def read_segment_header(const uint8_t[::1] file):
    """Return the SegmentHeader at the start of a file, or None where there is none."""
    if file.shape[0] < LC_SEGMENT_HEADER_BYTES:
        return None
    cdef const lc_segment_header* header = <const lc_segment_header*> &file[0]
    if lc_segment_check(header) != LC_FRAME_GOOD:
        return None
    return SegmentHeader(
        kind=header.kind, salt=header.salt, number=header.number, first_lsn=header.first_lsn,
        previous_crc=header.previous_crc, ledger_id=(<const char*> header.ledger_id)[:16],
        hash_key=(<const char*> header.hash_key)[:16], created_ns=header.created_ns,
        key_ttl_ns=header.key_ttl_ns,
    )


def is_newer_segment(const uint8_t[::1] file):
    """Whether a file begins with the sound header of a segment or snapshot of a newer program."""
    if file.shape[0] < LC_SEGMENT_HEADER_BYTES:
        return False
    return lc_segment_check(<const lc_segment_header*> &file[0]) == LC_FRAME_NEWER


def is_newer_seal(const uint8_t[::1] file):
    """Whether a newer program wrote a slot of a seal file."""
    cdef lc_seal seal
    return file.shape[0] > 0 and lc_seal_read(&file[0], file.shape[0], &seal) == LC_SEAL_NEWER


def read_seal(const uint8_t[::1] file):
    """Return the Seal that a seal file holds, or None where there is none that is known here."""
    cdef lc_seal seal
    if file.shape[0] == 0 or lc_seal_read(&file[0], file.shape[0], &seal) != LC_SEAL_GOOD:
        return None
    return Seal(
        synced_lsn=seal.synced_lsn, segment=seal.segment,
        ledger_id=(<const char*> seal.ledger_id)[:16], frame_crc=seal.frame_crc,
        clean=bool(seal.clean), sequence=seal.sequence,
    )


def scan_frames(
    const uint8_t[::1] file, uint64_t salt, uint64_t offset, uint32_t previous_crc,
    uint64_t next_lsn, Replay replay=None, uint64_t sealed_lsn=0, uint64_t stop_lsn=0,
    uint64_t snapshot_lsn=0
):
    """Walk the frames from `offset` on; each good one is shown to `replay`. Returns a Scan.

    `stop_lsn` ends the walk before the frame that holds it; 0 never does. The frames that end with
    `sealed_lsn` and `snapshot_lsn` are named in the Scan.
    """
    cdef uint64_t size = file.shape[0], frames = 0, last_offset = 0
    cdef const lc_frame* frame
    cdef int check = LC_FRAME_END
    cdef bint stopped = False, found = False, snapshot_found = False
    cdef uint32_t sealed_crc = 0, snapshot_crc = 0
    cdef bint wanted = replay is not None
    with nogil:
        while offset < size:
            frame = <const lc_frame*> &file[offset]
            check = lc_frame_check(frame, size - offset, salt)
            if check == LC_FRAME_GOOD and (
                frame.previous_crc != previous_crc or frame.first_lsn != next_lsn
            ):
                check = LC_FRAME_BAD
            if check != LC_FRAME_GOOD:
                break
            if stop_lsn != 0 and lc_frame_last_lsn(frame) >= stop_lsn:
                stopped = True
                break
            if wanted and not replay.visit(frame):
                stopped = True
                break
            next_lsn = lc_frame_last_lsn(frame) + 1
            if next_lsn == sealed_lsn + 1:
                sealed_crc = frame.crc
                found = True
            if next_lsn == snapshot_lsn + 1:
                snapshot_crc = frame.crc
                snapshot_found = True
            previous_crc = frame.crc
            last_offset = offset
            offset += frame.length
            frames += 1
    names = {LC_FRAME_BAD: "bad", LC_FRAME_NEWER: "newer"}
    return Scan(
        offset, previous_crc, next_lsn, frames, "stopped" if stopped else names.get(check, "end"),
        sealed_crc if found else None, last_offset, snapshot_crc if snapshot_found else None
    )


def find_end(const uint8_t[::1] file, uint64_t offset):
    """Return where the last byte that is not zero ends, `offset` where all from there on are."""
    cdef uint64_t size = file.shape[0]
    if size <= offset:
        return offset
    with nogil:
        size = lc_content_end(&file[0], size, offset)
    return size


def find_later_synced(const uint8_t[::1] file, uint64_t offset, uint64_t salt, uint64_t lsn):
    """Return the offset of a whole frame, at or after `offset`, that says that `lsn` was synced;
    None where there is none."""
    cdef uint64_t found = 0, size = file.shape[0]
    if size > offset:
        with nogil:
            found = lc_frame_find_later_synced(&file[0], size, offset, salt, lsn)
    return found or None


def read_frame(const uint8_t[::1] file, uint64_t offset):
    """Return (records, text, length) of the frame at `offset`, which was checked before."""
    cdef const lc_frame* frame = <const lc_frame*> &file[offset]
    cdef uint64_t start = offset + 128, middle = start + <uint64_t> frame.count * 64
    return (
        bytes(file[start:middle]), bytes(file[middle:middle + frame.text_length]), frame.length
    )


def encode_segment_header(header):
    """Return the 4096 bytes of a SegmentHeader."""
    cdef lc_segment_header raw
    cdef bytes ledger_id = header.ledger_id, hash_key = header.hash_key
    memset(&raw, 0, sizeof(raw))
    raw.kind = header.kind
    raw.salt = header.salt
    raw.number = header.number
    raw.first_lsn = header.first_lsn
    raw.previous_crc = header.previous_crc
    memcpy(raw.ledger_id, <const char*> ledger_id, 16)
    memcpy(raw.hash_key, <const char*> hash_key, 16)
    raw.created_ns = header.created_ns
    raw.key_ttl_ns = header.key_ttl_ns
    lc_segment_finish(&raw)
    return (<const char*> &raw)[:sizeof(raw)]


def encode_frame(
    const uint8_t[::1] records, const uint8_t[::1] text, uint64_t first_lsn, uint64_t salt,
    uint32_t previous_crc, uint64_t synced_lsn
):
    """Return (bytes, crc) of a frame; the LSNs of the records are filled in here."""
    cdef uint32_t count = records.shape[0] // 64, i
    if not 1 <= count <= LC_FRAME_RECORDS_MAX or text.shape[0] > LC_FRAME_TEXT_BYTES_MAX:
        raise ValueError(f"a frame of {count} records and {text.shape[0]} bytes of text")
    cdef bytearray buffer = bytearray(128 + records.shape[0] + text.shape[0] + 64)
    cdef uint8_t[::1] view = buffer
    cdef lc_frame* frame = <lc_frame*> &view[0]
    frame.first_lsn = first_lsn
    frame.count = count
    frame.text_length = text.shape[0]
    memcpy(lc_frame_records(frame), &records[0], records.shape[0])
    for i in range(count):
        lc_frame_records(frame)[i].lsn = first_lsn + i
    if text.shape[0] > 0:
        memcpy(lc_frame_text(frame), &text[0], text.shape[0])
    cdef uint32_t length = lc_frame_finish(frame, salt, previous_crc, synced_lsn)
    return bytes(view[:length]), frame.crc


def encode_seal(seal):
    """Return a whole seal file, one slot of it valid."""
    cdef lc_seal raw
    cdef bytes ledger_id = seal.ledger_id
    memset(&raw, 0, sizeof(raw))
    raw.sequence = seal.sequence
    raw.synced_lsn = seal.synced_lsn
    raw.segment = seal.segment
    memcpy(raw.ledger_id, <const char*> ledger_id, 16)
    raw.frame_crc = seal.frame_crc
    raw.clean = seal.clean
    cdef uint64_t offset = lc_seal_finish(&raw)
    return bytes(offset) + (<const char*> &raw)[:sizeof(raw)]
