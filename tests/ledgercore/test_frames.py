"""Bytes to Python and back: what is written is read, and what is not whole is not believed.

The bytes themselves are pinned in test_frame.py.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ledgercore import frames
from ledgercore.frames import SEGMENT_HEADER_BYTES, Scan, Seal, SegmentHeader, scan_frames
from tests.support.damage import flipped

SALT, FIRST_LSN, PREVIOUS = 0x0123456789ABCDEF, 7, 0xCAFE
U32, U64 = some.integers(0, 2**32 - 1), some.integers(0, 2**64 - 1)
TIMES = some.integers(-(2**63), 2**63 - 1)
SIXTEEN = some.binary(min_size=16, max_size=16)


def records_of(count: int, text: bytes = b"") -> bytes:
    """Records that a frame may hold; the first one has all of the text."""
    first = bytearray(64)
    first[60:62] = len(text).to_bytes(2, "little")
    return bytes(first) + bytes(64 * (count - 1))


def chain(*counts: int, first_lsn: int = FIRST_LSN) -> tuple[bytes, list[int], list[int]]:
    """Frames of so many records in a row; where each ends, and the checksum of each."""
    data, ends, crcs = b"", list[int](), list[int]()
    for count in counts:
        previous = crcs[-1] if crcs else PREVIOUS
        frame, crc = frames.encode_frame(
            records_of(count, b"text"), b"text", first_lsn, SALT, previous, first_lsn - 1
        )
        data += frame
        first_lsn += count
        ends.append(len(data))
        crcs.append(crc)
    return data, ends, crcs


def scan(data: bytes, **options: Any) -> Scan:
    return scan_frames(data, SALT, 0, PREVIOUS, FIRST_LSN, **options)


def test_both_ways_to_a_checksum_lead_to_the_same() -> None:
    assert frames.checksum(b"123456789") == 0xE3069283
    random = np.random.default_rng(1)
    data = random.integers(0, 256, 70_000, np.uint8)
    for start, length in random.integers(0, 20_000, (200, 2)):
        piece = data[start : start + length]
        assert frames.checksum(piece) == frames.checksum(piece, portable=True)
    assert frames.checksum(data) == frames.checksum(data, portable=True)
    assert frames.checksum(b"") == frames.checksum(b"", portable=True) == 0


@given(
    some.builds(
        SegmentHeader,
        kind=some.sampled_from([frames.KIND_JOURNAL, frames.KIND_SNAPSHOT]),
        salt=U64,
        number=U64,
        first_lsn=U64,
        previous_crc=U32,
        ledger_id=SIXTEEN,
        hash_key=SIXTEEN,
        created_ns=TIMES,
        key_ttl_ns=TIMES,
    )
)
def test_a_segment_header_comes_back(header: SegmentHeader) -> None:
    data = frames.encode_segment_header(header)
    assert len(data) == SEGMENT_HEADER_BYTES
    assert frames.read_segment_header(data) == header
    assert frames.read_segment_header(data + b"more") == header


@given(some.builds(Seal, U64, U64, SIXTEEN, U32, some.booleans(), U64))
def test_a_seal_comes_back_from_either_slot(seal: Seal) -> None:
    data = frames.encode_seal(seal)
    assert len(data) in (64, 4096 + 64)
    assert frames.read_seal(data) == seal
    assert frames.read_seal(data.ljust(frames.SEAL_BYTES, b"\0")) == seal
    # The next one goes into the other slot, so that a torn write leaves this one.
    other = frames.encode_seal(replace(seal, sequence=(seal.sequence + 1) % 2**64))
    assert len(data) + len(other) == 4096 + 128


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_a_seal_and_a_segment_header_is_noticed(bit: int) -> None:
    seal = frames.encode_seal(Seal(9, 2, bytes(range(16)), 5, True, 4))
    header = SegmentHeader(1, SALT, 1, 1, 0, bytes(16), bytes(range(16)), 1, 1)
    cases: list[tuple[bytes, Callable[[bytes], object]]] = [
        (seal, frames.read_seal),
        (frames.encode_segment_header(header), frames.read_segment_header),
    ]
    for data, read in cases:
        assert read(data) is not None
        for offset in range(len(data)):
            broken = bytearray(data)
            broken[offset] ^= 1 << bit
            assert read(bytes(broken)) is None, f"the flip at {offset} went unnoticed"


@given(some.integers(1, 40), some.binary(max_size=300), U64, U32, U64)
def test_a_frame_comes_back(
    count: int, text: bytes, salt: int, previous_crc: int, synced_lsn: int
) -> None:
    records = records_of(count, text)
    frame, crc = frames.encode_frame(records, text, 5, salt, previous_crc, synced_lsn)
    read, read_text, length = frames.read_frame(frame, 0)
    assert length == len(frame) and length % frames.FRAME_ALIGNMENT == 0 and read_text == text
    for number in range(count):
        # The LSNs are the frame's to give.
        own = read[64 * number : 64 * (number + 1)]
        assert own == (5 + number).to_bytes(8, "little") + records[64 * number + 8 :][:56]
    found = scan_frames(frame, salt, 0, previous_crc, 5)
    assert found == Scan(length, crc, 5 + count, 1, "end", None)


@pytest.mark.parametrize(("records", "text"), [(0, 0), (16385, 0), (1, (1 << 20) + 1)])
def test_no_frame_is_empty_or_too_large(records: int, text: int) -> None:
    with pytest.raises(ValueError, match="a frame of"):
        frames.encode_frame(bytes(64 * records), bytes(text), 1, SALT, 0, 0)
    if records:
        fits = frames.encode_frame(bytes(64 * min(records, 16384)), b"", 1, SALT, 0, 0)[0]
        assert scan_frames(fits, SALT, 0, 0, 1).frames == 1


def test_a_walk_goes_to_the_zeros_or_to_the_end_of_the_file() -> None:
    data, ends, crcs = chain(1, 3, 2)
    expected = Scan(ends[-1], crcs[-1], FIRST_LSN + 6, 3, "end", None, ends[-2])
    assert scan(data) == scan(data + bytes(4096)) == scan(data + bytes(64)) == expected
    middle = scan_frames(data, SALT, ends[0], crcs[0], FIRST_LSN + 1)
    assert middle == replace(expected, frames=2)
    assert scan(b"") == scan(bytes(4096)) == Scan(0, PREVIOUS, FIRST_LSN, 0, "end", None)


def test_every_flipped_byte_of_a_frame_ends_the_walk_before_it() -> None:
    data, ends, crcs = chain(1, 3, 2)
    for offset in range(ends[-1]):
        before = sum(end <= offset for end in ends)
        found = scan(flipped(data, offset) + bytes(256))
        assert (found.end, found.frames) == ("bad", before), f"the flip at {offset}"
        assert found.offset == (ends[before - 1] if before else 0)
        assert found.previous_crc == (crcs[before - 1] if before else PREVIOUS)


def test_a_whole_frame_in_the_wrong_place_is_bad() -> None:
    data, ends, crcs = chain(1, 3, 2)
    wrong = [
        scan_frames(data, SALT, 0, PREVIOUS ^ 1, FIRST_LSN),
        scan_frames(data, SALT, 0, PREVIOUS, FIRST_LSN + 1),
        scan_frames(data, SALT, 0, PREVIOUS, FIRST_LSN - 1),
        scan_frames(data, SALT ^ 1, 0, PREVIOUS, FIRST_LSN),
        scan_frames(data, SALT, ends[0], PREVIOUS, FIRST_LSN + 1),
        scan_frames(data, SALT, ends[0], crcs[0], FIRST_LSN),
    ]
    assert all((found.end, found.frames) == ("bad", 0) for found in wrong)
    # Nothing can be left out, put in or put twice.
    for pieces in [data[: ends[0]] + data[ends[1] :], data[: ends[0]] + data[: ends[0]]]:
        found = scan(pieces)
        assert (found.end, found.frames, found.offset) == ("bad", 1, ends[0])


def test_a_text_must_lie_within_its_frame() -> None:
    for length, first, second, good in [(4, 1, 3, True), (4, 2, 3, False), (5, 0, 0, False)]:
        record = bytearray(64)
        record[60:64] = bytes([length, 0, first, second])
        frame, _ = frames.encode_frame(record, b"text", FIRST_LSN, SALT, PREVIOUS, 0)
        assert scan(frame).end == ("end" if good else "bad")


def test_a_walk_stops_before_the_frame_that_holds_an_lsn() -> None:
    data, ends, _ = chain(1, 3, 2)
    starts = [0, ends[0], ends[0], ends[0], ends[1], ends[1]]
    for number, start in enumerate(starts):
        found = scan(data, stop_lsn=FIRST_LSN + number)
        frame = [0, *ends].index(start)
        assert (found.end, found.offset, found.frames) == ("stopped", start, frame)
        assert found.next_lsn == FIRST_LSN + [0, 1, 4][frame]
    assert scan(data, stop_lsn=FIRST_LSN + 6).end == "end"


def test_the_checksum_at_the_sealed_lsn_is_told_where_a_frame_ends_with_it() -> None:
    data, _, crcs = chain(1, 3, 2)
    told = [scan(data, sealed_lsn=FIRST_LSN + number).sealed_crc for number in range(-1, 7)]
    assert told == [None, crcs[0], None, None, crcs[1], None, crcs[2], None]


def test_a_later_synced_frame_is_whole_and_says_so() -> None:
    data, ends, _ = chain(1, 3, 2)
    # Each frame says that all before it was synced, so the first one that says it is found.
    for lsn in range(FIRST_LSN, FIRST_LSN + 4):
        expected = ends[0] if lsn < FIRST_LSN + 1 else ends[1]
        assert frames.find_later_synced(data, 0, SALT, lsn) == expected
    assert frames.find_later_synced(data, 0, SALT, FIRST_LSN + 4) is None
    assert frames.find_later_synced(data, ends[0] + 64, SALT, FIRST_LSN) == ends[1]
    assert frames.find_later_synced(flipped(data, ends[1] + 200), 0, SALT, FIRST_LSN + 3) is None
    assert frames.find_later_synced(data, len(data) + 64, SALT, FIRST_LSN) is None


def test_the_end_is_behind_the_last_byte_that_is_not_zero() -> None:
    for size in (1, 63, 64, 65, 4096):
        for end in range(0, size + 1, max(1, size // 13)):
            data = (b"\0" * (end - 1) + b"x" if end else b"").ljust(size, b"\0")
            assert frames.find_end(data, 0) == end
            assert frames.find_end(data, end) == end
            assert frames.find_end(data, size + 9) == size + 9
