"""Memory for big tables: reserved as address space, committed by the OS page by page.

Nothing moves when a table fills, and what is not used costs nothing. Where address space is
limited, that a table does not fit is one sentence, which names the limit and what to lower.
"""

import errno
import mmap
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import MemoryUnavailable

HUGE_PAGE_BYTES = 2 << 20
MAP_NORESERVE = 0x4000  # linux/mman.h; the mmap module of Python 3.11 does not name it.
KEYS_A_STRIPE_MIN = 64
NO_MEMORY = "there is not enough memory"
HEADROOM_BYTES = 128 << 20
"""What has to be left of a limited address space for stacks, buffers and maps of files."""


def reserve(count: int, dtype: npt.DTypeLike, *, huge_pages: bool = True) -> npt.NDArray[Any]:
    """Return a zeroed array of shape (count,) that owns its own mapping.

    Huge pages are asked for where the table is larger than one: with millions of keys or accounts
    the walk through page tables would otherwise cost more than the transfer. Raises
    MemoryUnavailable.
    """
    kind = np.dtype(dtype)
    size = max(1, count * kind.itemsize)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    try:
        mapping = mmap.mmap(-1, size, flags=flags)
    except OSError as error:
        raise MemoryUnavailable(
            f"a table of {size >> 20:,} MiB cannot be reserved: {describe_limit()}; lower"
            " accounts_max or keys_max, or raise the limit"
        ) from error
    if huge_pages and size > HUGE_PAGE_BYTES:
        # A kernel without huge pages serves small ones: slower, and as right.
        with suppress(OSError, AttributeError):
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, dtype=kind, count=count)


def describe_limit() -> str:
    """Say what limits the address space of this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return "the system has no more"
    return f"this process may have {limit >> 20:,} MiB of address space in all (ulimit -v)"


def check_headroom() -> None:
    """Raise MemoryUnavailable where the tables leave nothing for what runs beside them.

    A ledger that opens and then cannot start a thread would fail under load, and not here.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        reserve(HEADROOM_BYTES, np.uint8, huge_pages=False)


@contextmanager
def shortage_explained() -> Iterator[None]:
    """Turn what else fails for want of memory into MemoryUnavailable: threads, buffers, maps."""
    try:
        yield
    except MemoryUnavailable:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        is_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
        is_map = isinstance(error, OSError) and error.errno == errno.ENOMEM
        if not (is_thread or is_map or isinstance(error, MemoryError)):
            raise
        what = "a thread cannot be started" if is_thread else NO_MEMORY
        raise MemoryUnavailable(f"{what}: {describe_limit()}") from error


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
