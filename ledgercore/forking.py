"""An engine belongs to the process that opened it: what a forked child finds in its place.

A child has a copy of the memory, none of the threads, and the very same open files. So it must not
write a seal (it knows an old LSN), wait for a thread (there is none), or keep the lock when the
parent has let go. It gets an error at every call, and touches nothing.
"""

import os
import weakref
from typing import Any, NoReturn

from .engine import Engine
from .errors import EngineForked

_REASON = "the engine belongs to the process that opened it, and not to a forked child"
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class ForkedEngine(Engine):
    """What an engine becomes in a child: every use of it raises EngineForked."""

    def __getattribute__(self, name: str) -> Any:
        # What Python itself asks of any object, it may ask of this one.
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise EngineForked(
            "the engine belongs to the process that opened it, not to a forked child"
        )

    def __enter__(self) -> NoReturn:
        raise EngineForked(
            "the engine belongs to the process that opened it, not to a forked child"
        )

    def __exit__(self, *_: object) -> None:
        """Leave the block in peace: the child may end in it, by an error of its own."""

    def __del__(self) -> None:
        """Close nothing."""

    def __repr__(self) -> str:
        return "<ledgercore.Engine of another process>"


def keep_here(engine: Engine) -> Engine:
    """Let an engine work in this process alone; returns it."""
    _engines.add(engine)
    return engine


def _disown_all() -> None:
    for engine in list(_engines):
        engine._opened.release()
        engine.__class__ = ForkedEngine
    _engines.clear()


os.register_at_fork(after_in_child=_disown_all)
