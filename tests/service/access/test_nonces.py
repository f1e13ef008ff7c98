"""What is remembered of nonces: over time, kills, power cuts, full disks, and clocks set back."""

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.access import nonce_file
from ledgercore.service.access.nonce_file import RENEW_S, RESERVE_S
from ledgercore.service.access.nonce_records import NEVER, RECORD, RECORDS_OFFSET
from ledgercore.service.access.nonces import RECORDS_SPARE, SHARE, NonceMemory, NoncesFull
from tests.support.disks import Disk
from tests.support.servers import ROOT

WINDOW_S = 300
NOW_S = 1_700_000_000


class Clock:
    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nonces"


@pytest.fixture(params=["file", "memory"])
def nonces(request: pytest.FixtureRequest, path: Path, clock: Clock) -> Iterator[NonceMemory]:
    with closing(NonceMemory(path if request.param == "file" else None, clock=clock)) as memory:
        yield memory


def test_a_nonce_passes_once(nonces: NonceMemory) -> None:
    assert nonces.remember("alice", "n", NOW_S)
    assert not nonces.remember("alice", "n", NOW_S)
    assert not nonces.remember("alice", "n", NOW_S + 1)
    assert nonces.remember("bob", "n", NOW_S)
    assert nonces.remember("alice", "m", NOW_S)
    assert len(nonces) == 3


def test_client_and_nonce_are_kept_apart(nonces: NonceMemory) -> None:
    assert nonces.remember("a", "bc", NOW_S)
    assert nonces.remember("ab", "c", NOW_S)
    assert nonces.remember("1", "1:a", NOW_S)
    assert nonces.remember("11", ":a", NOW_S)


@pytest.mark.parametrize("lead_s", [-WINDOW_S, WINDOW_S])
def test_a_nonce_is_known_as_long_as_its_signature_is_good(
    nonces: NonceMemory, clock: Clock, lead_s: int
) -> None:
    second = NOW_S + lead_s
    assert not nonces.remember("a", "n", second + (1 if lead_s > 0 else -1))
    assert nonces.remember("a", "n", second)
    clock.now_s = second + WINDOW_S
    assert not nonces.remember("a", "n", second)
    assert len(nonces) == 1
    clock.now_s += 0.001
    assert not nonces.remember("a", "n", second)
    assert len(nonces) == 0 and nonces.closed_s == second


def test_a_clock_that_is_set_back_opens_nothing(nonces: NonceMemory, clock: Clock) -> None:
    assert nonces.remember("a", "n", NOW_S)
    clock.now_s = NOW_S + 100 * WINDOW_S
    assert nonces.remember("a", "later", NOW_S + 100 * WINDOW_S)
    clock.now_s = NOW_S
    assert not nonces.remember("a", "n", NOW_S)
    assert not nonces.remember("a", "another", NOW_S)
    # Only what was forgotten is closed, so who signs from now on passes.
    assert nonces.closed_s == NOW_S
    assert nonces.remember("a", "another", NOW_S + 1)


def test_a_nonce_that_the_file_has_twice_is_known_by_its_later_second(
    path: Path, clock: Clock
) -> None:
    with closing(NonceMemory(path, clock=clock)) as nonces:
        assert nonces.remember("a", "n", NOW_S - WINDOW_S)
        clock.now_s += 1
        assert nonces.remember("a", "n", NOW_S)
    with closing(NonceMemory(path, clock=clock)) as nonces:
        assert not nonces.remember("a", "n", NOW_S)


@pytest.mark.parametrize("has_file", [True, False])
def test_a_full_memory_forgets_nothing_early(path: Path, clock: Clock, has_file: bool) -> None:
    with closing(NonceMemory(path if has_file else None, count_max=3, clock=clock)) as nonces:
        for number in range(3):
            assert nonces.remember("a", f"{number}", NOW_S + number)
        with pytest.raises(NoncesFull):
            nonces.remember("a", "one more", NOW_S)
        assert not nonces.remember("a", "0", NOW_S)
        clock.now_s = NOW_S + WINDOW_S
        with pytest.raises(NoncesFull):
            nonces.remember("a", "one more", int(clock.now_s))
        clock.now_s += 1
        assert nonces.remember("a", "one more", int(clock.now_s))
        assert len(nonces) == 3


def test_the_files_stay_bounded(path: Path, clock: Clock) -> None:
    most_bytes = 0
    with closing(NonceMemory(path, count_max=2 * WINDOW_S, clock=clock)) as nonces:
        for number in range(20 * WINDOW_S):
            clock.now_s = NOW_S + number
            assert nonces.remember("a", f"{number}", NOW_S + number - 1)
            most_bytes = max(most_bytes, sum(file.stat().st_size for file in path.parent.iterdir()))
    # Two generations, each as long as the window, and a reservation for every second nonce.
    assert most_bytes < 2 * (RECORDS_OFFSET + RECORD.size * (1.5 * WINDOW_S + 10))
    assert {file.name for file in path.parent.iterdir()} == {"nonces", "nonces.previous"}


