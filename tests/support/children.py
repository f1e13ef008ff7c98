"""The processes that a process has started, as Linux lists them."""

import os
from collections.abc import Iterator
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
