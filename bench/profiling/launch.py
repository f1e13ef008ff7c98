"""`python -m bench.profiling.launch FLAGS`: becomes `scalene run FLAGS`, in this very process.

Left to itself, Scalene starts itself anew as a child, and a signal to the process that was started
would end the wrong one. It does so only where the size of its window is not yet set.
"""

import os
import sys

WINDOW = "SCALENE_ALLOCATION_SAMPLING_WINDOW"
WINDOW_BYTES = 1 << 20


def main() -> None:
    """Replace this process by Scalene."""
    os.environ[WINDOW] = str(WINDOW_BYTES)
    os.execv(sys.executable, [sys.executable, "-m", "scalene", "run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
