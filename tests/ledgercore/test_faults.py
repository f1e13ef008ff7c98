"""Failing disks, full disks, killed processes and power cuts, with a real process as the victim.

The victim (`python -m tests.support.histories`) tells each acknowledged key as it gets it. Whatever
is done to it, all that it told must be there afterwards, exactly once. Killing a process never
shows that a sync is missing, for the page cache outlives it; so the power cut shuts a file system
down under it, and a control without any sync proves that the cut loses what was not synced.
"""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ledgercore
from ledgercore import Status
from tests.support.histories import PADDING_ROWS, open_small

ROOT = Path(__file__).resolve().parents[2]
TRANSFERS = 40
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
FAILURES = ("EngineFailed", "OutcomeUnknown", "DirectoryUnusable")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="injecting faults needs strace"
)
needs_loop = pytest.mark.skipif(
    not Path("/dev/loop-control").exists() or shutil.which("mkfs.ext4") is None,
    reason="a power cut needs loop devices and mkfs.ext4",
)


def victim(
    directory: Path, *wrapper: str, count: int = TRANSFERS, padding: int = PADDING_ROWS
) -> list[str]:
    """The command line of the victim, behind `wrapper`."""
    script = ["-m", "tests.support.histories", str(directory), str(count), str(padding)]
    return [*wrapper, sys.executable, *script]


def strace(rule: str, log: Path) -> list[str]:
    """The wrapper that makes the n-th call of a thread fail as `rule` says."""
    calls = rule.split(":")[0]
    return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={rule}"]


def run_victim(
    directory: Path, *wrapper: str, padding: int = PADDING_ROWS
) -> subprocess.CompletedProcess[str]:
    command = victim(directory, *wrapper, padding=padding)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def acknowledged(output: str) -> dict[str, int]:
    """What the victim told: each key with the id of its transfer."""
    # A line without its end was cut while it was being told.
    lines = [line.split() for line in output.rpartition("\n")[0].splitlines()]
    return {line[0]: int(line[1]) for line in lines if line[0].startswith("key-")}


def check_survivors(directory: Path, told: dict[str, int]) -> None:
    """All that was told is there exactly once, and nothing is half there."""
    with open_small(directory) as ledger:
        for key, id in told.items():
            state = ledger.find_key(key)
            assert state.state == "applied", f"{key} was acknowledged, and is {state.state}"
            assert state.transfer is not None and state.transfer.id == id
        # What was on its way may be there or not, but nothing may be behind it.
        last = max((int(key.removeprefix("key-")) for key in told), default=-1)
        states = [ledger.find_key(f"key-{number}").state for number in range(last + 3)]
        kept = states.count("applied")
        assert states == ["applied"] * kept + ["unseen"] * (len(states) - kept)
        assert len(told) <= kept <= len(told) + 1
        assert ledger.audit().ok
        if kept:
            assert ledger.balance("alice") == kept * (kept + 1) // 2
            again = ledger.transfer("world", "alice", 1, key="after")
            assert again.status is Status.APPLIED
    with open_small(directory) as ledger:
        assert ledger.find_key("after").state == ("applied" if kept else "unseen")
        assert ledger.audit().ok


