"""Python's own frames as those of a profile: what a thread runs, and where a task waits.

This module owns how a frame of the interpreter is read. It never runs anything of what it reads.
Native code has no frames here: what it does counts for the Python function that called it.
"""

import asyncio
import gc
from types import AsyncGeneratorType, CoroutineType, FrameType
from typing import Any

from .stacks import Frame, make_frame

DEPTH_MAX = 200
"""More awaits than this within each other are a loop, and not a stack."""

_WRAPPERS = {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}
"""What stands between one that awaits and what it awaits, and names it to the collector only."""


def read_python_frame(frame: FrameType) -> Frame:
    """Return a frame of the interpreter."""
    code = frame.f_code
    # Where a loop turns back, Python 3.11 knows no line.
    line = frame.f_lineno or code.co_firstlineno
    return make_frame(code.co_qualname, code.co_filename, line)


def list_frames(frame: FrameType | None) -> list[Frame]:
    """Return a stack by its innermost frame, the outer frames first."""
    frames = []
    while frame is not None:
        frames.append(read_python_frame(frame))
        frame = frame.f_back
    frames.reverse()
    return frames


def list_awaits(task: "asyncio.Task[Any]") -> list[Frame]:
    """Return where a task waits, the outer frames first.

    `Task.get_stack` shows a coroutine's own frame only; what that awaits is found by walking on.
    """
    frames: list[Frame] = []
    at: Any = task.get_coro()
    for _ in range(DEPTH_MAX):
        if type(at).__name__ in _WRAPPERS:
            at = next(filter(_is_awaitable, gc.get_referents(at)), None)
        found = _find(at, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(found, FrameType):
            frames.append(read_python_frame(found))
        at = _find(at, "cr_await", "gi_yieldfrom", "ag_await")
        if at is None:
            break
    return frames


def _is_awaitable(found: object) -> bool:
    return isinstance(found, AsyncGeneratorType | CoroutineType)


def _find(awaited: Any, *names: str) -> Any:
    """Return the first of these attributes that is there: coroutines, generators, asynchronous."""
    return next((getattr(awaited, name) for name in names if hasattr(awaited, name)), None)


def name_awaited(task: "asyncio.Task[Any]") -> str:
    """Return what a task waits for at the inner end, by its type; a task by its name.

    Its content is not told: it may be somebody's request.
    """
    awaited = getattr(task, "_fut_waiter", None)
    if awaited is None:
        return "nothing: it is running, or about to"
    if isinstance(awaited, asyncio.Task):
        return f"task {awaited.get_name()}"
    return type(awaited).__name__
