"""Big tables: reserved as address space, committed page by page by the kernel of the OS.

Nothing moves when a table fills, and what is not used costs nothing.
"""

import mmap
from contextlib import suppress
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

HUGE_PAGE_BYTES = 2 << 20
MAP_NORESERVE = 0x4000  # linux/mman.h; the mmap module of Python 3.11 does not name it.
KEYS_A_STRIPE_MIN = 64


def reserve(count: int, dtype: npt.DTypeLike, *, huge_pages: bool = True) -> npt.NDArray[Any]:
    """Return a zeroed array of shape (count,) that owns its own mapping.

    Huge pages are asked for where the table is larger than one: with millions of keys or accounts
    the walk through page tables would otherwise cost more than the transfer.
    """
    kind = np.dtype(dtype)
    size = max(1, count * kind.itemsize)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    mapping = mmap.mmap(-1, size, flags=flags)
    if huge_pages and size > HUGE_PAGE_BYTES:
        # A kernel without huge pages serves small ones: slower, and as right.
        with suppress(OSError, AttributeError):
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, dtype=kind, count=count)


def plan_key_levels(keys_max: int, stripes_log2_max: int, levels_max: int) -> tuple[int, list[int]]:
    """Lay out the key table (src/keys.h): log2 of the stripes, and entries a stripe by level.

    Each level is twice the one below; the last one holds `keys_max` keys at its load of 5/8. Keys
    do not fall evenly over the stripes, so each has room for four standard deviations more: the
    table as a whole is full before one of its stripes is.
    """
    log2 = stripes_log2_max
    while log2 > 1 and keys_max >> log2 < KEYS_A_STRIPE_MIN:
        log2 -= 1
    share = (keys_max >> log2) + 1
    capacities = [(share + 4 * isqrt(share) + 5) // 5 * 8]
    while capacities[0] > 2 * KEYS_A_STRIPE_MIN and len(capacities) < levels_max:
        capacities.insert(0, (capacities[0] // 2 + 7) // 8 * 8)
    return log2, capacities
