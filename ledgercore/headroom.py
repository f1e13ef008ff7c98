"""How much memory is left for a helper process that replays the journal.

Such a process has the same tables as the engine. Where it is started without that memory being
left, the kernel ends some process for it, and maybe the one that has the ledger open; so it is
looked for before. This module reads what the system tells, and starts and ends nothing.
"""

import errno
from pathlib import Path

HELPER_SHARE = 1.5
"""What a helper takes at most, of what this process has: its tables, and for a snapshot the keys
once more."""
PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def check_helper_fits() -> None:
    """Raise OSError (ENOMEM) where a helper may not find its memory. An unknown rest is enough."""
    wanted, left = int(find_own_bytes() * HELPER_SHARE), find_bytes_left()
    if left is not None and wanted > left:
        told = f"it may take {wanted >> 20} MiB of memory, and {left >> 20} MiB are left"
        raise OSError(errno.ENOMEM, told)


def find_own_bytes() -> int:
    """Return how much memory this process has of its own, without what it maps of files."""
    return _read_amounts(PROC / "self" / "status").get("RssAnon", 0)


def find_bytes_left() -> int | None:
    """Return how much memory a new process may take; None where nothing is told.

    The least that is left of the machine, and of each control group (version 2) of this process.
    """
    left = [_read_amounts(PROC / "meminfo").get("MemAvailable")]
    for line in _read_lines(PROC / "self" / "cgroup"):
        if line.startswith("0::/"):
            group = GROUPS / line.removeprefix("0::/")
            while group.is_relative_to(GROUPS):
                left.append(_find_left_in(group))
                group = group.parent
    told = [count for count in left if count is not None]
    return min(told, default=None)


def _find_left_in(group: Path) -> int | None:
    """Return what a control group leaves; what it holds of files can be had back. None: any."""
    limit, used, stat = (
        _read_lines(group / name) for name in ("memory.max", "memory.current", "memory.stat")
    )
    if not limit or not used or not limit[0].isdigit():
        return None
    files = next((int(line.split()[1]) for line in stat if line.startswith("file ")), 0)
    return max(0, int(limit[0]) - max(0, int(used[0]) - files))


def _read_amounts(path: Path) -> dict[str, int]:
    """Return what a file of the system tells in lines such as `MemAvailable: 1 kB`, in bytes."""
    amounts = {}
    for line in _read_lines(path):
        name, _, text = line.partition(":")
        words = text.split()
        if len(words) == 2 and words[1] == "kB":
            amounts[name] = int(words[0]) * 1024
    return amounts


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