def test_a_file_is_bounded_where_it_cannot_be_turned(path: Path, clock: Clock) -> None:
    count_max, a_second = 200, 100
    bytes_max = RECORDS_OFFSET + RECORD.size * 2 * (count_max + RECORDS_SPARE)

    def fill(nonces: NonceMemory, client: str) -> int:
        """Send what is late, and forgotten at once, until it is refused; return how much it was."""
        for number in count():
            clock.now_s += number % a_second == 0
            try:
                assert nonces.remember(client, f"{number}", int(clock.now_s) - WINDOW_S)
            except NoncesFull:
                return number
        raise AssertionError("it never ends")

    with closing(NonceMemory(path, count_max=count_max, clock=clock)) as nonces:
        # One ahead keeps its generation alive.
        assert nonces.remember("a", "ahead", NOW_S + WINDOW_S)
        flood = fill(nonces, "a")
        assert flood > 2 * RECORDS_SPARE * 0.7
        # Nobody else is refused for that.
        others = [fill(nonces, f"b-{number}") for number in range(3)]
        assert flood > others[0] > others[1] > others[2] > 10
        assert path.stat().st_size <= bytes_max
        assert nonces.remember("c", "one", int(clock.now_s))
        clock.now_s = NOW_S + 2 * WINDOW_S + 1
        assert nonces.remember("a", "all is well", int(clock.now_s))


@pytest.mark.parametrize("has_file", [True, False])
def test_one_client_does_not_use_up_the_memory_of_all(
    path: Path, clock: Clock, has_file: bool
) -> None:
    count_max = 1000

    fresh = count()

    def fill(nonces: NonceMemory, client: str) -> int:
        """Send until it is refused; return how much it was."""
        for number in count():
            try:
                assert nonces.remember(client, f"{next(fresh)}", int(clock.now_s))
            except NoncesFull:
                return number
        raise AssertionError("it never ends")

    place = path if has_file else None
    with closing(NonceMemory(place, count_max=count_max, clock=clock)) as nonces:
        assert fill(nonces, "flood") == count_max * SHARE // (1 + SHARE)
        assert fill(nonces, "flood") == 0
        assert nonces.remember("honest", "n", NOW_S)
        assert fill(nonces, "second") > count_max // 10
        assert nonces.remember("honest", "m", NOW_S)
    if has_file:
        # A restart knows whose they are.
        nonces = NonceMemory(place, count_max=count_max, clock=clock)
        with closing(nonces):
            assert fill(nonces, "flood") == 0
            assert nonces.remember("honest", "o", NOW_S)
            # Of two who want all of it, each has the same in the end.
            for _ in range(20):
                clock.now_s += WINDOW_S / 4
                taken = [fill(nonces, "flood") + fill(nonces, "second") for _ in range(2)]
                assert len(nonces) <= count_max and sum(taken) < count_max
            assert nonces.remember("honest", "p", int(clock.now_s))


# -- kills and full disks --------------------------------------------------------------------

CHILD = """
import os, signal, sys
from pathlib import Path
from ledgercore.service.access.nonces import NonceMemory
memory = NonceMemory(Path(sys.argv[1]), clock=lambda: float(sys.argv[2]))
if memory.remember("alice", "captured", int(sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_captured_request_is_refused_after_a_kill(path: Path, clock: Clock) -> None:
    command = [sys.executable, "-c", CHILD, str(path), str(NOW_S)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    clock.now_s += 1
    with closing(NonceMemory(path, clock=clock)) as nonces:
        assert not nonces.remember("alice", "captured", NOW_S)
        # Nothing was closed for it: an honest client, even a late one, passes.
        assert nonces.closed_s == NEVER
        assert nonces.remember("alice", "fresh", NOW_S - WINDOW_S + 1)
    # And the child, once more, refuses too.
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def limit_file(bytes_max: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))


def test_a_full_disk_refuses_and_loses_nothing(path: Path, clock: Clock) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(NonceMemory(path, clock=clock)) as nonces:
        assert nonces.remember("a", "before", NOW_S)
        size = path.stat().st_size
        try:
            # Room for half a record, so that the write is a short one.
            for room in (0, RECORD.size // 2):
                limit_file(size + room)
                for _ in range(3):
                    with pytest.raises(OSError, match=r"File too large|No space"):
                        nonces.remember("a", "full", NOW_S)
                assert path.stat().st_size == size and len(nonces) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not nonces.remember("a", "before", NOW_S)
        assert nonces.remember("a", "full", NOW_S)
    with closing(NonceMemory(path, clock=clock)) as nonces:
        assert len(nonces) == 2 and nonces.closed_s == NEVER
        assert not nonces.remember("a", "full", NOW_S)


def test_limits_are_positive() -> None:
    wrong: list[dict[str, Any]] = [{"window_s": 0}, {"count_max": 0}]
    for arguments in wrong:
        with pytest.raises(ValueError, match="at least one"):
            NonceMemory(None, **arguments)


def test_a_failed_sync_ends_it(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    monkeypatch.setattr(nonce_file, "os", disk)
    with closing(NonceMemory(path, clock=clock)) as nonces:
        assert nonces.remember("a", "n", NOW_S)
        disk.failures["fdatasync"] = OSError(errno.EIO, "I/O error")
        clock.now_s += RESERVE_S + RENEW_S
        with pytest.raises(OSError, match="I/O error"):
            nonces.remember("a", "m", int(clock.now_s))
        disk.failures.clear()
        # The disk may say that all is well now; what it lost it would not tell.
        with pytest.raises(OSError, match="an earlier write has failed"):
            nonces.remember("a", "m", int(clock.now_s))
