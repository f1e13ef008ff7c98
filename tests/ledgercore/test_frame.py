"""Golden bytes: the format on the disk, built here a second time from its specification.

These bytes must never change: journals that exist are read by them. A new format gets a new version
number and new goldens beside these.
"""

import hashlib
import struct

import pytest

from ledgercore import frames

SALT, FIRST_LSN, PREVIOUS, SYNCED = 0x1122334455667788, 41, 0xDEADBEEF, 40
LEDGER_ID, HASH_KEY = bytes(range(16)), bytes(range(100, 116))
CREATED_NS, TTL_NS, TIME_NS = 1_700_000_000_000_000_000, 86_400 * 10**9, 1_700_000_001_000_000_002
KEY = bytes(range(0xA0, 0xB0))
SLOT_NONE = 0xFFFFFFFF
GOLDEN_FRAME = "70c8ac051412e3ad4f7825ea236811cc8e984f061ff1fa8790e48dbae5fb3a77"
GOLDEN_HEADER = "9acb4a3a8fceed435a3bdcff7741c97566303a5938d900945aa01dfe1bdcbd34"


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit: reflected, polynomial 0x1EDC6F41."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def transfer_record(lsn: int, target: int, text: tuple[int, int, int, int]) -> bytes:
    """A transfer, field by field: an outcome TARGET_NOT_FOUND where the target has no slot.

    `text` is where its text starts, its length, and the bytes of it that name the two accounts.
    """
    status = 2 if target == SLOT_NONE else 0
    head = struct.pack("<QBBBBI16s", lsn, 1, status, 0, 0, 0, KEY)
    body = struct.pack("<IIqq", 0, target, 2**62 + 5, TIME_NS)
    return head + body + struct.pack("<IHBB", *text)


def opening_record(lsn: int) -> bytes:
    """An account: floor, ceiling, slot, asset number; its text is its id and its asset."""
    head = struct.pack("<QBBBBIqq", lsn, 2, 0, 1, 0, 0, -(2**63), 2**63 - 1)
    return head + struct.pack("<IIqqIHBB", 3, 1, 0, TIME_NS, 0, 10, 5, 5)


TEXT = b"aliceUSD/2" + b"ghost" + "für Öl".encode()
RECORDS = [
    opening_record(FIRST_LSN),
    transfer_record(FIRST_LSN + 1, 7, (0, 0, 0, 0)),
    transfer_record(FIRST_LSN + 2, SLOT_NONE, (10, len(TEXT) - 10, 0, 5)),
]


def expected_frame() -> bytes:
    """The frame that the specification gives for `RECORDS` and `TEXT`."""
    body = b"".join(RECORDS) + TEXT
    body += bytes(-(128 + len(body)) % 64)
    head = struct.pack("<4sHHQQIIQ", b"LCFR", 1, 0, SALT, FIRST_LSN, 3, 128 + len(body), SYNCED)
    head += struct.pack("<II32sI40s", PREVIOUS, crc32c(body), b"", len(TEXT), b"")
    return head + struct.pack("<I", crc32c(head)) + body


def test_a_frame_has_its_golden_bytes() -> None:
    # The LSNs are the frame's to give, so they are handed in as zeros.
    records = b"".join(bytes(8) + record[8:] for record in RECORDS)
    frame, crc = frames.encode_frame(records, TEXT, FIRST_LSN, SALT, PREVIOUS, SYNCED)
    assert frame == expected_frame()
    assert crc == struct.unpack_from("<I", frame, 124)[0]
    assert len(frame) % 64 == 0 and all(len(record) == 64 for record in RECORDS)
    assert hashlib.sha256(frame).hexdigest() == GOLDEN_FRAME


