"""The processes that a process has started, as Linux lists them; and work in one that is forked."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path


def _list(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # The thread has ended meanwhile; its children are another's now.
        yield from map(int, text.split())


def list_children(pid: int | None = None) -> set[int]:
    """Return what a process, or this one, has started and not reaped, zombies among them."""
    return set(_list(os.getpid() if pid is None else pid))


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child; return its exit code: 1 after an error, below 0 by a signal."""
    child = os.fork()
    if child == 0:
        # A child that waits for ever is what this is about.
        signal.alarm(20)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
