"""The bytes of a file of nonces, and what is believed of them where some are not what they were."""

import struct
import zlib
from pathlib import Path

import pytest

from ledgercore.service.access.nonce_records import (
    NEVER,
    RECORD,
    RECORDS_OFFSET,
    STATE,
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

NOW_S = 1_700_000_000
BOOT, KEY = bytes(range(16)), b"k" * 16
SEEN = [Seen(number.to_bytes(16), NOW_S + number, number) for number in range(4)]
RESERVED_S = NOW_S + 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nonces"


def make_file(*states: State, records: int = len(SEEN)) -> bytes:
    data = bytearray(RECORDS_OFFSET)
    head = encode_head(BOOT, KEY, 7, NOW_S - 1)
    data[: len(head)] = head
    for state in states or (State(1, 3, NOW_S, True), State(2, 6, RESERVED_S, False)):
        offset = STATE_OFFSETS[state.number % 2]
        data[offset : offset + STATE.size] = encode_state(state)
    data += encode_record(Sort.CLOSED, NOW_S - 9, 0) + encode_record(Sort.RESERVED, NOW_S, 1)
    for number, seen in enumerate(SEEN[:records], 2):
        data += encode_record(Sort.SEEN, seen.second, number, seen)
    return bytes(data)


def read(path: Path, data: bytes) -> Generation:
    path.write_bytes(data)
    generation = read_generation(path)
    assert generation is not None
    return generation


def test_bytes_are_pinned() -> None:
    head = encode_head(BOOT, KEY, 5, NOW_S)
    assert head.hex() == (
        "4c434e4f4e434532000102030405060708090a0b0c0d0e0f"
        + "6b" * 16
        + "05"
        + "00" * 7
        + "00f1536500000000"
        + "00000000"
        + zlib.crc32(head[:-4]).to_bytes(4, "little").hex()
    )
    record = encode_record(Sort.SEEN, NOW_S, 9, Seen(b"d" * 16, NOW_S, 0xABCDEF))
    assert record[:-4].hex() == "64" * 16 + "00f1536500000000" + "01efcdab"
    assert record[-4:] == zlib.crc32(record[:-4], 9).to_bytes(4, "little")
    state = encode_state(State(3, 4, NOW_S, True))
    assert state[:-4].hex() == "03" + "00" * 7 + "04" + "00" * 7 + "00f1536500000000" + "01000000"


def test_what_is_written_is_read(path: Path) -> None:
    generation = read(path, make_file())
    assert generation == Generation(
        boot_id=BOOT,
        hash_key=KEY,
        seen=SEEN,
        closed_s=NOW_S - 9,
        reserved_s=RESERVED_S,
        newest_s=NOW_S + 3,
        records=6,
        states=2,
        previous_records=7,
        previous_newest_s=NOW_S - 1,
        is_bounded=True,
        is_whole=True,
    )


def test_no_file_is_none(path: Path) -> None:
    assert read_generation(path) is None


def test_every_record_that_is_cut_off_or_taken_out_is_missed(path: Path) -> None:
    whole = make_file()
    for length in range(RECORDS_OFFSET, len(whole)):
        generation = read(path, whole[:length])
        assert generation.is_bounded and not generation.is_whole
        assert generation.reserved_s == RESERVED_S
    for place in range(RECORDS_OFFSET, len(whole), RECORD.size):
        taken_out = whole[:place] + whole[place + RECORD.size :]
        twice = whole[: place + RECORD.size] + whole[place:]
        for data in (taken_out, twice[: len(whole)]):
            generation = read(path, data)
            is_last = data == whole
            assert generation.is_bounded and generation.is_whole == is_last
            assert generation.reserved_s == RESERVED_S


def test_every_byte_of_a_record_counts(path: Path) -> None:
    whole = make_file()
    for place in range(RECORDS_OFFSET, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        generation = read(path, bytes(damaged))
        assert generation.is_bounded and not generation.is_whole
        assert generation.reserved_s == RESERVED_S


@pytest.mark.parametrize("length", [1, 31, 32, 100, 4000])
def test_zeros_at_the_end_are_nothing(path: Path, length: int) -> None:
    """Nobody was told of what was to be there: the state counts what there was."""
    generation = read(path, make_file() + bytes(length))
    assert generation.is_whole and generation.records == 6


def test_zeros_where_records_were_are_missing_records(path: Path) -> None:
    whole = make_file()
    for count in range(1, 5):
        generation = read(path, whole[: -count * RECORD.size] + bytes(count * RECORD.size))
        assert generation.is_bounded and not generation.is_whole


def test_one_state_is_enough_and_without_any_nothing_is_known(path: Path) -> None:
    whole = make_file()
    old, new = (bytearray(whole) for _ in range(2))
    old[STATE_OFFSETS[0] + 3] ^= 1
    new[STATE_OFFSETS[1] + 3] ^= 1
    assert read(path, bytes(new)).is_whole
    # What the newer one said may be lost; but its reservation is a record as well.
    assert read(path, bytes(old)).is_bounded and read(path, bytes(old)).reserved_s == NOW_S
    old[STATE_OFFSETS[1] + 3] ^= 1
    assert not read(path, bytes(old)).is_bounded
    for length in range(STATE_OFFSETS[1] + STATE.size - 1, 0, -97):
        assert not read(path, whole[: min(length, STATE_OFFSETS[0])]).is_bounded


def test_a_head_that_is_damaged_tells_nothing(path: Path) -> None:
    whole = make_file()
    for place in range(64):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        assert not read(path, bytes(damaged)).is_bounded
    assert not read(path, b"").is_bounded


def test_a_sync_that_was_under_way_leaves_room_for_doubt(path: Path) -> None:
    generation = read(path, make_file(State(1, 6, NOW_S, False), State(2, 6, RESERVED_S, True)))
    assert generation.is_bounded and not generation.is_whole


def test_a_record_that_is_not_counted_yet_is_there(path: Path) -> None:
    generation = read(path, make_file(State(1, 5, NOW_S, False)))
    assert generation.is_whole and generation.records == 6 and generation.seen == SEEN


# -- files of before ------------------------------------------------------------------------------


def make_old() -> bytes:
    """Return what was written before there was a state."""

    def seal(data: bytes) -> bytes:
        return data + zlib.crc32(data).to_bytes(4, "little")

    data = seal(struct.pack("<8s16s16s20x", b"LCNONCE1", BOOT, KEY))
    for digest, second, sort in (
        (bytes(16), NOW_S - 9, Sort.CLOSED),
        (bytes(16), NOW_S, Sort.RESERVED),
        *((seen.digest, seen.second, Sort.SEEN) for seen in SEEN),
    ):
        data += seal(struct.pack("<16sqI", digest, second, sort))
    return data


def test_a_file_of_before_is_read(path: Path) -> None:
    generation = read(path, make_old())
    assert generation.is_old and generation.is_bounded and generation.is_whole
    assert [seen.digest for seen in generation.seen] == [seen.digest for seen in SEEN]
    assert (generation.closed_s, generation.reserved_s) == (NOW_S - 9, NOW_S)
    assert generation.previous_newest_s == NEVER
    for length in range(1, RECORD.size):
        assert read(path, make_old() + b"\1" * length).is_whole
        assert read(path, make_old() + bytes(length)).is_whole


@pytest.mark.parametrize("length", [32, 96, 5000])
def test_zeros_at_the_end_of_a_file_of_before_are_what_was_lost(path: Path, length: int) -> None:
    generation = read(path, make_old() + bytes(length))
    assert generation.is_bounded and not generation.is_whole
    assert generation.reserved_s == NOW_S


def test_other_damage_to_a_file_of_before_tells_nothing(path: Path) -> None:
    for place in range(len(make_old())):
        damaged = bytearray(make_old())
        damaged[place] ^= 1
        assert not read(path, bytes(damaged)).is_bounded


@pytest.mark.parametrize("text", ["", "no id", "12-34", None])
def test_a_boot_that_cannot_be_known(tmp_path: Path, text: str | None) -> None:
    boot_id_path = tmp_path / "boot_id"
    if text is not None:
        boot_id_path.write_text(text)
    assert read_boot_id(boot_id_path) == bytes(16)
    assert read_boot_id() != bytes(16)
