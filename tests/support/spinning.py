"""A thread that keeps a processor busy in a function of a known name, for profilers to find."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "spinner"


def spin(is_over: threading.Event) -> None:
    while not is_over.is_set():
        sum(range(500))


@contextmanager
def spinning() -> Iterator[threading.Thread]:
    """Keep a thread busy within the block."""
    is_over = threading.Event()
    thread = threading.Thread(target=spin, args=(is_over,), name=NAME)
    thread.start()
    try:
        yield thread
    finally:
        is_over.set()
        thread.join()
