"""The file of the nonces: its bytes, its generations, and what kills, cuts and damage leave."""

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledgercore.service.access import nonce_file
from ledgercore.service.access.nonce_file import RESERVE_S, NonceFile
from ledgercore.service.access.nonce_records import (
    BOOT_ID_PATH,
    DIGEST_BYTES,
    NEVER,
    RECORD,
    RECORDS_OFFSET,
    STATE_OFFSETS,
    Seen,
    Sort,
    encode_record,
    read_boot_id,
    read_generation,
)
from tests.support.disks import Disk, Killed, LatePool

NOW_S, WINDOW_S = 1_700_000_000, 300


def nonce(number: int, second: int) -> Seen:
    return Seen(number.to_bytes(DIGEST_BYTES), second, number % 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nonces"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(nonce_file, "os", disk)
    yield disk
    disk.kill()


def open_file(path: Path, now_s: float = NOW_S, boot_id_path: Path | None = None) -> NonceFile:
    return NonceFile(path, now_s, WINDOW_S, boot_id_path or BOOT_ID_PATH)


def test_what_is_written_is_read(path: Path) -> None:
    with closing(open_file(path)) as file:
        for number in range(3):
            file.append(nonce(number, NOW_S - number), NOW_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == RECORDS_OFFSET + RECORD.size * (2 + 1 + 3)
    generation = read_generation(path)
    assert generation is not None and generation.is_whole
    assert generation.boot_id == read_boot_id() != bytes(16)
    assert generation.seen == [nonce(number, NOW_S - number) for number in range(3)]
    assert generation.reserved_s == NOW_S + RESERVE_S
    assert (generation.newest_s, generation.closed_s) == (NOW_S, NEVER)
    with closing(open_file(path)) as file:
        assert file.seen == generation.seen and file.hash_key == generation.hash_key
        assert file.closed_s == NEVER
        assert [file.count_written(mark) for mark in range(4)] == [1, 1, 1, 0]


@pytest.mark.parametrize("text", ["", "no id", "12-34", None])
def test_a_boot_that_cannot_be_known_is_another(path: Path, tmp_path: Path, text: str) -> None:
    boot_id_path = tmp_path / "boot_id"
    if text is not None:
        boot_id_path.write_text(text)
    assert read_boot_id(boot_id_path) == bytes(16)
    for _ in range(2):
        with closing(open_file(path, boot_id_path=boot_id_path)) as file:
            closed_s = file.closed_s
            assert file.seen == []
            file.append(nonce(1, NOW_S), NOW_S)
    assert closed_s == NOW_S + RESERVE_S


def test_less_than_a_sync_a_second(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = LatePool()
    monkeypatch.setattr(nonce_file, "ThreadPoolExecutor", lambda *_: pool)
    with closing(open_file(path)) as file:
        file.append(nonce(0, NOW_S), NOW_S)
        syncs, waits = disk.syncs, 0
        for number in range(10_000):
            # A sync that is started takes a tenth of a second.
            if number % 100 == 0:
                pool.work()
            now_s = NOW_S + number / 1000
            before = disk.syncs
            file.append(nonce(number, int(now_s)), now_s)
            waits += disk.syncs - before
        assert waits == 0
        assert 3 <= disk.syncs - syncs <= 6


def test_what_is_accepted_was_reserved(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = LatePool()
    monkeypatch.setattr(nonce_file, "ThreadPoolExecutor", lambda *_: pool)
    with closing(open_file(path)) as file:
        for second in (NOW_S, NOW_S + 2, NOW_S + 4, NOW_S + 200, NOW_S + 5, NOW_S + 250):
            file.append(nonce(second, second), min(second, NOW_S + 5))
            # As a power cut would leave it: what was synced alone.
            beside = path.with_name("cut")
            beside.write_bytes(disk.synced(path))
            generation = read_generation(beside)
            assert generation is not None and generation.reserved_s >= second
            # And it says itself that something may be missing, whatever the boot.
            assert generation.is_bounded and not generation.is_whole


def fill(file: NonceFile, written: list[Seen]) -> None:
    """Write two nonces into each of four generations, two of them dropped, and note each nonce.

    The second of a generation is not forgotten yet when the next begins.
    """
    for number in range(4):
        now_s = NOW_S + number * (WINDOW_S + 1)
        # What the memory has forgotten by now.
        file.turn(now_s - WINDOW_S - 1 if number else NEVER, now_s, 1000)
        for place, second in ((2 * number, now_s), (2 * number + 1, now_s + WINDOW_S - 1)):
            file.append(nonce(place, second), second)
            written.append(nonce(place, second))


def test_generations_turn(path: Path) -> None:
    with closing(open_file(path)) as file:
        fill(file, [])
    previous = read_generation(path.with_name("nonces.previous"))
    present = read_generation(path)
    assert previous is not None and present is not None
    found = [int.from_bytes(seen.digest) for seen in previous.seen + present.seen]
    assert found == [4, 5, 6, 7]
    assert present.previous_records == previous.records
    assert present.previous_newest_s == previous.newest_s
    assert present.closed_s == NOW_S + 2 * (WINDOW_S + 1)
    assert present.reserved_s >= present.newest_s


def test_a_reservation_is_taken_along(path: Path) -> None:
    with closing(open_file(path)) as file:
        file.append(nonce(1, NOW_S + WINDOW_S), NOW_S)
        now_s = NOW_S + WINDOW_S + 1
        file.turn(NEVER, now_s, 1000)
        # Reserved before the turn, in a file that may be dropped before this nonce is too old.
        file.append(nonce(2, now_s), now_s)
    present = read_generation(path)
    assert present is not None and present.seen == [nonce(2, now_s)]
    assert present.reserved_s == NOW_S + WINDOW_S + RESERVE_S


@pytest.mark.parametrize("has_leftover", [False, True])
def test_a_kill_at_any_moment_loses_nothing(
    path: Path, disk: Disk, has_leftover: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written is there after it, or closed."""
    replace = Path.replace

    def watched(source: Path, target: Path) -> Path:
        disk.count()
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    kills = 0
    for calls in range(100):
        for left in path.parent.iterdir():
            left.unlink()
        written: list[Seen] = []
        file = open_file(path)
        disk.calls_left = calls
        try:
            fill(file, written)
        except Killed:
            kills += 1
        else:
            break
        finally:
            disk.kill()
        if has_leftover:
            path.with_name("nonces.tmp").write_bytes(b"left over")
        # The clock is set back, so that all of it would be in the window once more.
        file = open_file(path)
        for seen in written:
            assert seen.second <= file.closed_s or seen in file.seen
        # At most what was reserved is closed, and not a window from now on.
        reserved_s = max((seen.second for seen in written), default=NOW_S) + RESERVE_S
        assert file.closed_s <= reserved_s + WINDOW_S
        file.append(nonce(99, NOW_S + 10 * WINDOW_S), NOW_S)
        disk.kill()
    assert kills > 15


def test_half_a_record_is_cut_off(path: Path) -> None:
    with closing(open_file(path)) as file:
        file.append(nonce(1, NOW_S), NOW_S)
    size = path.stat().st_size
    for left in (encode_record(Sort.SEEN, NOW_S, 4, nonce(2, NOW_S))[:-1], b"x" * 40):
        with path.open("ab") as raw:
            raw.write(left)
        with closing(open_file(path)) as file:
            assert path.stat().st_size == size
            assert file.closed_s == NEVER and file.seen == [nonce(1, NOW_S)]
    with closing(open_file(path)) as file:
        file.append(nonce(3, NOW_S), NOW_S)
    with closing(open_file(path)) as file:
        assert file.seen == [nonce(1, NOW_S), nonce(3, NOW_S)]
        assert file.closed_s == NEVER


def put(path: Path, files: dict[str, bytes]) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    for name, data in files.items():
        path.with_name(name).write_bytes(data)


@pytest.mark.parametrize("name", ["nonces", "nonces.previous"])
def test_what_is_missing_or_damaged_closes_all_that_was_accepted(
    path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And not a window: what is left says how far it may have gone."""
    with closing(open_file(path)) as file:
        fill(file, [])
    whole = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    newest_s = NOW_S + 3 * (WINDOW_S + 1) + WINDOW_S - 1
    now_s = NOW_S + 3 * (WINDOW_S + 1)
    data, starts = whole[name], range(RECORDS_OFFSET, len(whole[name]), RECORD.size)
    versions = [data[:length] for length in range(RECORDS_OFFSET, len(data), 11)]
    versions += [data[:start] + data[start + RECORD.size :] for start in starts]
    versions += [data[:start] + bytes(len(data) - start) for start in starts]
    for place in range(RECORDS_OFFSET, len(data), 7):
        versions.append(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for version in versions:
        put(path, whole | {name: version})
        caplog.clear()
        with closing(open_file(path, now_s)) as file:
            assert newest_s <= file.closed_s <= newest_s + RESERVE_S and file.seen == []
        assert "not all of it is there; signatures made up to" in caplog.text
        with closing(open_file(path, now_s)) as file:
            assert newest_s <= file.closed_s and file.seen == []
        assert not path.with_name("nonces.previous").exists()


def test_a_generation_that_is_missing_is_missed(path: Path) -> None:
    with closing(open_file(path)) as file:
        fill(file, [])
    whole = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    now_s = NOW_S + 3 * (WINDOW_S + 1)
    newest_s = now_s + WINDOW_S - 1
    put(path, {"nonces": whole["nonces"]})
    with closing(open_file(path, now_s)) as file:
        assert newest_s <= file.closed_s <= newest_s + RESERVE_S and file.seen == []
    # Of the other nobody knows how far it went.
    put(path, {"nonces.previous": whole["nonces.previous"]})
    with closing(open_file(path, now_s)) as file:
        assert file.closed_s >= now_s + WINDOW_S and file.seen == []
    # What is left over from another turn does not take its place.
    put(path, {"nonces.previous": whole["nonces.previous"], "nonces.tmp": whole["nonces.previous"]})
    with closing(open_file(path, now_s)) as file:
        assert file.closed_s >= now_s + WINDOW_S and file.seen == []


def test_a_process_that_was_killed_between_two_renames_is_finished(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_file(path)) as file:
        file.append(nonce(1, NOW_S), NOW_S)
        replace = Path.replace

        def stop(source: Path, target: Path) -> Path:
            if source.name == "nonces.tmp":
                raise OSError(5, "Input/output error")
            return replace(source, target)

        now_s = NOW_S + WINDOW_S + 1
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", stop)
            with pytest.raises(OSError, match="Input/output error"):
                file.turn(NEVER, now_s, 1000)
    assert not path.exists()
    with closing(open_file(path, now_s)) as file:
        assert file.closed_s <= NOW_S + RESERVE_S


@pytest.mark.parametrize("name", ["nonces", "nonces.previous"])
def test_a_head_that_is_damaged_closes_a_window(
    path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_file(path)) as file:
        fill(file, [])
    whole = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    now_s = NOW_S + 3 * (WINDOW_S + 1)
    data = whole[name]
    versions = [data[:10], b"", data[: STATE_OFFSETS[0]], bytes(len(data))]
    versions += [
        data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :] for place in range(0, 60, 7)
    ]
    for version in versions:
        put(path, whole | {name: version})
        caplog.clear()
        with closing(open_file(path, now_s)) as file:
            assert file.closed_s >= now_s + WINDOW_S
        assert "damaged; signatures made up to" in caplog.text
        with closing(open_file(path, now_s)) as file:
            assert file.closed_s >= now_s + WINDOW_S and file.seen == []
        assert not path.with_name("nonces.previous").exists()


def test_a_file_of_before_is_taken_over(path: Path) -> None:
    """With all that it remembers, so that an upgrade lets nothing pass twice and refuses nobody."""
    for name, numbers in (("nonces.previous", (1, 2)), ("nonces", (3, 4))):
        path.with_name(name).write_bytes(
            make_old(read_boot_id(), [nonce(number, NOW_S) for number in numbers])
        )
    with closing(open_file(path)) as file:
        assert [int.from_bytes(seen.digest) for seen in file.seen] == [1, 2, 3, 4]
        assert file.closed_s == NEVER
        file.append(nonce(5, NOW_S), NOW_S)
    assert not path.with_name("nonces.previous").exists()
    with closing(open_file(path)) as file:
        assert [int.from_bytes(seen.digest) for seen in file.seen] == [1, 2, 3, 4, 5]


def make_old(boot_id: bytes, nonces: list[Seen]) -> bytes:
    """Return what was written before there was a state."""

    def seal(data: bytes) -> bytes:
        return data + zlib.crc32(data).to_bytes(4, "little")

    data = seal(struct.pack("<8s16s16s20x", b"LCNONCE1", boot_id, b"k" * 16))
    data += seal(struct.pack("<16sqI", bytes(16), NOW_S + RESERVE_S, Sort.RESERVED))
    for seen in nonces:
        data += seal(struct.pack("<16sqI", seen.digest, seen.second, Sort.SEEN))
    return data


def test_another_boot_closes_what_was_reserved(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("00000000-0000-0000-0000-000000000001\n")
    with closing(open_file(path)) as file:
        file.append(nonce(1, NOW_S), NOW_S)
    with closing(open_file(path, NOW_S + 60, other_boot)) as file:
        assert file.closed_s == NOW_S + RESERVE_S and file.seen == []
    # Nobody honest signs in the past, so nobody has to be told.
    assert caplog.text == ""
    with closing(open_file(path, NOW_S)) as file:
        assert file.closed_s == NOW_S + RESERVE_S
    assert "after another boot" in caplog.text
