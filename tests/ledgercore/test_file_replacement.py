"""Whole files put in place: whose they are, in which order, and what a failure leaves."""

import os
from pathlib import Path

import pytest

from ledgercore.file_replacement import replace_file


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        replace_file(path, b"one")
        replace_file(path, b"two")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_it_is_synced_before_it_is_renamed_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, done = tmp_path / "file", []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def note_rename(source: Path, target: Path) -> Path:
        done.append(f"{source.name} -> {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    replace_file(path, b"one", suffix=".tmp", prepare=lambda _: done.append("prepared"))
    assert done == ["prepared", "file.tmp", "file.tmp -> file", tmp_path.name]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")

    def fail(_: int) -> None:
        raise PermissionError("no")

    with pytest.raises(PermissionError, match="no"):
        replace_file(path, b"two", prepare=fail)
    assert path.read_bytes() == b"one"
    replace_file(path, b"two")  # What the failure left beside it is no hindrance.
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["file"]


def test_a_link_that_lies_beside_it_is_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_bytes(b"another's")
    path.with_name("file.new").symlink_to(other)
    replace_file(path, b"one")
    assert other.read_bytes() == b"another's" and not path.is_symlink()
