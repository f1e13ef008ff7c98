"""A disk that tells what a power cut would leave, and processes that end between two calls.

`Disk` takes the place of the module `os` in a module under test. It hands every call on, and knows
of each file what was in it when it was synced last.
"""

import os
import stat
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any


class Killed(BaseException):
    """The process ended here. No handler of a sane program catches it."""


class Disk:
    """The module `os`, watched. `calls_left` calls change the disk; the next one ends the process.

    A call named in `failures` fails with the error that stands there.
    """

    COUNTED = ("write", "pwrite", "fsync", "fdatasync", "ftruncate")

    def __init__(self) -> None:
        self.calls_left: int | None = None
        self.failures: dict[str, OSError] = {}
        self.descriptors: set[int] = set()
        self.syncs = 0
        self._synced: dict[int, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        return self._watch(name, call) if name in self.COUNTED else call

    def _watch(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(descriptor: int, *arguments: Any) -> Any:
            self.count()
            if name in self.failures:
                raise self.failures[name]
            result = call(descriptor, *arguments)
            if name in ("fsync", "fdatasync"):
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    whole = Path(f"/proc/self/fd/{descriptor}").read_bytes()
                    self._synced[status.st_ino] = whole
                self.syncs += 1
            return result

        return watched

    def open(self, *arguments: Any) -> int:
        descriptor = os.open(*arguments)
        self.descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.descriptors.discard(descriptor)
        os.close(descriptor)

    def count(self) -> None:
        """Count a call that changes the disk."""
        if self.calls_left is not None:
            if self.calls_left == 0:
                raise Killed
            self.calls_left -= 1

    def kill(self) -> None:
        """Do what the kernel does for a process that has ended."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self.calls_left = None

    def synced(self, path: os.PathLike[str]) -> bytes:
        """Return what is in a file after a power cut, where nothing else has been written back."""
        return self._synced.get(os.stat(path).st_ino, b"")


class LatePool:
    """A pool of threads without threads: what is submitted is done when somebody waits for it."""

    def __init__(self, *_: object) -> None:
        self.futures: list[LateFuture] = []

    def submit(self, job: Callable[[], None]) -> "LateFuture":
        self.futures.append(LateFuture(job))
        return self.futures[-1]

    def work(self) -> None:
        """Do all that was submitted."""
        while self.futures:
            self.futures.pop().run()

    def shutdown(self) -> None:
        self.work()


class LateFuture(Future[None]):
    def __init__(self, job: Callable[[], None]) -> None:
        super().__init__()
        self._job = job

    def run(self) -> None:
        if not self.done():
            try:
                self._job()
            except OSError as error:
                self.set_exception(error)
            else:
                self.set_result(None)

    def result(self, timeout: float | None = None) -> None:
        self.run()
        super().result(timeout)
