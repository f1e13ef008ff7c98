"""py-spy on a server under load: its stacks, frames of native code among them.

This module owns how long py-spy may take, and that there is no flame graph where it is refused:
everything else goes on. How py-spy is started and what its refusal means is service/sampling.py's.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from ledgercore.service.profiling.py_spy import (
    RATE_HZ_MAX,
    SamplingRefused,
    explain_missing,
    explain_refusal,
    find_sampler,
    make_command,
)

from ..processes import ProcessFailed, run

RATE_HZ = RATE_HZ_MAX
GRACE_S = 60.0
"""How long py-spy may take to begin and to find the names, besides the time that it samples."""


def sample_stacks(
    pid: int,
    seconds: float,
    path: Path,
    sampler: Sequence[str] | None = None,
    core: int | None = None,
) -> str:
    """Sample all threads of a process into a file, and return its text, py-spy's raw format.

    Raises SamplingRefused where py-spy is not there, or may not.
    """
    command = make_command(sampler or find_sampler(), pid, math.ceil(seconds), RATE_HZ, path)
    try:
        ended = run(command, core=core, deadline_s=seconds + GRACE_S)
    except FileNotFoundError:
        raise SamplingRefused(f"No flame graph: {explain_missing()}") from None
    except ProcessFailed:
        raise SamplingRefused("No flame graph: py-spy did not come to an end.") from None
    if ended.returncode != 0 or not path.exists():
        raise SamplingRefused(f"No flame graph: {explain_refusal(ended.stdout + ended.stderr)}")
    return path.read_text()
