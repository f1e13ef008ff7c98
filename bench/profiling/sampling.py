"""py-spy on a server under load: its stacks, frames of native code among them.

This module owns how py-spy is started and what its refusal is called. What the stacks mean is told
by stacks.py. py-spy stops a process for each sample and reads its memory, as a debugger does; where
that is forbidden there is no flame graph, and everything else goes on.
"""

import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RATE_HZ = 100
"""Above that, reading native frames takes so long that the server stands still."""
GRACE_S = 60.0
"""How long py-spy may take to begin and to find the names, besides the time that it samples."""


class SamplingRefused(Exception):
    """py-spy saw nothing of a process; the message is one sentence for people."""


def find_sampler() -> tuple[str, ...]:
    """Return the command of py-spy: the one of this environment, or else any on the path."""
    own = Path(sys.executable).with_name("py-spy")
    return (str(own) if own.exists() else shutil.which("py-spy") or "py-spy",)


def sample_stacks(
    pid: int, seconds: float, path: Path, sampler: Sequence[str] | None = None
) -> str:
    """Sample all threads of a process into a file, and return its text, py-spy's raw format.

    Raises SamplingRefused where py-spy is not there, or may not.
    """
    flags = ("--native", "--threads", "--full-filenames", "--format=raw", f"--rate={RATE_HZ}")
    command = [
        *(sampler or find_sampler()),
        "record",
        *flags,
        f"--duration={math.ceil(seconds)}",
        f"--output={path}",
        f"--pid={pid}",
    ]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_S,
        )
    except FileNotFoundError:
        raise SamplingRefused("No flame graph: py-spy is not installed.") from None
    except subprocess.TimeoutExpired:
        raise SamplingRefused("No flame graph: py-spy did not come to an end.") from None
    if ended.returncode != 0 or not path.exists():
        raise SamplingRefused(explain_refusal(ended.stdout + ended.stderr))
    return path.read_text()


def explain_refusal(output: str) -> str:
    """Return one sentence for what py-spy said before it gave up."""
    if "ermission" in output or "not permitted" in output:
        return (
            "No flame graph: py-spy may not trace another process here; it needs ptrace"
            " (in a container --cap-add=SYS_PTRACE, elsewhere root or kernel.yama.ptrace_scope=0)."
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "rror" in line or "eason" in line), "")
    return f"No flame graph: py-spy failed: {said or (lines or ['it said nothing'])[-1]}"
