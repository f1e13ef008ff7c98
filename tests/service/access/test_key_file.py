"""The file of the API keys: its modes, its damage, and many who change it at once."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ledgercore
from ledgercore.service.access.api_keys import Scope
from ledgercore.service.access.key_file import (
    FILE_BYTES_MAX,
    FILE_NAME,
    KEYS_MAX,
    KeyFileError,
    accept_file,
    create_key,
    find_state,
    list_keys,
    read_file,
    revoke_key,
)
from ledgercore.service.access.key_mark import MARK_NAME
from tests.support.servers import ROOT, Server
from tests.support.waiting import DEADLINE_S

CREATE_MANY = """
import sys
from pathlib import Path
from ledgercore.service.access.key_file import create_key
from ledgercore.service.access.api_keys import Scope
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    create_key(Path(sys.argv[1]), f"{sys.argv[2]}-{number}", Scope.READ)
"""

KILLED_BEFORE_RENAME = """
import os, signal, sys
from pathlib import Path
from ledgercore.service.access.key_file import create_key
from ledgercore.service.access.api_keys import Scope
Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
create_key(Path(sys.argv[1]), "lost", Scope.READ)
"""

RECORD: dict[str, Any] = {
    "id": "0123abcd",
    "client": "shop",
    "scope": "read",
    "created_at": "2026-01-31T12:00:00Z",
    "digest": "ab" * 32,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / FILE_NAME


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def document(*records: dict[str, Any], **members: Any) -> bytes:
    return msgspec.json.encode({"version": 1, "keys": records} | members)


def check_refused(path: Path, *words: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KeyFileError) as caught:
        list_keys(path)
    # A server looks again and again, so that a descriptor left open each time would end it.
    assert os.listdir("/proc/self/fd") == before
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: ")
    for word in words:
        assert word in line


# -- creating, listing, revoking ------------------------------------------------------------------


def test_what_is_created_is_read_back(path: Path) -> None:
    made = [
        create_key(path, "shop", Scope.READ),
        create_key(path, "shop", Scope.TRANSFER, is_signed=True),
        create_key(path, "ops", Scope.ADMIN, rate=0.5, burst=7, quota=2**63 - 1),
    ]
    assert list_keys(path) == [new.credential for new in made]


def test_neither_tokens_nor_what_could_make_them_are_in_the_directory(path: Path) -> None:
    plain = create_key(path, "shop", Scope.READ)
    signed = create_key(path, "shop", Scope.READ, is_signed=True)
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for new in (plain, signed):
        assert new.token[13:].encode() not in content
        assert new.credential.digest.hex().encode() in content
    assert str(signed.secret).encode() in content


def test_a_directory_that_is_not_there_is_made_for_a_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / FILE_NAME
    assert list_keys(path) == []
    with pytest.raises(KeyFileError, match="no key"):
        revoke_key(path, "shop")
    with pytest.raises(ValueError, match=r"^client: "):
        create_key(path, "a b", Scope.READ)
    assert list(tmp_path.iterdir()) == []
    create_key(path, "shop", Scope.READ)
    assert len(list_keys(path)) == 1


def test_revoke(path: Path) -> None:
    first, second, other = (
        create_key(path, client, Scope.READ).credential for client in ("shop", "shop", "ops")
    )
    assert revoke_key(path, first.id) == [first.id]
    assert list_keys(path) == [second, other]
    third = create_key(path, "shop", Scope.READ).credential
    assert revoke_key(path, "shop") == [second.id, third.id]
    assert list_keys(path) == [other]
    before = path.read_bytes()
    for text in ("shop", first.id, "", "op", "OPS"):
        with pytest.raises(KeyFileError, match="there is no key"):
            revoke_key(path, text)
    assert path.read_bytes() == before


def test_the_file_outlives_its_last_key(path: Path) -> None:
    create_key(path, "shop", Scope.READ)
    revoke_key(path, "shop")
    file = read_file(path)
    assert file is not None and file.credentials == ()


def test_no_text_is_the_id_of_one_and_the_name_of_another(path: Path) -> None:
    key_id = create_key(path, "shop", Scope.READ).credential.id
    with pytest.raises(KeyFileError, match="is the id of a key"):
        create_key(path, key_id, Scope.READ)


def test_the_number_of_keys_is_bounded(path: Path) -> None:
    records = [RECORD | {"id": f"{number:08x}"} for number in range(KEYS_MAX + 1)]
    write(path, document(*records))
    check_refused(path, "more than 10000")
    write(path, document(*records[:-1]))
    with pytest.raises(KeyFileError, match="no room"):
        create_key(path, "ops", Scope.READ)
    assert len(list_keys(path)) == KEYS_MAX


# -- who may read it ------------------------------------------------------------------------------


def test_modes(path: Path) -> None:
    before = os.umask(0)
    try:
        create_key(path, "shop", Scope.READ)
    finally:
        os.umask(before)
    assert {file.name: mode_of(file) for file in path.parent.iterdir()} == {
        FILE_NAME: 0o600,
        FILE_NAME + ".lock": 0o600,
        MARK_NAME: 0o600,
    }
    assert mode_of(path.parent) == 0o700


@pytest.mark.parametrize("mode", [0o660, 0o604, 0o620, 0o601, 0o650, 0o440 | 0o002])
def test_a_file_that_is_too_open_is_refused(path: Path, mode: int) -> None:
    create_key(path, "shop", Scope.READ)
    path.chmod(mode)
    check_refused(path, f"{mode:04o}", "0600")
    for change in (lambda: create_key(path, "a", Scope.READ), lambda: revoke_key(path, "shop")):
        with pytest.raises(KeyFileError):
            change()
    path.chmod(0o400)
    assert len(list_keys(path)) == 1


# -- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff", "malformed"),
        (b'{"version":1,"keys":[' + b"[" * 100_000, "recursion"),
        (b'{"version":1,"keys":[]}x', "trailing"),
        (b'{"keys":[]}', "version"),
        (b'{"version":3,"shards":[]}', "version is 3"),
        (b'{"version":2,"keys":[]}', "sha256"),
        (b'{"version":true,"keys":[]}', "version"),
        (b'{"version":1,"keys":{}}', "array"),
        (document(more=1), "more"),
        (document(RECORD | {"more": 1}), "more"),
        (document({"id": "0123abcd"}), "client"),
        (document(RECORD | {"id": "0123ABCD"}), "id"),
        (document(RECORD | {"scope": "root"}), "root"),
        (document(RECORD | {"client": "a b"}), "client"),
        (document(RECORD | {"digest": "ab"}), "digest"),
        (document(RECORD | {"digest": "xy" * 32}), "hexadecimal"),
        (document(RECORD | {"secret": "lcs_"}), "secret"),
        (document(RECORD | {"rate": "5"}), "rate"),
        (document(RECORD | {"burst": 1.5}), "burst"),
        (document(RECORD | {"quota": 2**63}), "quota"),
        (document(RECORD, RECORD), "one id"),
        (b" " * (FILE_BYTES_MAX + 1), "longer"),
    ],
)
def test_damage_is_one_sentence(path: Path, content: bytes, word: str) -> None:
    write(path, content)
    check_refused(path, word)
    with pytest.raises(KeyFileError):
        create_key(path, "a", Scope.READ)
    assert path.read_bytes() == content


def test_every_byte_that_is_cut_off_is_noticed(path: Path) -> None:
    create_key(path, "shop", Scope.READ, is_signed=True)
    content = path.read_bytes().rstrip()
    for size in range(len(content)):
        write(path, content[:size])
        check_refused(path, "damaged")


def test_every_bit_that_flips_is_noticed(path: Path) -> None:
    """On the disk; test_key_document.py has all of the text."""
    create_key(path, "shop", Scope.TRANSFER, quota=100)
    content = path.read_bytes()
    for place in (content.index(b'"digest": "') + 12, content.index(b"100"), len(content) - 1):
        write(path, content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        check_refused(path)
        with pytest.raises(KeyFileError):
            create_key(path, "ops", Scope.READ)
    write(path, content)
    assert len(list_keys(path)) == 1


def test_what_was_changed_by_hand_is_accepted_as_it_was_seen(path: Path) -> None:
    create_key(path, "shop", Scope.READ)
    write(path, path.read_bytes().replace(b"shop", b"pohs"))
    check_refused(path, "damaged, or was changed by hand", "`ledgercore admin keys accept`")
    seen = read_file(path, is_trusted=True)
    assert seen is not None
    write(path, path.read_bytes().replace(b"read", b"admin"))
    with pytest.raises(KeyFileError, match="changed meanwhile"):
        accept_file(path, seen.state)
    seen = read_file(path, is_trusted=True)
    assert seen is not None
    accept_file(path, seen.state)
    (key,) = list_keys(path)
    assert (key.client, key.scope) == ("pohs", Scope.ADMIN)


def test_what_is_no_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    check_refused(path, "not a file")
    path.rmdir()
    os.mkfifo(path, 0o600)
    check_refused(path, "not a file")
    below = path / "api-keys.json"
    with pytest.raises(KeyFileError, match=f"^{path}: it is not a directory$"):
        find_state(below)


@pytest.mark.parametrize("below", ["api-keys.json", "a/b/api-keys.json"])
def test_a_file_where_a_directory_has_to_be_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "ledger").touch()
    path = tmp_path / "ledger" / below
    told = f"^{tmp_path / 'ledger'}: it is not a directory$"
    for ask in (find_state, read_file, lambda path: create_key(path, "shop", Scope.READ)):
        with pytest.raises(KeyFileError, match=told):
            ask(path)


def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(path, "shop", Scope.READ)
    before = path.read_bytes()

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(KeyFileError, match=r"^[^\n]*: No space left on device$"):
            create_key(path, "ops", Scope.READ)
    assert path.read_bytes() == before
    create_key(path, "ops", Scope.READ)
    assert [key.client for key in list_keys(path)] == ["shop", "ops"]


def test_the_new_file_is_synced_before_it_is_renamed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(path, "shop", Scope.READ)
    seen: list[str] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def note_rename(source: Path, target: Path) -> Path:
        seen.append(f"{source.name} -> {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    revoke_key(path, "shop")
    beside = FILE_NAME + ".new"
    assert seen == [beside, f"{beside} -> {FILE_NAME}", path.parent.name]


# -- several at once, and one that is killed ------------------------------------------------------


def run_python(program: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_two_processes_lose_no_key_of_each_other(path: Path) -> None:
    processes = [run_python(CREATE_MANY, str(path), name, "20") for name in ("a", "b")]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    names = {f"{name}-{number}" for name in ("a", "b") for number in range(20)}
    held = list_keys(path)
    assert len(held) == 40
    assert {key.client for key in held} == names


def test_killed_between_writing_and_renaming(path: Path) -> None:
    create_key(path, "shop", Scope.READ)
    before = path.read_bytes()
    killed = run_python(KILLED_BEFORE_RENAME, str(path))
    killed.communicate(timeout=DEADLINE_S)
    assert killed.returncode == -9
    beside = path.with_name(FILE_NAME + ".new")
    assert mode_of(beside) == 0o600 and b"lost" in beside.read_bytes()
    assert path.read_bytes() == before
    create_key(path, "ops", Scope.READ)
    assert [key.client for key in list_keys(path)] == ["shop", "ops"]
    assert not beside.exists()


# -- beside the engine's files --------------------------------------------------------------------


def test_a_data_directory_may_hold_keys(path: Path) -> None:
    directory = path.parent
    new = create_key(path, "shop", Scope.READ)
    beside = path.with_name(FILE_NAME + ".new")
    write(beside, b"on its way")
    with ledgercore.open(directory) as engine:
        engine.open_account("world", asset="USD/2", floor=None)
        engine.open_account("alice", asset="USD/2")
        engine.transfer("world", "alice", 5, key="k-1")
        # The engine tidies up when it opens; a change that is under way is not its to remove.
        assert beside.exists()
        assert list_keys(path) == [new.credential]
    assert not ledgercore.verify(directory).violations
    assert len(ledgercore.inspect(directory).segments) == 1
    assert ledgercore.repair(directory).kept_as is None
    ledgercore.compact(directory)
    with ledgercore.open(directory) as engine:
        assert engine.account("alice").balance == 5
    assert list_keys(path) == [new.credential]


def test_a_server_may_serve_beside_keys_that_change(path: Path) -> None:
    create_key(path, "shop", Scope.READ)
    with Server(path.parent) as server:
        assert server.url
        create_key(path, "ops", Scope.READ)
        assert server.stop() == 0
    assert [key.client for key in list_keys(path)] == ["shop", "ops"]
