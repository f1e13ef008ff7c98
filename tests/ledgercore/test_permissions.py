"""Files 0600, folders 0700: of what is made, whatever the umask, and of what is there already."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ledgercore
from ledgercore.permissions import make_folder, open_private, tighten
from tests.support.histories import open_funded, open_small
from tests.support.making import many_rows, poll, roll_over


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes_of(home: Path) -> dict[str, int]:
    """The mode of each file and folder, the folder itself included."""
    paths = [home, *home.rglob("*")]
    return {str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def check_private(home: Path) -> dict[str, int]:
    modes = modes_of(home)
    for name, mode in modes.items():
        assert mode == (0o700 if (home / name).is_dir() else 0o600), f"{name}: {mode:o}"
    return modes


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o277, 0o777])
def test_what_is_made_is_its_owners_alone(tmp_path: Path, mask: int) -> None:
    home = tmp_path / "above" / "ledger"
    with umask(mask):
        with open_small(home, snapshot_every=1) as ledger:
            open_funded(ledger, ["alice"], 0)
            # Files come from the start, from the journal's thread, and from a process beside it.
            start = roll_over(ledger, home, 3)
            ledger.transfer_batch(many_rows(40_000, start=start))
            poll(lambda: any((home / "snapshots").glob("*.snapshot")), "a snapshot")
        ledgercore.compact(home)
        with open_small(home):
            pass
    names = check_private(home)
    assert {"lock", "seal", "journal/0000000003.segment"} < names.keys()
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700


def test_what_repair_keeps_is_its_owners_alone(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
    (path,) = (directory / "journal").iterdir()
    data = bytearray(path.read_bytes())
    data[4200] ^= 1
    path.write_bytes(data)
    with umask(0):
        ledgercore.repair(directory)
    assert any(".broken-" in name for name in check_private(directory))


def test_what_is_there_is_tightened_at_the_open_with_a_word(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
    ledgercore.compact(directory)
    paths = [directory, *directory.rglob("*")]
    (directory / "api-keys.json").write_text("{}")
    (directory / "api-keys.json").chmod(0o640)
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with caplog.at_level(logging.WARNING, "ledgercore"):
        open_small(directory).close()
    (record,) = caplog.records
    assert f"{directory}: " in record.getMessage() and f"{len(paths)} files" in record.getMessage()
    # What is not the ledger's own stays.
    assert modes_of(directory).pop("api-keys.json") == 0o640
    (directory / "api-keys.json").unlink()
    check_private(directory)
    caplog.clear()
    open_small(directory).close()
    assert not caplog.records


def test_nothing_is_loosened(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o400)
    (tmp_path / "folder").mkdir(0o500)
    assert tighten([tmp_path / "file", tmp_path / "folder", tmp_path / "gone"]) == (0, [])
    assert modes_of(tmp_path)["file"] == 0o400 and modes_of(tmp_path)["folder"] == 0o500


def test_a_folder_that_many_share_is_left_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with caplog.at_level(logging.WARNING, "ledgercore"):
        open_small(shared).close()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{shared}: ")


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o750)
    make_folder(tmp_path / "there" / "new")
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o750
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_only_what_is_made_gets_its_mode(tmp_path: Path) -> None:
    (tmp_path / "read").touch(0o644)
    os.close(open_private(tmp_path / "read", os.O_RDONLY))
    assert stat.S_IMODE((tmp_path / "read").stat().st_mode) == 0o644
