"""The ring of a running server: what it takes up, whom it lets in, and that it stays closed."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.access import key_ring
from ledgercore.service.access.key_document import encode_keys
from ledgercore.service.access.key_file import FileState, find_state
from ledgercore.service.access.key_ring import (
    CHECK_INTERVAL_S,
    KeyFileError,
    KeyRing,
    NewKey,
    Scope,
    create_key,
    revoke_key,
)


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api-keys.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def look(clock: Clock) -> Callable[[KeyRing], None]:
    """Let so much time pass that a ring looks at its file, and let it look."""

    def pass_time(ring: KeyRing) -> None:
        clock.now_s += CHECK_INTERVAL_S
        ring.refresh()

    return pass_time


Look = Callable[[KeyRing], None]


def check_closed(ring: KeyRing, *refused: NewKey) -> None:
    assert not ring.is_empty
    for new in refused:
        assert ring.authenticate(new.token) is None


def test_no_file(path: Path) -> None:
    ring = KeyRing(path)
    assert (ring.is_empty, ring.generation, ring.credentials()) == (True, 0, [])
    ring.refresh()
    assert ring.is_empty


def test_who_has_a_key_is_known(path: Path) -> None:
    first, second = (create_key(path, client, Scope.READ) for client in ("shop", "ops"))
    ring = KeyRing(path)
    assert not ring.is_empty
    assert ring.credentials() == [first.credential, second.credential]
    for new in (first, second):
        assert ring.authenticate(new.token) == new.credential
        assert ring.find(new.credential.id) == new.credential
    # The random part of one with the id of the other.
    assert ring.authenticate(first.token[:13] + second.token[13:]) is None
    assert ring.authenticate(first.token[:-1]) is None
    assert ring.authenticate("lck_00000000_" + first.token[13:]) is None
    assert ring.find("00000000") is None


# -- what changes while it runs -------------------------------------------------------------------


def test_it_looks_at_the_file_no_more_often_than_it_says(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(path, clock)
    new = create_key(path, "shop", Scope.READ)
    looks: list[Path] = []

    def count(path: Path) -> FileState | None:
        looks.append(path)
        return find_state(path)

    monkeypatch.setattr(key_ring, "find_state", count)
    clock.now_s += CHECK_INTERVAL_S * 0.99
    for _ in range(100):
        ring.refresh()
    assert not looks and ring.is_empty
    clock.now_s += CHECK_INTERVAL_S * 0.02
    for _ in range(100):
        ring.refresh()
    assert len(looks) == 1
    assert ring.authenticate(new.token) == new.credential


def test_create_and_revoke_are_taken_up(path: Path, clock: Clock, look: Look) -> None:
    ring = KeyRing(path, clock)
    first = create_key(path, "shop", Scope.TRANSFER)
    look(ring)
    assert (ring.is_empty, ring.generation) == (False, 1)
    look(ring)
    assert ring.generation == 1
    second = create_key(path, "shop", Scope.TRANSFER)
    look(ring)
    # Rotation: for a while a client has two keys, and with both it is the same client.
    known = [ring.authenticate(new.token) for new in (first, second)]
    assert [key and key.client for key in known] == ["shop", "shop"]
    assert ring.generation == 2
    revoke_key(path, first.credential.id)
    look(ring)
    assert ring.authenticate(first.token) is None
    assert ring.authenticate(second.token) == second.credential
    assert ring.generation == 3


def test_a_file_that_was_changed_in_place_is_taken_up(path: Path, clock: Clock, look: Look) -> None:
    create_key(path, "shop", Scope.READ)
    ring = KeyRing(path, clock)
    status = path.stat()
    key = ring.credentials()[0]
    path.write_bytes(encode_keys([replace(key, client="pohs")]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    look(ring)
    assert [key.client for key in ring.credentials()] == ["pohs"]


# -- it never falls open --------------------------------------------------------------------------


def test_without_its_file_it_lets_nobody_in(
    path: Path, clock: Clock, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    new = create_key(path, "shop", Scope.READ)
    ring = KeyRing(path, clock)
    path.unlink()
    for _ in range(3):
        look(ring)
    check_closed(ring, new)
    assert ring.generation == 2
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ledgercore", logging.ERROR)
    assert "is gone" in record.getMessage()
    again = create_key(path, "shop", Scope.READ)
    look(ring)
    check_closed(ring, new)
    assert ring.authenticate(again.token) == again.credential


def test_a_file_that_comes_back_is_read_again(path: Path, clock: Clock, look: Look) -> None:
    new = create_key(path, "shop", Scope.READ)
    ring = KeyRing(path, clock)
    elsewhere = path.rename(path.with_suffix(".away"))
    look(ring)
    check_closed(ring, new)
    elsewhere.rename(path)
    look(ring)
    assert ring.authenticate(new.token) == new.credential


def test_a_warning_that_is_over_is_given_again(
    path: Path, clock: Clock, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    create_key(path, "shop", Scope.READ)
    ring = KeyRing(path, clock)
    for _ in range(2):
        sound = path.rename(path.with_suffix(".sound"))
        path.write_bytes(b"{")
        path.chmod(0o600)
        look(ring)
        look(ring)
        sound.replace(path)
        look(ring)
    assert len(caplog.records) == 2


def test_without_any_key_it_lets_nobody_in(path: Path, clock: Clock, look: Look) -> None:
    new = create_key(path, "shop", Scope.READ)
    ring = KeyRing(path, clock)
    revoke_key(path, "shop")
    look(ring)
    check_closed(ring, new)
    # Nor does a server that is started now: an empty file is not the same as none.
    check_closed(KeyRing(path), new)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version":2}'])
def test_damage_leaves_the_last_good_keys(
    path: Path, clock: Clock, look: Look, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    new = create_key(path, "shop", Scope.READ)
    content = path.read_bytes()
    ring = KeyRing(path, clock)
    path.write_bytes(damage)
    for _ in range(3):
        look(ring)
    assert ring.authenticate(new.token) == new.credential
    assert not ring.is_empty and ring.generation == 1
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ledgercore", logging.ERROR)
    assert str(path) in record.getMessage() and "\n" not in record.getMessage()
    path.write_bytes(content)
    look(ring)
    assert ring.generation == 2
    path.write_bytes(damage)
    look(ring)
    assert len(caplog.records) == 2


def test_a_mode_that_is_put_right_is_noticed(path: Path, clock: Clock, look: Look) -> None:
    ring = KeyRing(path, clock)
    new = create_key(path, "shop", Scope.READ)
    path.chmod(0o644)
    look(ring)
    # There were no keys to keep: from now on nobody gets in without one.
    check_closed(ring, new)
    assert ring.generation == 1
    path.chmod(0o600)
    look(ring)
    assert ring.authenticate(new.token) == new.credential
    assert ring.generation == 2


def test_no_server_starts_with_a_damaged_file(path: Path) -> None:
    path.write_bytes(b"{")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="damaged"):
        KeyRing(path)


# -- what a refusal tells -------------------------------------------------------------------------


def test_every_token_is_compared_in_constant_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = create_key(path, "shop", Scope.READ)
    ring = KeyRing(path)
    compared: list[tuple[bytes, bytes]] = []

    def note(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return True  # Even then an id that is not there lets nobody in.

    monkeypatch.setattr(key_ring, "compare_digest", note)
    assert ring.authenticate(new.token) == new.credential
    assert ring.authenticate("lck_00000000_" + new.token[13:]) is None
    assert [len(digest) for pair in compared for digest in pair] == [32, 32, 32, 32]
    assert compared[0][1] == new.credential.digest != compared[1][1]
    monkeypatch.setattr(key_ring, "compare_digest", lambda left, right: False)
    assert ring.authenticate(new.token) is None


ALPHABET = "lck_s0123456789abcdefABCXYZ-_=\n\x00 é\ud800"


@pytest.fixture(scope="module")
def ring_of_one(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyRing, NewKey]:
    path = tmp_path_factory.mktemp("ring") / "api-keys.json"
    new = create_key(path, "shop", Scope.READ)
    return KeyRing(path), new


@given(st.text() | st.text(ALPHABET, max_size=80) | st.from_regex(r"lck_[0-9a-f]{8}_[\w-]{43}"))
def test_garbage_never_gets_in(ring_of_one: tuple[KeyRing, NewKey], text: str) -> None:
    ring, new = ring_of_one
    assert text == new.token or ring.authenticate(text) is None


@given(st.data())
def test_one_changed_character_never_gets_in(
    ring_of_one: tuple[KeyRing, NewKey], data: st.DataObject
) -> None:
    ring, new = ring_of_one
    place = data.draw(st.integers(0, len(new.token) - 1))
    changed = new.token[:place] + data.draw(st.characters()) + new.token[place + 1 :]
    assert (ring.authenticate(changed) is not None) == (changed == new.token)
