"""The memory that is left for a helper: how it is read, and what is said where it is too little."""

import errno
import logging
import re
from pathlib import Path

import pytest

import ledgercore
from ledgercore import headroom
from tests.support.histories import fill_segment, open_funded, open_small
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system of files of the test's own: 1000 MiB are left of it, and this process has 100."""
    for name in ("PROC", "GROUPS"):
        folder = tmp_path / name.lower()
        (folder / "self").mkdir(parents=True)
        monkeypatch.setattr(headroom, name, folder)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal:  9 kB\nMemAvailable:   {1000 * 1024} kB\nHugePages_Total:  7\n"
    )
    (tmp_path / "proc/self/status").write_text(f"Name:\tpython\nRssAnon:\t{100 * 1024} kB\n")
    return tmp_path


def limit_group(
    system: Path, place: str, limit: str, used_mib: int = 0, files_mib: int = 0
) -> None:
    folder = system / "groups" / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used_mib * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 1\nfile {files_mib * MIB}\nfile_mapped 2\n")


def test_what_is_left_is_the_least_of_all_limits(system: Path) -> None:
    assert headroom.find_own_bytes() == 100 * MIB
    assert headroom.find_bytes_left() == 1000 * MIB
    (system / "proc/self/cgroup").write_text("1:name=x:/other\n0::/a/b\n")
    assert headroom.find_bytes_left() == 1000 * MIB
    limit_group(system, "a/b", "max", 5)
    assert headroom.find_bytes_left() == 1000 * MIB
    # That of a group above counts as well, and what it keeps of files can be had back.
    limit_group(system, "a", str(500 * MIB), 400, 300)
    assert headroom.find_bytes_left() == 400 * MIB
    limit_group(system, "a/b", str(100 * MIB), 120, 10)
    assert headroom.find_bytes_left() == 0


def test_a_helper_that_does_not_fit_is_refused_with_the_figures(system: Path) -> None:
    headroom.check_helper_fits()
    (system / "proc/meminfo").write_text(f"MemAvailable: {149 * 1024} kB\n")
    with pytest.raises(OSError, match="150 MiB of memory, and 149 MiB are left") as caught:
        headroom.check_helper_fits()
    assert caught.value.errno == errno.ENOMEM
    (system / "proc/meminfo").write_text(f"MemAvailable: {150 * 1024} kB\n")
    headroom.check_helper_fits()


def test_where_nothing_is_told_it_is_tried(system: Path) -> None:
    (system / "proc/meminfo").unlink()
    (system / "proc/self/status").unlink()
    assert headroom.find_bytes_left() is None
    headroom.check_helper_fits()


def test_this_system_tells_it() -> None:
    left = headroom.find_bytes_left()
    assert left is not None and left > 0 and headroom.find_own_bytes() > MIB


def test_an_audit_without_the_memory_is_of_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_small(tmp_path / "ledger") as ledger:
        open_funded(ledger, ["a"], 100)
        monkeypatch.setattr(headroom, "find_bytes_left", lambda: 0)
        audit = ledger.audit(journal=True)
        assert audit.ok and not audit.journal_checked
        assert re.search("MiB of memory, and 0 MiB are left", audit.journal_reason or "")
        monkeypatch.undo()
        assert ledger.audit(journal=True).journal_checked


def test_a_snapshot_without_the_memory_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "ledger"
    monkeypatch.setattr(headroom, "find_bytes_left", lambda: 0)
    with caplog.at_level(logging.WARNING), open_small(directory, snapshot_every=1) as ledger:
        fill_segment(ledger, directory, "a")
        fill_segment(ledger, directory, "b")
        wait_until(lambda: "0 MiB are left" in caplog.text, "the word of it")
        assert "no snapshot" in caplog.text
        assert ledger.transfer("a", "b", 1, key="k").status is ledgercore.Status.SOURCE_NOT_FOUND
    assert not list(directory.rglob("*.snapshot"))
