"""A timer that rings to the microsecond, where those of event loops ring to the millisecond.

Python 3.11 has no door to Linux' timerfd, so this takes the one of libc. Half a millisecond is what
a request to a local server takes, so that a schedule kept by the loop's own timers would measure
the timers.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable

_MONOTONIC = 1
_ABSOLUTE = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


async def sleep_until(at_s: float) -> None:
    """Sleep until this time."""
    rung = asyncio.get_running_loop().create_future()
    alarm = Alarm(lambda: None if rung.done() else rung.set_result(None))
    try:
        alarm.set(at_s)
        await rung
    finally:
        alarm.close()


class Alarm:
    """Calls `ring` at the time that is set, by the clock of `time.perf_counter` on Linux."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._file = _libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop.add_reader(self._file, self._read)

    def set(self, at_s: float) -> None:
        """Ring once at this time; at once if it has passed. Replaces what was set before."""
        # A timer that is set to zero is off.
        seconds, nanoseconds = divmod(max(int(at_s * 1e9), 1), 1_000_000_000)
        setting = _Setting(_Time(0, 0), _Time(seconds, nanoseconds))
        if _libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(setting), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """Never ring again."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _read(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return
        self._ring()
