"""Engines that a program has left open are closed while the interpreter can still close them.

This module owns which engines there are, and never keeps one alive. When the interpreter is taken
apart it is too late: an engine waits for its threads to end, and from Python 3.13 on a thread that
then asks for the interpreter never gets it, so that the program would hang.
"""

import atexit
import os
from contextlib import ExitStack
from typing import TypeVar
from weakref import WeakSet

from .engine import Engine

Opened = TypeVar("Opened", bound=Engine)

_engines: WeakSet[Engine] = WeakSet()


def close_at_exit(engine: Opened) -> Opened:
    """Return the engine, which is closed at the exit unless it is gone or closed by then."""
    _engines.add(engine)
    return engine


def close_left_open() -> None:
    """Close each engine that is open, with the warning that it gives when it is collected."""
    # One that cannot be closed does not keep the others from it.
    with ExitStack() as stack:
        for engine in list(_engines):
            stack.callback(engine.__del__)


# Threads that are no daemons have ended by then, and ours, which are, still run.
atexit.register(close_left_open)
# An engine belongs to the process that has opened it.
os.register_at_fork(after_in_child=_engines.clear)
