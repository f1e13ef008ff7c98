"""The ownership of an engine by the process that opened it: closed at its exit, unusable in a fork.

This module owns which engines this process has opened, and never keeps one alive. At the very end
of a process it is too late to close them: an engine waits for its threads to end, and from Python
3.13 on a thread that then asks for the interpreter never gets it, so that the program would hang.

A child has a copy of the memory, none of the threads, and the very same open files. So it must not
write a seal (it knows an old LSN), wait for a thread (there is none), or keep the lock when the
parent has let go. It gets an error at every call, and touches nothing.
"""

import atexit
import os
from contextlib import ExitStack
from typing import Any, NoReturn
from weakref import WeakSet

from .engine import Engine
from .errors import EngineForked

_REASON = "the engine belongs to the process that opened it, not to a forked child"

_engines: WeakSet[Engine] = WeakSet()


class ForkedEngine(Engine):
    """What an engine becomes in a child: every use of it raises EngineForked."""

    def __getattribute__(self, name: str) -> Any:
        # What Python itself asks of any object, it may ask of this one.
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise EngineForked(_REASON)

    def __enter__(self) -> NoReturn:
        raise EngineForked(_REASON)

    def __exit__(self, *_: object) -> None:
        """Do nothing: a forked child may leave the `with` block."""

    def __del__(self) -> None:
        """Close nothing."""

    def __repr__(self) -> str:
        return "<ledgercore.Engine of another process>"


def keep_here(engine: Engine) -> Engine:
    """Return the engine, which from now on belongs to this process alone, to its exit at most."""
    _engines.add(engine)
    return engine


def _close_all() -> None:
    """Close each engine that is open, with the warning that it gives when it is collected."""
    # One that cannot be closed does not keep the others from it.
    with ExitStack() as stack:
        for engine in list(_engines):
            stack.callback(engine.__del__)


def _disown_all() -> None:
    """Turn each engine, in a forked child, into a ForkedEngine."""
    for engine in list(_engines):
        engine._opened.release()
        engine.__class__ = ForkedEngine
    _engines.clear()


# Threads that are no daemons have ended by then, and ours, which are, still run.
atexit.register(_close_all)
os.register_at_fork(after_in_child=_disown_all)
