"""The handlers of the signals of the process: to stop, and to read its files again.

This module owns the handlers of the signals, from the first line of the command to the last. They
are Python's own, never a loop's: those would be there only while it runs. It never does what is
asked; whoever can, listens. It imports nothing but the standard library, for the signals of a start
come before all else is there.
"""

import signal
from collections.abc import Callable
from types import FrameType

from .callbacks import ignore

STOPS = (signal.SIGTERM, signal.SIGINT)


class ProcessSignals:
    """The signals of one process so far. A listener is called in the main thread, at any moment."""

    def __init__(self) -> None:
        self.stops = 0
        self.reloads = 0
        self.listener: Callable[[], None] = ignore

    def install(self) -> None:
        """Install the handlers: SIGTERM and SIGINT to stop, SIGHUP to read again."""
        for number in STOPS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        self.unblock()

    def unblock(self) -> None:
        """Unblock the signals, which ledgercore/__main__.py has blocked until now."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOPS, signal.SIGHUP))

    def ignore_all(self) -> None:
        """Ignore the signals: the process ends by itself, and must not seem to have been killed."""
        for number in (*STOPS, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stops += 1
        self.listener()

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self.reloads += 1
        self.listener()


SIGNALS = ProcessSignals()
"""Those of this process."""
