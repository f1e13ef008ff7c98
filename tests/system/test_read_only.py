"""Looking at a copy that cannot be written to: on a disk that is read-only, or as somebody else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledgercore
from ledgercore.locking import DirectoryLock
from tests.ledgercore.test_faults import mounted, needs_root
from tests.support.damage import directory_in_memory, read_files
from tests.support.histories import open_funded, open_small

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
PROGRAM = """
import os, sys, click._termui_impl, tempfile
from ledgercore.service.cli.serve import main
user = int(sys.argv.pop(1))
if user:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
main()
"""


@pytest.fixture
def copy() -> Iterator[Path]:
    """A closed ledger with a snapshot, which everybody may read and nobody write."""
    with directory_in_memory() as home:
        home.parent.chmod(0o755)
        with open_small(home) as ledger:
            open_funded(ledger, ["alice"], 5)
        ledgercore.compact(home)
        for path in [home, *home.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield home


def run_admin(home: Path, command: str, user: int | None) -> "subprocess.CompletedProcess[str]":
    """Run `ledgercore admin` as somebody, who may be shut out of where Python itself lies."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(user or 0), "admin", command, str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("has_lock", [True, False])
def test_somebody_else_may_look(copy: Path, has_lock: bool) -> None:
    if not has_lock:
        (copy / "lock").unlink()
    before = read_files(copy)
    # Root may write everywhere, so it takes somebody else to see what is not allowed.
    user = NOBODY if os.geteuid() == 0 else None
    verified = run_admin(copy, "verify", user)
    assert (verified.returncode, verified.stdout.splitlines()[-1:]) == (0, ["ok"]), verified.stderr
    inspected = run_admin(copy, "inspect", user)
    assert inspected.returncode == 0 and "snapshots: 1" in inspected.stdout, inspected.stderr
    assert read_files(copy) == before and (copy / "lock").exists() is has_lock


def test_who_may_not_even_read_is_told_so(copy: Path) -> None:
    user = NOBODY if os.geteuid() == 0 else None
    for path in (copy / "journal" / "0000000001.segment", copy / "snapshots", copy / "journal"):
        path.chmod(0)
        for command in ("verify", "inspect"):
            done = run_admin(copy, command, user)
            assert (done.returncode, done.stderr) == (1, f"Error: {path}: Permission denied\n")
        path.chmod(0o755)


def test_a_reader_keeps_a_writer_out_also_without_the_file(copy: Path) -> None:
    (copy / "lock").unlink()
    lock = DirectoryLock(copy)
    lock.acquire(writes=False)
    with pytest.raises(ledgercore.DirectoryLocked):
        open_small(copy)
    lock.release()


@needs_root
def test_a_read_only_disk_may_be_looked_at(copy: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(mount)):
        for has_lock in (True, False):
            home = Path(shutil.copytree(copy, mount / f"ledger-{has_lock}"))
            if not has_lock:
                (home / "lock").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        for home in mount.iterdir():
            assert ledgercore.verify(home).violations == ()
            assert ledgercore.inspect(home).snapshots[0]["valid"]
            assert len(list(ledgercore.read_journal(home))) == 3
            for work in (ledgercore.repair, ledgercore.compact, ledgercore.open):
                with pytest.raises(ledgercore.DirectoryUnusable, match="Read-only file system"):
                    work(home)
