"""The mark of a ledger that has had API keys."""

import os
import stat
from pathlib import Path

import pytest

import ledgercore
from ledgercore.service.access.api_keys import Scope
from ledgercore.service.access.key_file import FILE_NAME, create_key, revoke_key
from ledgercore.service.access.key_mark import MARK_NAME, has_mark, leave_mark
from ledgercore.service.access.private_files import KeyFileError


def test_a_mark_stays(tmp_path: Path) -> None:
    assert not has_mark(tmp_path)
    leave_mark(tmp_path)
    leave_mark(tmp_path)
    assert has_mark(tmp_path)
    mark = tmp_path / MARK_NAME
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600 and "--allow-open" in mark.read_text()


def test_where_there_is_no_directory_there_is_nothing_to_mark(tmp_path: Path) -> None:
    leave_mark(tmp_path / "none")
    assert not has_mark(tmp_path / "none") and not (tmp_path / "none").exists()


def test_the_first_key_marks_and_the_last_one_unmarks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / FILE_NAME
    create_key(path, "shop", Scope.READ)
    assert has_mark(path.parent)
    revoke_key(path, "shop")
    path.unlink()
    path.with_name(FILE_NAME + ".lock").unlink()
    assert has_mark(path.parent)


def test_the_mark_is_there_before_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger" / FILE_NAME

    def stop(source: Path, target: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyFileError):
        create_key(path, "shop", Scope.READ)
    assert not path.exists() and has_mark(path.parent)


def test_keys_that_are_kept_elsewhere_leave_no_mark_there(tmp_path: Path) -> None:
    create_key(tmp_path / "secrets.json", "shop", Scope.READ)
    assert not (tmp_path / MARK_NAME).exists()


def test_a_lock_tells_of_keys_from_before_there_was_a_mark(tmp_path: Path) -> None:
    (tmp_path / f"{FILE_NAME}.lock").touch()
    assert has_mark(tmp_path)


def test_what_cannot_be_known_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(KeyFileError, match="Permission denied"):
        has_mark(tmp_path)


def test_a_ledger_may_hold_a_mark(tmp_path: Path) -> None:
    leave_mark(tmp_path)
    with ledgercore.open(tmp_path) as engine:
        engine.open_account("world", asset="USD/2", floor=None)
    assert not ledgercore.verify(tmp_path).violations
    assert has_mark(tmp_path)