def test_a_segment_header_has_its_golden_bytes() -> None:
    header = frames.SegmentHeader(
        kind=1,
        salt=SALT,
        number=12,
        first_lsn=FIRST_LSN,
        previous_crc=PREVIOUS,
        ledger_id=LEDGER_ID,
        hash_key=HASH_KEY,
        created_ns=CREATED_NS,
        key_ttl_ns=TTL_NS,
    )
    data = frames.encode_segment_header(header)
    head = struct.pack("<8sIIQQQII", b"LCSEGMT1", 1, 1, SALT, 12, FIRST_LSN, PREVIOUS, 0)
    head += struct.pack("<16s16sqq", LEDGER_ID, HASH_KEY, CREATED_NS, TTL_NS) + bytes(3996)
    assert data == head + struct.pack("<I", crc32c(head))
    assert frames.read_segment_header(data) == header
    assert (
        hashlib.sha256(data).hexdigest()
        == "9acb4a3a8fceed435a3bdcff7741c97566303a5938d900945aa01dfe1bdcbd34"
    )


def test_any_other_byte_makes_a_header_invalid() -> None:
    header = frames.SegmentHeader(1, SALT, 1, 1, 0, LEDGER_ID, HASH_KEY, CREATED_NS, TTL_NS)
    data = frames.encode_segment_header(header)
    for offset in range(0, len(data), 17):
        other = data[:offset] + bytes([data[offset] ^ 4]) + data[offset + 1 :]
        assert frames.read_segment_header(other) is None
    assert frames.read_segment_header(data[:-1]) is None
    assert frames.read_segment_header(b"") is None


def seal_slot(sequence: int, synced: int, clean: int = 0) -> bytes:
    """One slot of the seal file."""
    head = struct.pack("<8sQQQ16s", b"LCSEAL01", sequence, synced, 12, LEDGER_ID)
    head += struct.pack("<III", PREVIOUS, clean, 0)
    return (head + struct.pack("<I", crc32c(head))).ljust(4096, b"\0")


def test_the_newer_valid_slot_of_a_seal_counts() -> None:
    broken = b"\1" + seal_slot(9, 99)[1:]
    for data, synced in [
        (seal_slot(4, 40) + seal_slot(5, 50, clean=1), 50),
        (seal_slot(6, 60) + seal_slot(5, 50), 60),
        (seal_slot(4, 40) + broken, 40),
        (broken + seal_slot(5, 50), 50),
        (bytes(4096) + seal_slot(5, 50), 50),
    ]:
        newest = frames.read_seal(data)
        assert newest is not None and newest.synced_lsn == synced
    seal = frames.read_seal(seal_slot(4, 40) + seal_slot(5, 50, clean=1))
    assert seal is not None
    assert (seal.segment, seal.ledger_id, seal.frame_crc) == (12, LEDGER_ID, PREVIOUS)
    assert (seal.clean, seal.sequence) == (True, 5)
    for nothing in (b"", bytes(8192), broken + broken, seal_slot(4, 40)[:63]):
        assert frames.read_seal(nothing) is None


CHECKSUMS = [
    # The check value of CRC-32C, and the vectors of RFC 3720, appendix B.4.
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]


@pytest.mark.parametrize("portable", [False, True])
def test_checksums_are_crc32c_with_and_without_the_instruction(portable: bool) -> None:
    for data, checksum in CHECKSUMS:
        assert frames.checksum(data, portable) == checksum == crc32c(data)
    for length in range(200):
        data = hashlib.sha256(b"%d" % length).digest() * 7
        assert frames.checksum(data[:length], portable) == crc32c(data[:length])


def test_a_later_synced_frame_is_a_whole_frame_that_says_so() -> None:
    frame = expected_frame()
    data = bytes(64) + frame + bytes(128)
    assert frames.find_later_synced(data, 0, SALT, SYNCED) == 64
    assert frames.find_later_synced(data, 0, SALT, SYNCED + 1) is None
    assert frames.find_later_synced(data, 128, SALT, SYNCED) is None
    # Bytes of a client, or of an older file, are no such frame.
    assert frames.find_later_synced(data, 0, SALT + 1, SYNCED) is None
    assert frames.find_later_synced(data[:-129], 0, SALT, SYNCED) is None
