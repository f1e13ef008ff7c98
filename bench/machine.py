"""The machine of a measurement: its cores, its disk, and the processor time of a process.

This module owns where things run and where their files lie. It never measures.
"""

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def pick_cores() -> tuple[int, int]:
    """Return the core for what is measured and the one for its load; the same if there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


@contextmanager
def run_on(core: int) -> Iterator[None]:
    """Keep this thread, and the threads and processes that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def make_scratch() -> Iterator[Path]:
    """Yield an empty directory on the disk of the checkout, and remove it with all that is in it.

    The usual place for temporary files may be in memory, where a sync costs nothing.
    """
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as name:
        yield Path(name)


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds of processor: in code of the process, and in the system on its behalf."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s

    def __sub__(self, earlier: "CpuTimes") -> "CpuTimes":
        return CpuTimes(self.user_s - earlier.user_s, self.system_s - earlier.system_s)


def read_process_cpu(pid: int) -> float:
    """Return the seconds of processor that all threads of a process have had so far."""
    return read_cpu_times(pid).total_s


def read_cpu_times(pid: int) -> CpuTimes:
    """Return the same, the system's part apart."""
    return _read_times(Path(f"/proc/{pid}"))


def read_thread_times(pid: int) -> dict[int, CpuTimes]:
    """Return the times of each thread that a process has now, by its number."""
    return {int(task.name): _read_times(task) for task in Path(f"/proc/{pid}/task").iterdir()}


def _read_times(directory: Path) -> CpuTimes:
    # The name of the process, in brackets, may hold spaces; the numbers follow it.
    fields = (directory / "stat").read_text().rpartition(")")[2].split()
    return CpuTimes(int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S)


def describe_machine() -> str:
    """Return one line that says what the figures were measured on."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} cores of {_name_processor()}, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, {_name_filesystem(ROOT)} for the journal,"
        f" load average {load:.1f}"
    )


def _name_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _name_filesystem(path: Path) -> str:
    """Return the type of the file system that a path lies on."""
    found = "?"
    longest = -1
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if path.is_relative_to(mount) and len(mount) >= longest:
            found, longest = kind, len(mount)
    return found
