"""Writers of stdout and stderr that never wait for whoever reads them.

This module owns the writing: lines are queued, and a thread for each descriptor writes them; where
there is no memory for a thread, whoever has the line does, as far as that makes nobody wait. A pipe
that nobody reads, a full disk and a descriptor that is closed cost lines and nothing else: they are
counted, and the next line that gets through is preceded by how many were lost. It never decides
what is said, and imports little, for it is there before all else.
"""

import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable

BYTES_MAX = 1 << 20
"""How much may wait for a reader; what comes then is dropped."""
FLUSH_S = 0.5
"""How long a process that ends waits for what it has said."""


class QueuedWriter:
    """The writer of one descriptor. Safe in all threads, of which none waits but in `flush`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.make_notice: Callable[[int], bytes] = make_notice
        """Returns the line that tells how many were dropped."""
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_writing = False
        self._dropped = 0
        self._dropped_told = 0
        self._is_torn = False
        self._is_stuck = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """How many lines were lost so far."""
        return self._dropped

    def put(self, data: bytes) -> None:
        """Queue a line, or count it as dropped where too much waits already."""
        with self._changed:
            if self._waiting_bytes + len(data) > BYTES_MAX:
                self._dropped += 1
                return
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            if self._thread is None and not self._begin_writing():
                self._write_at_once()
            self._changed.notify_all()

    def _begin_writing(self) -> bool:
        """Start the thread; whether there is the memory for one."""
        thread = threading.Thread(target=self._run, daemon=True, name=f"writer-{self.descriptor}")
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _write_at_once(self) -> None:
        """Write what waits, without a thread: as much as can be without waiting for a reader."""
        while self._waiting:
            data = self._waiting.popleft()
            if not self._say(data, self._dropped, may_wait=False):
                self._dropped += 1
            self._waiting_bytes -= len(data)

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until all is written, or given up; whether it is within so many seconds.

        Who has waited in vain once does not wait again until something gets through.
        """
        with self._changed:
            self._is_stuck = not self._changed.wait_for(
                lambda: not self._waiting and not self._is_writing,
                0.0 if self._is_stuck else timeout_s,
            )
            return not self._is_stuck

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = self._waiting.popleft()
                # Until it is written it takes up room, so that the bound holds for all of it.
                self._is_writing = True
                dropped = self._dropped
            is_written = self._say(data, dropped)
            with self._changed:
                if not is_written:
                    self._dropped += 1
                self._waiting_bytes -= len(data)
                self._is_writing = self._is_stuck = False
                self._changed.notify_all()

    def _say(self, data: bytes, dropped: int, *, may_wait: bool = True) -> bool:
        """Write a line, after how many were lost before it; whether it could be written."""
        notice = b""
        if dropped > self._dropped_told:
            notice = self.make_notice(dropped - self._dropped_told)
        is_written = self._write((b"\n" if self._is_torn else b"") + notice + data, may_wait)
        if is_written:
            self._dropped_told = dropped
        return is_written

    def _write(self, data: bytes, may_wait: bool) -> bool:
        """Write all of it, however long that takes if it `may_wait`; whether it could be."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        written = 0
        while written < len(data) and poll.poll(None if may_wait else 0):
            # A pipe that is ready takes so much without a wait.
            end = len(data) if may_wait else written + select.PIPE_BUF
            try:
                written += os.write(self.descriptor, data[written:end])
            except BlockingIOError:
                continue
            except OSError:
                break
        is_written = written == len(data)
        # What comes next begins a line of its own.
        self._is_torn = not is_written and (self._is_torn or written > 0)
        return is_written


def make_notice(count: int) -> bytes:
    """Return the sentence that tells how many lines were dropped."""
    return f"ledgercore: {count} lines were dropped here: nobody took them\n".encode()


class Stream(io.TextIOBase):
    """A writer as `sys.stdout` and `sys.stderr` are used, by whatever library."""

    def __init__(self, writer: QueuedWriter) -> None:
        self._writer = writer

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._writer.descriptor

    def isatty(self) -> bool:
        """Return whether a person reads it."""
        return is_terminal(self._writer.descriptor)

    def write(self, text: str) -> int:
        """Queue a text. Raises TypeError for bytes, by which libraries tell text from them."""
        if not isinstance(text, str):
            raise TypeError(f"a str is written, not {type(text).__name__}")
        if text:
            self._writer.put(text.encode(self.encoding, self.errors))
        return len(text)

    def flush(self) -> None:
        """Do nothing: what was written is queued."""


STDOUT, STDERR = QueuedWriter(1), QueuedWriter(2)


def is_terminal(descriptor: int) -> bool:
    """Return whether a descriptor is a terminal; one that is closed is none."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def flush_all() -> None:
    """Give both a moment to be written, before the process ends."""
    for writer in (STDOUT, STDERR):
        writer.flush()
