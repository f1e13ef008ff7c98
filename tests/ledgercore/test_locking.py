"""Who holds a directory: one process, also where the lock file is removed or an older one asks."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ledgercore
from ledgercore.locking import DirectoryLock
from tests.support.histories import open_funded, open_small

HOLDER = """
import sys, ledgercore
from ledgercore.directory import DataDirectory
DataDirectory(sys.argv[1]).hold(create=False)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A closed ledger."""
    with open_small(tmp_path / "ledger") as ledger:
        open_funded(ledger, ["alice"], 5)
    return tmp_path / "ledger"


@contextmanager
def held_by_an_older_program(home: Path) -> Iterator[None]:
    """Hold what programs of before hold: the file alone."""
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held_elsewhere(home: Path) -> Iterator[int]:
    """Let another process hold a directory; yields its process id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid


def is_free(home: Path) -> bool:
    lock = DirectoryLock(home)
    try:
        lock.acquire(writes=True)
    except ledgercore.DirectoryLocked:
        return False
    lock.release()
    return True


def test_removing_the_lock_file_lets_nobody_in(home: Path) -> None:
    with open_small(home) as ledger:
        for _ in range(2):
            (home / "lock").unlink(missing_ok=True)
            with pytest.raises(ledgercore.DirectoryLocked, match=str(home)):
                open_small(home)
        ledger.transfer("world", "alice", 1, key="k")
    with held_elsewhere(home):
        (home / "lock").unlink()
        for work in (open_small, ledgercore.verify, ledgercore.repair, ledgercore.compact):
            with pytest.raises(ledgercore.DirectoryLocked):
                work(home)
    open_small(home).close()


def test_another_name_of_the_directory_is_the_same_directory(home: Path) -> None:
    (home.parent / "other").symlink_to(home)
    with open_small(home):
        moved = home.rename(home.with_name("moved"))
        for name in (moved, home.parent / "moved" / "." / "journal" / ".."):
            with pytest.raises(ledgercore.DirectoryLocked):
                open_small(name)
        moved.rename(home)
        with pytest.raises(ledgercore.DirectoryLocked):
            open_small(home.parent / "other")


def test_the_lock_of_an_older_program_is_honoured_and_the_other_way_round(home: Path) -> None:
    with held_by_an_older_program(home):
        with pytest.raises(ledgercore.DirectoryLocked):
            open_small(home)
        # A try that failed holds nothing, also not the directory.
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    with open_small(home), pytest.raises(BlockingIOError), held_by_an_older_program(home):
        pass
    with held_by_an_older_program(home):
        pass


def test_who_holds_it_is_told(home: Path) -> None:
    with (
        held_elsewhere(home) as pid,
        pytest.raises(ledgercore.DirectoryLocked, match=rf"\(pid {pid}\)"),
    ):
        open_small(home)
    assert is_free(home)
    with held_elsewhere(home) as pid:
        (home / "lock").unlink()
        with pytest.raises(ledgercore.DirectoryLocked, match=rf"\(pid {pid}\)"):
            open_small(home)


def test_letting_go_is_said_and_not_left_to_a_child(home: Path) -> None:
    """A child that was forked meanwhile shares the descriptors; it may live for long."""
    lock = DirectoryLock(home)
    lock.acquire(writes=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    assert not is_free(home)
    lock.release()
    assert is_free(home)
    os.close(writing)
    os.waitpid(child, 0)


def test_a_child_that_lets_go_leaves_the_lock_to_its_parent(home: Path) -> None:
    lock = DirectoryLock(home)
    lock.acquire(writes=True)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_free(home)
    lock.release()
    assert is_free(home)


def test_where_directories_cannot_be_locked_the_file_is_enough(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is on NFS, where only what is open for writing can be locked."""
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(9, "Bad file descriptor")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = DirectoryLock(home)
    lock.acquire(writes=True)
    with pytest.raises(ledgercore.DirectoryLocked):
        DirectoryLock(home).acquire(writes=True)
    lock.release()
    assert is_free(home)
