"""Large blocks of memory go back to the system as soon as they are let go of.

This module owns that one setting of the C library. Left alone, glibc learns from the first large
block that is freed to keep those of up to 32 MiB in its heap, where what lives longer pins them: a
burst of large bodies and answers would stay in the memory of the process for good.
"""

import ctypes
from contextlib import suppress

BLOCK_BYTES_MIN = 1 << 20
"""What is at least so large has a mapping of its own. A batch of thousands of transfers is less."""
_M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_blocks() -> None:
    """Have large blocks returned, where the C library can be told to."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, BLOCK_BYTES_MIN)