ERRORS = [
    "fdatasync:error=EIO",
    "fsync:error=EIO",
    "pwrite64:error=ENOSPC",
    "pwrite64:error=EIO",
    "ftruncate:error=ENOSPC",
    "rename:error=EIO",
]
KILLS = ["fdatasync", "fsync", "pwrite64", "rename"]


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_a_failing_call_stops_the_engine_for_good(error: str, tmp_path: Path) -> None:
    failures = 0
    for number in [1, 2, 3, 4, 5, 7, 10]:
        directory = tmp_path / f"ledger-{number}"
        result = run_victim(directory, *strace(f"{error}:when={number}", tmp_path / "trace"))
        told = acknowledged(result.stdout)
        if "INJECTED" not in (tmp_path / "trace").read_text():
            assert result.returncode == 0 and len(told) == TRANSFERS, result.stderr
            continue
        if result.returncode == 0:
            # Whoever goes on after a failed call must not have needed it.
            assert len(told) == TRANSFERS and not result.stderr
        else:
            failures += 1
            assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
            assert result.stderr.split(":")[0] in FAILURES
            assert "acknowledged after the failure" not in result.stdout
        check_survivors(directory, told)
    if error.startswith(("fdatasync", "pwrite64")):
        assert failures >= 5, f"{failures} of the injected failures stopped the engine"


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("call", KILLS)
def test_a_kill_at_any_call_loses_nothing(call: str, tmp_path: Path) -> None:
    kills = 0
    for number in [1, 2, 3, 4, 5, 6, 8, 11, 15]:
        directory = tmp_path / f"ledger-{number}"
        rule = f"{call}:signal=KILL:when={number}"
        result = run_victim(directory, *strace(rule, tmp_path / "trace"))
        kills += result.returncode == -signal.SIGKILL
        assert result.returncode in (0, -signal.SIGKILL), result.stderr
        check_survivors(directory, acknowledged(result.stdout))
    if call in ("fdatasync", "pwrite64"):
        assert kills >= 5, f"{kills} kills hit the victim"


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """A mounted file system, for as long as it takes."""
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
    try:
        yield
    finally:
        # Lazily: a failing test may still hold a file, and must not leave its mount behind.
        subprocess.run(["umount", "--lazy", arguments[-1]], check=True, capture_output=True)


