"""perf on a server under load: every thread's stacks, the system's part of them included.

This module owns how perf is started, what its text looks like, and what its refusal is called. What
a stack means is told by classes.py.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..machine import run_on

RATE_HZ = 999
"""Not a round number, or what happens a thousand times a second would be seen always or never."""
GRACE_S = 60.0

FRAME = re.compile(r"\s*[0-9a-f]+ (?P<symbol>.*) \((?P<file>.*)\)")
HEAD = re.compile(r".*?(?P<thread>\d+)\s*")


class PerfRefused(Exception):
    """perf saw nothing; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A function on a stack, and the file that it is in; the system's is `[kernel.kallsyms]`."""

    symbol: str
    file: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What a thread was at: its frames from the inside out."""

    thread: int
    frames: tuple[Frame, ...]


def record(core: int, pid: int, seconds: float, scratch: Path) -> list[Sample]:
    """Sample all threads of a process, from another core. Raises PerfRefused."""
    data = scratch / "perf.data"
    flags = ("-g", "-F", str(RATE_HZ), "-p", str(pid), "-o", str(data))
    _run(core, ("perf", "record", *flags, "--", "sleep", str(seconds)), seconds)
    # A line of each sample, one for each frame, and an empty one.
    told = _run(core, ("perf", "script", "-i", str(data), "-F", "comm,tid,ip,sym,dso"), seconds)
    samples = list(read_samples(told))
    if not samples:
        raise PerfRefused("No profile: perf took no samples.")
    return samples


def _run(core: int, command: tuple[str, ...], seconds: float) -> str:
    try:
        with run_on(core):
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds + GRACE_S,
            )
    except FileNotFoundError:
        raise PerfRefused("No profile: perf is not installed.") from None
    except subprocess.TimeoutExpired:
        raise PerfRefused("No profile: perf did not come to an end.") from None
    if ended.returncode != 0:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        said = lines[0] if lines else "it said nothing"
        raise PerfRefused(f"No profile: perf failed: {said}")
    return ended.stdout


def read_samples(text: str) -> Iterator[Sample]:
    """Yield what `perf script` has written, sample by sample; one without frames is left out."""
    for block in text.split("\n\n"):
        head, *lines = block.strip("\n").split("\n")
        named = HEAD.fullmatch(head)
        found = [FRAME.fullmatch(line) for line in lines]
        frames = tuple(Frame(one["symbol"], one["file"]) for one in found if one is not None)
        if named is not None and frames:
            yield Sample(int(named["thread"]), frames)
