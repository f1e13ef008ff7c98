"""Logged time over restarts: where it begins at the start of a ledger, and the file that says so.

src/logged_time.h tells how logged time runs, and this module where it is anchored: within one boot
of the machine it goes on as if the ledger had never been closed, whatever the wall clock says by
now; after a boot the wall clock is believed, but never behind what was logged. It never judges a
key or a transfer.

The file DIR/clock, 64 bytes, little-endian, written at each start, at a clean end, and before the
first record is synced that was logged by an anchor which was set anew meanwhile:

    offset  size
         0     8  magic "LCCLOCK1"
         8    16  id of the boot, zeros where it cannot be known
        24     8  CLOCK_BOOTTIME at the anchor, ns
        32     8  logged time there, ns since 1970
        40     8  how long from there on nine tenths of the time pass, ns
        48    12  0
        60     4  CRC-32 of bytes 0 to 59

It may be lost: then the wall clock is believed as after a boot, and logged time does not go back.
It must not be stale, or a start in the same boot would make up at once what a lead had held back,
and age by that the keys that were stored meanwhile.
"""

from libc.stdint cimport int64_t, uint64_t

from ledgercore._c cimport *
from ledgercore.ledger cimport Ledger

import struct
import time
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from .errors import ClockRefused, DirectoryUnusable

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
LEAD_NS_MAX = 86_400 * 1_000_000_000
"""A ledger whose logged time is further ahead of the wall clock than this is not opened."""

_MAGIC = b"LCCLOCK1"
_FAMILY = _MAGIC[:7]
_FORMAT = struct.Struct("<8s16sqqq12x")
_BYTES = _FORMAT.size + 4
_NO_BOOT = bytes(16)


def read_boot_id(path=BOOT_ID_PATH):
    """Return the id of this boot of the machine, 16 bytes; zeros where it cannot be known."""
    try:
        boot_id = bytes.fromhex(path.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return _NO_BOOT
    return boot_id if len(boot_id) == 16 else _NO_BOOT


def encode_clock(bytes boot_id, int64_t boot_ns, int64_t logged_ns, int64_t slow_ns):
    """Return the bytes of the file."""
    packed = _FORMAT.pack(_MAGIC, boot_id, boot_ns, logged_ns, slow_ns)
    return packed + zlib.crc32(packed).to_bytes(4, "little")


def decode_clock(bytes data):
    """Return (boot_id, boot_ns, logged_ns, slow_ns) of the file, or None where it is not sound."""
    if len(data) != _BYTES:
        return None
    magic, boot_id, boot_ns, logged_ns, slow_ns = _FORMAT.unpack_from(data)
    crc = int.from_bytes(data[_FORMAT.size:], "little")
    if magic != _MAGIC or zlib.crc32(data[:_FORMAT.size]) != crc:
        return None
    return boot_id, boot_ns, logged_ns, slow_ns


def is_newer_clock(bytes data):
    """Return whether the bytes of the file are of a newer format than this one."""
    return data.startswith(_FAMILY) and data[7:8] > _MAGIC[7:8]


def choose_start(known, bytes boot_id, int64_t boot_ns, int64_t wall_ns, int64_t newest_ns,
                 bint accept_clock=False):
    """Return the logged time at which a ledger starts.

    `known` is what `decode_clock` returned, `boot_ns` and `wall_ns` the clocks as they are now, and
    `newest_ns` the newest time in the journal. `accept_clock` has the wall clock believed within a
    boot too, and any lead allowed. Raises ClockRefused.
    """
    cdef int64_t start_ns = wall_ns
    cdef lc_time_anchor anchor
    if known is not None and known[0] == boot_id != _NO_BOOT and boot_ns >= known[1]:
        anchor.boot_ns, anchor.logged_ns, anchor.slow_ns = known[1:]
        if not accept_clock:
            start_ns = lc_logged_at(&anchor, boot_ns)
    start_ns = max(start_ns, newest_ns, 0)
    if start_ns - wall_ns > LEAD_NS_MAX and not accept_clock:
        raise ClockRefused(
            f"the clock says {format_time(wall_ns)}, and what was logged last is of"
            f" {format_time(start_ns)}: set the clock right, or accept it (--accept-clock), and"
            " time is logged at nine tenths of its speed until the clock has caught up"
        )
    return start_ns


def format_time(int64_t time_ns):
    """Return a time, ns since 1970, as RFC 3339 in UTC to the second."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def start_clock(Ledger ledger, known=None, bint accept_clock=False):
    """Anchor the time of a ledger that has recovered; returns the bytes of the file.

    Raises ClockRefused, as `choose_start`.
    """
    cdef int64_t boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    cdef int64_t wall_ns = time.time_ns()
    boot_id = read_boot_id()
    cdef int64_t start_ns = choose_start(
        known, boot_id, boot_ns, wall_ns, ledger.last_time_ns, accept_clock
    )
    lc_logged_time_set(&ledger.time, lc_time_anchor_at(boot_ns, start_ns, wall_ns))
    return save_clock(ledger, boot_id)


def save_clock(Ledger ledger, bytes boot_id):
    """Return the bytes of the file for the present anchor of a ledger."""
    cdef lc_time_anchor anchor = lc_logged_time_anchor(&ledger.time)
    return encode_clock(boot_id, anchor.boot_ns, anchor.logged_ns, anchor.slow_ns)


cdef class ClockKeeper:
    """Keeps the file as new as the anchor that records are logged by; for the journal's thread."""

    def __init__(self, Ledger ledger not None, write):
        """`write` is called with the bytes of the file, which holds the present anchor by now."""
        self.ledger = ledger
        self.write = write
        self.version = lc_logged_time_version(&ledger.time)

    cdef void keep(self) noexcept nogil:
        """Write the file where the anchor was set anew; to be called before records are synced."""
        cdef uint64_t version = lc_logged_time_version(&self.ledger.time)
        if version != self.version:
            with gil:
                self.save(version)

    def finish(self):
        """Write the file for the last time. Where it cannot be, the one stands that the newest
        records were logged by."""
        self.save(lc_logged_time_version(&self.ledger.time))

    cdef int save(self, uint64_t version) except -1:
        """Write the file, which holds this anchor then, or a newer one.

        Where that cannot be, for want of a descriptor perhaps, the journal goes on, and the next
        records try again. It is not logged: who reads no log must not hold the journal's thread.
        """
        with suppress(DirectoryUnusable):
            self.write(save_clock(self.ledger, read_boot_id()))
            self.version = version
        return 0


def read_lead_ns(Ledger ledger):
    """Return how far logged time is ahead of the wall clock now; below 0 where it is behind."""
    lc_logged_time_look(&ledger.time)
    return ledger.time.lead_ns


def read_logged_ns(Ledger ledger):
    """Return the time that would be logged now, ns since 1970."""
    return ledger.now()
