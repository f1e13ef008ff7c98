"""The memory of the forms: what a restart finds, what it changes, and damage."""

import json
from pathlib import Path

import pytest

from ledgercore import DirectoryUnusable
from ledgercore.service.runtime.integer_forms_file import FILE_NAME, open_forms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def test_numbers_alone_need_no_file(path: Path) -> None:
    assert open_forms(path, are_strings=False, lsn=7).starts_as_tuple == ()
    assert not path.exists()


def test_what_remembers_nothing_has_one_form() -> None:
    assert open_forms(None, are_strings=True, lsn=7).starts_as_tuple == (0,)
    assert open_forms(None, are_strings=False, lsn=7).starts_as_tuple == ()


def test_each_change_is_remembered(path: Path) -> None:
    for lsn, are_strings, starts in (
        (0, True, (1,)),
        (10, True, (1,)),
        (20, False, (1, 21)),
        (30, False, (1, 21)),
        (30, True, (1, 21, 31)),
        (30, False, (1, 21)),  # Nothing was stored in between.
        (30, True, (1, 21, 31)),
        (31, False, (1, 21, 31, 32)),
    ):
        forms = open_forms(path, are_strings, lsn)
        assert (forms.starts_as_tuple, forms.are_strings) == (starts, are_strings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [FILE_NAME]


def test_an_older_ledger_forgets_what_it_never_had(path: Path) -> None:
    for lsn, are_strings in ((10, True), (20, False), (30, True)):
        open_forms(path, are_strings, lsn)
    # A copy of the journal from when 15 records were in it goes on from there.
    assert open_forms(path, are_strings=False, lsn=15).starts_as_tuple == (11, 16)
    assert open_forms(path, are_strings=True, lsn=15).starts_as_tuple == (11,)
    assert open_forms(path, are_strings=False, lsn=0).starts_as_tuple == ()


def test_every_flipped_bit_is_seen(path: Path) -> None:
    open_forms(path, are_strings=True, lsn=5)
    open_forms(path, are_strings=False, lsn=9)
    sound = path.read_bytes()
    for place in range(len(sound.rstrip())):
        for bit in range(8):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << bit
            if json_or_none(bytes(damaged)) == json.loads(sound):
                continue  # Space has taken the place of space.
            path.write_bytes(damaged)
            with pytest.raises(DirectoryUnusable, match=FILE_NAME):
                open_forms(path, are_strings=False, lsn=20)
            assert path.read_bytes() == damaged
    for length in range(len(sound) - 1):
        path.write_bytes(sound[:length])
        with pytest.raises(DirectoryUnusable, match="damaged"):
            open_forms(path, are_strings=True, lsn=20)


def json_or_none(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_what_a_newer_program_wrote_is_left(path: Path) -> None:
    path.write_text('{"version":2,"starts":[],"crc32":0}')
    with pytest.raises(DirectoryUnusable, match="newer program"):
        open_forms(path, are_strings=True, lsn=5)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="No such file or directory"):
        open_forms(tmp_path / "gone" / FILE_NAME, are_strings=True, lsn=5)
    folder = tmp_path / FILE_NAME
    folder.mkdir()
    with pytest.raises(DirectoryUnusable, match="Is a directory"):
        open_forms(folder, are_strings=True, lsn=5)