@needs_root
@pytest.mark.parametrize("kilobytes", [4, 100, 4100, 4200, 8000, 8400, 9000, 12500, 13000])
def test_a_full_disk_stops_the_engine_and_keeps_what_it_told(
    kilobytes: int, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    with mounted("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(mount)):
        command = victim(mount / "ledger", count=200)
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.split(":")[0] in FAILURES
        told = acknowledged(result.stdout)
        assert "acknowledged after the failure" not in result.stdout
        subprocess.run(["mount", "-o", "remount,size=64m", str(mount)], check=True)
        check_survivors(mount / "ledger", told)


@needs_root
def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(mount)):
        open_small(mount / "ledger").close()
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        for directory in (mount / "ledger", mount / "new"):
            with pytest.raises(ledgercore.DirectoryUnusable, match=str(directory)):
                open_small(directory)


class PowerSwitch:
    """An ext4 file system of its own on a loop device, and the switch that cuts its power."""

    def __init__(self, home: Path) -> None:
        self.image, self.mount = home / "disk.img", home / "disk"
        self.mount.mkdir()
        with self.image.open("wb") as image:
            image.truncate(48 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)

    def on(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount)], check=True)

    def off(self) -> None:
        subprocess.run(["umount", str(self.mount)], check=True)

    def cut(self, process: subprocess.Popen[str], *, stop: bool = True) -> str:
        """Cut the power under a process; returns what it had told by then.

        It is stopped first: a sync that is under way when the file system goes down reports
        success now and then, which no power cut does.
        """
        if stop:
            stop_all(process.pid)
        place = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(place, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(place)
        # All of the group, for a victim that outlives its strace would keep the pipe open.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        wait_gone(process.pid)
        self.off()
        self.on()
        return output


def group(leader: int) -> list[int]:
    """The processes of a session: the victim alone, or strace and its victim."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader:
            found.append(int(entry.parent.name))
    return found


def wait_gone(leader: int) -> None:
    """Wait until nothing of a killed process group is left that could hold a file open."""
    while any(state_of(pid) not in ("Z", "gone") for pid in group(leader)):
        os.sched_yield()


def state_of(pid: int, task: int | None = None) -> str:
    try:
        stat = Path(f"/proc/{pid}/task/{task or pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return stat.rsplit(")", 1)[1].split()[0]


def stop_all(leader: int) -> None:
    """Stop a process group and watch until every thread of it stands still."""
    os.killpg(leader, signal.SIGSTOP)
    for pid in group(leader):
        for task in Path(f"/proc/{pid}/task").iterdir():
            while state_of(pid, int(task.name)) not in ("T", "t", "Z", "gone"):
                os.sched_yield()


@pytest.fixture
def power(tmp_path: Path) -> Iterator[PowerSwitch]:
    switch = PowerSwitch(tmp_path)
    switch.on()
    try:
        yield switch
    finally:
        # Lazily: a failing test may still hold a file, and must not leave its mount behind.
        subprocess.run(["umount", "--lazy", str(switch.mount)], check=True)


def start(command: list[str], lines: int) -> tuple[subprocess.Popen[str], str]:
    """Start a victim, and return once it has told some lines."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, "".join(process.stdout.readline() for _ in range(lines))


PLAIN_WRITER = """
import sys
with open(sys.argv[1], "wb", buffering=0) as file:
    for number in range(10**6):
        file.write(b"%d\\n" % number)
        print(number, flush=True)
"""


@needs_root
@needs_loop
def test_the_power_cut_loses_what_was_not_synced(power: PowerSwitch) -> None:
    """The control: a harness in which everything survives would prove nothing."""
    path = power.mount / "plain"
    process, told = start([sys.executable, "-c", PLAIN_WRITER, str(path)], 1000)
    told += power.cut(process)
    kept = path.read_bytes().count(b"\n") if path.exists() else 0
    assert kept < len(told.splitlines())


@needs_root
@needs_loop
@needs_strace
def test_the_power_cut_catches_an_engine_that_does_not_sync(power: PowerSwitch) -> None:
    """The control with the engine itself: strace turns each of its syncs into nothing."""
    wrapper = strace("fdatasync,fsync,sync_file_range:retval=0", power.mount.parent / "trace")
    directory = power.mount / "ledger"
    process, told = start(victim(directory, *wrapper, count=120), 50)
    # Nothing of it is synced, so no sync can be under way; and a stopped strace would hang.
    told += power.cut(process, stop=False)
    with pytest.raises((AssertionError, ledgercore.LedgerError)):
        check_survivors(directory, acknowledged(told))


@needs_root
@needs_loop
@pytest.mark.slow
def test_a_power_cut_loses_nothing_that_was_told(power: PowerSwitch) -> None:
    for round in range(10):
        directory = power.mount / f"ledger-{round}"
        process, told = start(victim(directory, count=120), 1 + 9 * round)
        told += power.cut(process)
        keys = acknowledged(told)
        assert len(keys) >= 9 * round
        check_survivors(directory, keys)
        shutil.rmtree(directory)


@needs_root
@needs_loop
@needs_strace
@pytest.mark.slow
def test_what_a_restart_tells_survives_a_power_cut(power: PowerSwitch) -> None:
    """A killed process leaves records in the page cache.

    A restart that answers from them without syncing them first tells what the next power cut
    takes away.
    """
    for number in [5, 8, 11]:
        directory = power.mount / f"ledger-{number}"
        rule = f"fdatasync:signal=KILL:when={number}"
        wrapper = strace(rule, power.mount.parent / "trace")
        killed = run_victim(directory, *wrapper, padding=0)
        assert killed.returncode == -signal.SIGKILL
        told_before = acknowledged(killed.stdout)
        # One more was written but not synced. The restart answers all from the journal, and has
        # nothing to write that would sync what it answers from.
        count = len(told_before) + 1
        process, told = start(victim(directory, count=count, padding=0), 1 + count)
        assert told.endswith(" 1\n"), "the last one was no replay"
        told += power.cut(process)
        keys = acknowledged(told)
        assert told_before.items() <= keys.items() and len(keys) == count
        check_survivors(directory, keys)


def test_the_victim_lives_when_nothing_is_done_to_it(tmp_path: Path) -> None:
    result = run_victim(tmp_path / "ledger")
    assert result.returncode == 0 and not result.stderr
    told = acknowledged(result.stdout)
    assert len(told) == TRANSFERS and result.stdout.endswith("closed\n")
    check_survivors(tmp_path / "ledger", told)
