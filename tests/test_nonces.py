"""What is remembered of nonces: over time, kills, power cuts, full disks, and clocks set back."""

import errno
import logging
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service import nonce_file
from service.nonce_file import HEAD, NEVER, RECORD, RENEW_S, RESERVE_S
from service.nonces import RECORDS_SPARE, NonceMemory, NoncesFull

from .disks import Disk, LatePool
from .support import ROOT

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
    with closing(NonceMemory(path, count_max=WINDOW_S, clock=clock)) as nonces:
        for number in range(20 * WINDOW_S):
            clock.now_s = NOW_S + number
            assert nonces.remember("a", f"{number}", NOW_S + number - 1)
            most_bytes = max(most_bytes, sum(file.stat().st_size for file in path.parent.iterdir()))
    # Two generations, each as long as the window, and a reservation for every second nonce.
    assert most_bytes < 2 * (HEAD.size + RECORD.size * (1.5 * WINDOW_S + 10))
    assert {file.name for file in path.parent.iterdir()} == {"nonces", "nonces.previous"}


def test_a_file_is_bounded_where_it_cannot_be_turned(path: Path, clock: Clock) -> None:
    count_max, a_second = 200, 100
    with closing(NonceMemory(path, count_max=count_max, clock=clock)) as nonces:
        # One ahead keeps its generation alive, while others are late and forgotten at once.
        assert nonces.remember("a", "ahead", NOW_S + WINDOW_S)
        late = 0
        while path.stat().st_size < HEAD.size + RECORD.size * 2 * (count_max + RECORDS_SPARE):
            clock.now_s = NOW_S + late // a_second
            assert nonces.remember("a", f"{late}", int(clock.now_s) - WINDOW_S)
            late += 1
        with pytest.raises(NoncesFull, match="file"):
            nonces.remember("a", "one more", int(clock.now_s))
        assert path.stat().st_size <= HEAD.size + RECORD.size * 2 * (count_max + RECORDS_SPARE)
        clock.now_s = NOW_S + 2 * WINDOW_S + 1
        assert nonces.remember("a", "all is well", int(clock.now_s))


# -- kills and full disks --------------------------------------------------------------------

CHILD = """
import os, signal, sys
from pathlib import Path
from service.nonces import NonceMemory
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


# -- any sequence ----------------------------------------------------------------------------

SHORT_S = 4
CLIENTS, NONCES = st.sampled_from("ab"), st.sampled_from("xyz")


class AnySequence(RuleBasedStateMachine):
    """Whatever clock, disk and power do, nothing passes twice, and who is honest passes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "nonces"
        self.boot = self.folder / "boot_id"
        self.boots = 0
        self.clock = Clock(1000.0)
        self.passed: set[tuple[str, str, int]] = set()
        # What power cuts and damage have closed, and the latest moment of it all.
        self.closed_s = NEVER
        self.latest_s = 0
        self.fresh = 0
        self.disk = Disk()
        self.pool = LatePool()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(nonce_file, "os", self.disk)
        self.patch.setattr(nonce_file, "ThreadPoolExecutor", lambda *_: self.pool)
        logging.getLogger("ledgercore").disabled = True
        self.boot_anew()
        self.open()

    def boot_anew(self) -> None:
        self.boots += 1
        self.boot.write_text(f"00000000-0000-0000-0000-{self.boots:012x}\n")

    def open(self) -> None:
        self.memory = NonceMemory(
            self.path, window_s=SHORT_S, clock=self.clock, boot_id_path=self.boot
        )

    def kill(self) -> None:
        # What was not synced yet is still in the cache of the kernel.
        self.pool.futures.clear()
        self.disk.kill()

    @rule(client=CLIENTS, nonce=NONCES, lead_s=st.integers(-SHORT_S - 1, SHORT_S + 1))
    def remember(self, client: str, nonce: str, lead_s: int) -> None:
        second = math.floor(self.clock.now_s) + lead_s
        if self.memory.remember(client, nonce, second):
            assert abs(second - self.clock.now_s) <= SHORT_S
            assert (client, nonce, second) not in self.passed
            self.passed.add((client, nonce, second))

    @rule()
    def replay(self) -> None:
        assert not any(self.memory.remember(*request) for request in sorted(self.passed))

    @rule()
    def honest(self) -> None:
        """Tell that what is signed after all that was accepted passes; but see `closed_s`."""
        second = math.floor(self.clock.now_s)
        latest_s = max((second for _, _, second in self.passed), default=NEVER)
        if second > max(latest_s, self.closed_s):
            self.fresh += 1
            assert self.memory.remember("honest", f"{self.fresh}", second)
            self.passed.add(("honest", f"{self.fresh}", second))

    @rule(step_s=st.one_of(st.sampled_from([0.25, 0.5, 1, 2, 5, 10]), st.integers(-12, 12)))
    def tick(self, step_s: float) -> None:
        self.clock.now_s = max(100.0, self.clock.now_s + step_s)

    @rule()
    def finish_sync(self) -> None:
        self.pool.work()

    @rule()
    def restart(self) -> None:
        closed_s = self.memory.closed_s
        self.kill()
        self.open()
        assert self.memory.closed_s <= closed_s

    @rule(half=st.integers(1, RECORD.size - 1))
    def restart_with_half_a_record(self, half: int) -> None:
        self.kill()
        with self.path.open("ab") as file:
            file.write(b"x" * half)
        self.open()

    @rule(data=st.data())
    def cut_power(self, data: st.DataObject) -> None:
        latest_s = max((second for _, _, second in self.passed), default=0)
        self.kill()
        synced, size = self.disk.synced_bytes(self.path), self.path.stat().st_size
        os.truncate(self.path, data.draw(st.integers(synced, size), label="bytes left"))
        self.boot_anew()
        self.open()
        # Nothing is closed beyond what a reservation reaches.
        assert self.memory.closed_s <= max(latest_s, self.latest_s) + RESERVE_S
        self.closed_s = max(self.closed_s, self.memory.closed_s)

    @rule(place=st.floats(0, 0.999), is_cut=st.booleans())
    def damage(self, place: float, is_cut: bool) -> None:
        self.kill()
        data = bytearray(self.path.read_bytes())
        data[int(place * (len(data) - len(data) % RECORD.size))] ^= 0x40
        self.path.write_bytes(data)
        if is_cut:
            self.boot_anew()
        self.open()
        self.closed_s = max(self.closed_s, self.memory.closed_s)

    @invariant()
    def note_time(self) -> None:
        self.latest_s = max(self.latest_s, math.ceil(self.clock.now_s), self.closed_s)

    def teardown(self) -> None:
        self.kill()
        self.patch.undo()
        logging.getLogger("ledgercore").disabled = False
        shutil.rmtree(self.folder)


AnySequence.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_any_sequence = AnySequence.TestCase


def test_limits_are_positive() -> None:
    for arguments in ({"window_s": 0}, {"count_max": 0}):
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
