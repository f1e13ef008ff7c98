"""What Linux tells of this process: threads, memory and arguments."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from ledgercore.service.profiling.proc import (
    read_command_line,
    read_memory,
    read_thread,
    read_threads,
)
from tests.support.spinning import NAME, spinning
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]


def test_threads_are_told_with_their_time() -> None:
    with spinning() as thread:
        assert thread.native_id is not None
        native_id = thread.native_id

        def has_spun() -> bool:
            facts = read_thread(native_id)
            return facts is not None and facts.cpu_ns >= 50_000_000

        wait_until(has_spun, "the spinner to have had some time")
        threads = read_threads()
        assert threads[native_id].native_id == native_id
        assert {os.getpid(), native_id} <= threads.keys()
    # Joined is not yet gone: the system takes the thread away a moment later.
    wait_until(lambda: read_thread(native_id) is None, "the thread to be gone")
    assert native_id not in read_threads()
    assert NAME not in {thread.name for thread in threading.enumerate()}


def test_states_are_words() -> None:
    facts = read_thread(os.getpid())
    assert facts is not None
    # Whether it runs is up to the test's runner, which may use a thread of its own.
    assert facts.state in ("running", "sleeping")
    assert facts.cpu_ns > 0 and facts.name


def test_memory_grows_with_what_is_used() -> None:
    before = read_memory()
    block = bytearray(64 << 20)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    after = read_memory()
    assert after["VmRSS"] - before["VmRSS"] > 48 << 20
    assert after["VmHWM"] >= after["VmRSS"]
    # One page of memory that this process wrote is private to it.
    assert "Private_Dirty" not in after or after["Private_Dirty"] > 48 << 20


def test_arguments_are_told_without_credentials() -> None:
    code = "import sys; from ledgercore.service.profiling.proc import read_command_line as r; "
    code += "sys.stdout.buffer.write(r())"
    url = "https://user:sec@ret@collector.example:4318/v1?key=secret"
    told = subprocess.run(
        [sys.executable, "-c", code, f"--otlp={url}", "plain"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    *arguments, end = told.split(b"\0")
    assert arguments[-2:] == [b"--otlp=https://collector.example:4318", b"plain"]
    assert end == b""
    assert read_command_line().endswith(b"\0")
