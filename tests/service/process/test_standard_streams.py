"""What is said on the standard descriptors, when nobody reads it, or nobody can."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ledgercore.service.process import standard_streams
from ledgercore.service.process.standard_streams import BYTES_MAX, QueuedWriter, Stream
from tests.support.servers import make_environment
from tests.support.waiting import DEADLINE_S, wait_until

LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from ledgercore.service.cli.start import main
main()
"""


@contextmanager
def make_pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a pipe; who closes one of them says so by -1."""
    ends = list(os.pipe())
    try:
        yield ends[0], ends[1]
    finally:
        for end in ends:
            with suppress(OSError):
                os.close(end)


def fill(descriptor: int) -> int:
    """Fill a pipe, and return with how many bytes."""
    os.set_blocking(descriptor, False)
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += os.write(descriptor, bytes(4096))
    os.set_blocking(descriptor, True)
    return filled


def read_exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(descriptor, count - len(data))
    return data


def test_lines_come_in_their_order() -> None:
    with make_pipe() as (reading, writing):
        writer = QueuedWriter(writing)
        lines = [f"line {number}\n".encode() for number in range(100)]
        for line in lines:
            writer.put(line)
        assert writer.flush()
        assert read_exactly(reading, sum(map(len, lines))) == b"".join(lines)
        assert writer.dropped == 0


@pytest.mark.parametrize("is_blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_full_pipe_makes_nobody_wait_and_loses_are_told(is_blocking: bool) -> None:
    with make_pipe() as (reading, writing):
        filled = fill(writing)
        os.set_blocking(writing, is_blocking)
        writer = QueuedWriter(writing)
        line = b"x" * 9_999 + b"\n"
        for _ in range(200):
            writer.put(line)
        # No more than the bound waits, and to wait for them has an end.
        dropped = writer.dropped
        assert dropped == 200 - BYTES_MAX // len(line)
        assert not writer.flush(0.01)
        assert not writer.flush(60.0), "who has waited in vain has waited again"
        assert read_exactly(reading, filled) == bytes(filled)
        told = b""
        while told.count(b"\n") < 200 - dropped + 1:
            told += os.read(reading, 1 << 16)
        assert writer.flush()
        writer.put(b"after\n")
        assert writer.flush()
        notice = f"ledgercore: {dropped} lines were dropped here: nobody took them\n".encode()
        assert notice in told
        assert os.read(reading, 1 << 16) == b"after\n"


def test_a_reader_that_is_gone_costs_lines_only() -> None:
    with make_pipe() as (reading, writing):
        os.close(reading)
        writer = QueuedWriter(writing)
        writer.put(b"one\n")
        writer.put(b"two\n")
        assert writer.flush()
        assert writer.dropped == 2
        os.close(os.open(os.devnull, os.O_RDONLY))  # The number of the end that was closed.


def test_a_descriptor_that_is_closed_costs_lines_only() -> None:
    with make_pipe() as (_, writing):
        writer = QueuedWriter(writing)
        os.close(writing)
        writer.put(b"one\n")
        assert writer.flush()
        assert writer.dropped == 1


def test_a_full_disk_costs_lines_only() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        writer = QueuedWriter(full)
        writer.put(b"one\n")
        assert writer.flush()
        assert writer.dropped == 1
    finally:
        os.close(full)


def test_what_was_torn_is_ended_before_the_next_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that becomes full within a line, and has room again."""
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    left = [3]

    def write(descriptor: int, data: bytes) -> int:
        if left[0] == 0:
            left[0] = 1000
            raise OSError(28, "No space left on device")
        taken = min(left[0], len(data))
        left[0] -= taken
        return real(descriptor, data[:taken])

    real = os.write
    monkeypatch.setattr(os, "write", write)
    writer = QueuedWriter(file)
    writer.put(b"first\n")
    writer.flush()
    writer.put(b"second\n")
    writer.flush()
    os.close(file)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "fir" and lines[-1] == "second" and len(lines) == 3
    assert "1 lines were dropped" in lines[1]


def test_a_stream_is_what_libraries_take_for_stdout() -> None:
    with make_pipe() as (reading, writing):
        stream = Stream(QueuedWriter(writing))
        assert stream.write("grün\udc80\n") == 6
        stream.flush()
        assert (stream.fileno(), stream.isatty(), stream.writable()) == (writing, False, True)
        with pytest.raises(TypeError):
            stream.write(b"")  # type: ignore[arg-type]
        assert read_exactly(reading, 12) == "grün\\udc80\n".encode()
        assert stream.encoding == "utf-8" and sys.getdefaultencoding() == "utf-8"


def test_nothing_is_started_before_there_is_something_to_say() -> None:
    before = threading.active_count()
    writer = QueuedWriter(2)
    assert writer.flush() and threading.active_count() == before


def test_both_are_given_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_pipe() as (reading, writing):
        for name in ("STDOUT", "STDERR"):
            monkeypatch.setattr(standard_streams, name, QueuedWriter(writing))
            getattr(standard_streams, name).put(b"x")
        standard_streams.flush_all()
        assert read_exactly(reading, 2) == b"xx"
    wait_until(lambda: not standard_streams.is_terminal(-1), "what is closed to be no terminal")


def test_without_memory_for_a_thread_lines_are_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with make_pipe() as (reading, writing), monkeypatch.context() as scarce:
        writer = QueuedWriter(writing)
        scarce.setattr(threading.Thread, "start", fail)
        writer.put(b"one\n")
        assert read_exactly(reading, 4) == b"one\n"
        filled = fill(writing)
        writer.put(b"two\n")  # Nobody waits for this one either.
        writer.put(b"x" * BYTES_MAX)
        assert writer.dropped == 2 and writer.flush(0.0)
        read_exactly(reading, filled)
        scarce.undo()
        writer.put(b"three\n")
        told = standard_streams.make_notice(2) + b"three\n"
        assert read_exactly(reading, len(told)) == told


def test_a_server_without_memory_for_threads_says_what_is_wrong(tmp_path: Path) -> None:
    """A little more than the imports need: what stops the start is told, whichever it is."""
    small = ("--accounts-max=4096", "--keys-max=65536", "--segment-bytes=4194304")
    for limit_mib in (400, 430, 460):
        flags = ("serve", "--port=0", f"--data={tmp_path / 'ledger'}", *small)
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(limit_mib << 20), *flags],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env=make_environment(),
        )
        assert done.returncode == 1, done
        assert "address space" in done.stderr or "thread" in done.stderr
