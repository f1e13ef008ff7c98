"""The file of the nonces: its bytes, its generations, and what kills, cuts and damage leave."""

import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service import nonce_file
from service.nonce_file import (
    DIGEST_BYTES,
    HEAD,
    NEVER,
    RECORD,
    RESERVE_S,
    NonceFile,
    Sort,
    encode_head,
    encode_record,
    read_boot_id,
    read_generation,
)

from .disks import Disk, Killed, LatePool

NOW_S, WINDOW_S = 1_700_000_000, 300


def digest_of(number: int) -> bytes:
    return number.to_bytes(DIGEST_BYTES)


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
    return NonceFile(path, now_s, WINDOW_S, boot_id_path or nonce_file.BOOT_ID_PATH)


def test_bytes_are_pinned() -> None:
    head = encode_head(bytes(range(16)), b"k" * 16)
    assert head.hex() == (
        "4c434e4f4e434531000102030405060708090a0b0c0d0e0f" + "6b" * 16 + "00" * 20 + "b25dda54"
    )
    record = encode_record(Sort.SEEN, NOW_S, b"d" * 16)
    assert record.hex() == "64" * 16 + "00f1536500000000" + "01000000" + "36db3a2f"


def test_what_is_written_is_read(path: Path) -> None:
    with closing(open_file(path)) as file:
        for number in range(3):
            file.append(digest_of(number), NOW_S - number, NOW_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == HEAD.size + RECORD.size * (2 + 1 + 3)
    generation = read_generation(path)
    assert generation is not None and generation.is_sound
    assert generation.boot_id == read_boot_id() != bytes(16)
    assert generation.seen == [(digest_of(number), NOW_S - number) for number in range(3)]
    assert generation.reserved_s == NOW_S + RESERVE_S
    assert (generation.newest_s, generation.closed_s) == (NOW_S, NEVER)
    with closing(open_file(path)) as file:
        assert file.seen == generation.seen and file.hash_key == generation.hash_key
        assert file.closed_s == NEVER


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
            file.append(digest_of(1), NOW_S, NOW_S)
    assert closed_s == NOW_S + RESERVE_S


def test_less_than_a_sync_a_second(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = LatePool()
    monkeypatch.setattr(nonce_file, "ThreadPoolExecutor", lambda *_: pool)
    with closing(open_file(path)) as file:
        file.append(digest_of(0), NOW_S, NOW_S)
        syncs, waits = disk.syncs, 0
        for number in range(10_000):
            # A sync that is started takes a tenth of a second.
            if number % 100 == 0:
                pool.work()
            now_s = NOW_S + number / 1000
            before = disk.syncs
            file.append(digest_of(number), int(now_s), now_s)
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
            file.append(digest_of(second), second, min(second, NOW_S + 5))
            # As a power cut would leave it: the synced bytes alone.
            beside = path.with_name("cut")
            beside.write_bytes(path.read_bytes()[: disk.synced_bytes(path)])
            generation = read_generation(beside)
            assert generation is not None and generation.reserved_s >= second


def fill(file: NonceFile, written: list[tuple[bytes, int]]) -> None:
    """Write two nonces into each of four generations, two of them dropped, and note each nonce.

    The second of a generation is not forgotten yet when the next begins.
    """
    for number in range(4):
        now_s = NOW_S + number * (WINDOW_S + 1)
        # What the memory has forgotten by now.
        file.turn(now_s - WINDOW_S - 1 if number else NEVER, now_s, 1000)
        for nonce, second in ((2 * number, now_s), (2 * number + 1, now_s + WINDOW_S - 1)):
            file.append(digest_of(nonce), second, second)
            written.append((digest_of(nonce), second))


def test_generations_turn(path: Path) -> None:
    with closing(open_file(path)) as file:
        fill(file, [])
    previous = read_generation(path.with_name("nonces.previous"))
    present = read_generation(path)
    assert previous is not None and present is not None
    found = [digest for digest, _ in previous.seen + present.seen]
    assert found == [digest_of(number) for number in (4, 5, 6, 7)]
    assert present.closed_s == NOW_S + 2 * (WINDOW_S + 1)
    assert present.reserved_s >= present.newest_s


def test_a_reservation_is_taken_along(path: Path) -> None:
    with closing(open_file(path)) as file:
        file.append(digest_of(1), NOW_S + WINDOW_S, NOW_S)
        now_s = NOW_S + WINDOW_S + 1
        file.turn(NEVER, now_s, 1000)
        # Reserved before the turn, in a file that may be dropped before this nonce is too old.
        file.append(digest_of(2), now_s, now_s)
    present = read_generation(path)
    assert present is not None and present.seen == [(digest_of(2), now_s)]
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
        written: list[tuple[bytes, int]] = []
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
        for digest, second in written:
            assert second <= file.closed_s or (digest, second) in file.seen
        file.append(digest_of(99), NOW_S + 10 * WINDOW_S, NOW_S)
        disk.kill()
    assert kills > 15


def test_half_a_record_is_cut_off(path: Path) -> None:
    with closing(open_file(path)) as file:
        file.append(digest_of(1), NOW_S, NOW_S)
    size = path.stat().st_size
    with path.open("ab") as raw:
        raw.write(encode_record(Sort.SEEN, NOW_S, digest_of(2))[:-1])
    with closing(open_file(path)) as file:
        assert path.stat().st_size == size
        file.append(digest_of(3), NOW_S, NOW_S)
    with closing(open_file(path)) as file:
        assert [digest for digest, _ in file.seen] == [digest_of(1), digest_of(3)]
        assert file.closed_s == NEVER


@pytest.mark.parametrize("name", ["nonces", "nonces.previous"])
def test_damage_closes_what_it_may_hide(
    path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_file(path)) as file:
        fill(file, [])
    sound = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    now_s = NOW_S + 3 * (WINDOW_S + 1)
    damaged = [sound[name][:10], b""]
    for place in range(0, len(sound[name]), 13):
        data = bytearray(sound[name])
        data[place] ^= 1
        damaged.append(bytes(data))
    for data in damaged:
        for file_name, whole in sound.items():
            path.with_name(file_name).write_bytes(whole)
        path.with_name(name).write_bytes(data)
        caplog.clear()
        with closing(open_file(path, now_s)) as file:
            assert file.closed_s >= now_s + WINDOW_S
        assert "damaged; signatures made up to" in caplog.text
        with closing(open_file(path, now_s)) as file:
            assert file.closed_s >= now_s + WINDOW_S and file.seen == []
        assert not path.with_name("nonces.previous").exists()


def test_another_boot_closes_what_was_reserved(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("00000000-0000-0000-0000-000000000001\n")
    with closing(open_file(path)) as file:
        file.append(digest_of(1), NOW_S, NOW_S)
    with closing(open_file(path, NOW_S + 60, other_boot)) as file:
        assert file.closed_s == NOW_S + RESERVE_S and file.seen == []
    # Nobody honest signs in the past, so nobody has to be told.
    assert caplog.text == ""
    with closing(open_file(path, NOW_S)) as file:
        assert file.closed_s == NOW_S + RESERVE_S
    assert "after another boot" in caplog.text
