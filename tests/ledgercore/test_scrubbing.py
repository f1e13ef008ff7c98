"""The scrub: sealed files are read again, and what has rotted below a snapshot is told."""

import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ledgercore
from ledgercore import ScrubState, scrubbing
from tests.support.damage import flipped, frames_of
from tests.support.histories import journal_files, open_funded, open_small
from tests.support.making import make_long, many_rows, poll, roll_over


@pytest.fixture
def covered(directory: Path) -> Path:
    """A closed ledger of three journal files, all below a snapshot."""
    make_long(directory)
    ledgercore.compact(directory)
    return directory


def state_of(ledger: ledgercore.Engine) -> ScrubState:
    state = ledger.statistics().scrub
    assert state is not None
    return state


def wait_pass(ledger: ledgercore.Engine, passes: int = 1) -> ScrubState:
    poll(lambda: state_of(ledger).passes >= passes, "a pass of the scrub")
    return state_of(ledger)


@contextmanager
def scrubbed(directory: Path, **options: Any) -> Iterator[tuple[ledgercore.Engine, ScrubState]]:
    with open_small(directory, **options) as ledger:
        yield ledger, wait_pass(ledger)


def spoil(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Change a file; returns what it was."""
    data = path.read_bytes()
    path.write_bytes(change(data))
    return data


def noise(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + os.urandom(4096) + data[middle + 4096 :]


def test_what_is_sound_is_read_once_after_the_start(
    covered: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "ledgercore"),
        scrubbed(covered) as (ledger, state),
    ):
        assert state.damage == () and (state.passes, state.progress) == (1, 1.0)
        # The two sealed files and the snapshot, each to its end, and what crosses windows twice.
        snapshot = next((covered / "snapshots").iterdir()).stat().st_size
        assert state.bytes >= sum(p.stat().st_size for p in journal_files(covered)[:2]) + snapshot
        assert state.last_pass_ns is not None
        assert abs(state.last_pass_ns - time.time_ns()) < 60 * 10**9
        assert ledger.audit(journal=True).ok
        # It sleeps until the next one is due.
        assert wait_pass(ledger).passes == 1
    (line,) = [record for record in caplog.records if "scrubbed" in str(vars(record))]
    assert line.getMessage() == "3 sealed files were read again, 0 of them are damaged"


DAMAGE: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "noise": (1, noise),
    "noise in the first": (0, noise),
    "one bit of the first frame": (0, lambda data: flipped(data, 4096 + 130)),
    "one bit of the last frame": (1, lambda data: flipped(data, frames_of(data)[-1].offset + 200)),
    "cut short": (1, lambda data: data[: len(data) // 2]),
    "header": (1, lambda data: flipped(data, 60)),
    "empty": (0, lambda data: b""),
}


@pytest.mark.parametrize(("number", "change"), DAMAGE.values(), ids=DAMAGE.keys())
def test_rot_below_a_snapshot_is_found(
    covered: Path,
    number: int,
    change: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = journal_files(covered)[number]
    with open_small(covered, scrub_interval_s=1) as ledger:
        wait_pass(ledger)
        whole = spoil(path, change)
        poll(lambda: state_of(ledger).damage != (), "the damage to be found")
        (fault,) = state_of(ledger).damage
        assert fault.startswith(f"{path}: offset ")
        # Told once, loudly; by every audit; and the server goes on.
        for journal in (False, True):
            audit = ledger.audit(journal=journal)
            assert not audit.ok and f"journal: {fault}" in audit.violations
        assert ledger.transfer("world", "alice", 1, key="on").status is ledgercore.Status.APPLIED
        again = state_of(ledger).passes + 1
        assert wait_pass(ledger, again).damage == (fault,)
        path.write_bytes(whole)
        poll(lambda: state_of(ledger).damage == (), "the restored file to be read")
        assert ledger.audit(journal=True).ok
    messages = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [fault in message for message in messages] == [True, False]
    assert messages[1] == f"{path} is sound again"


def test_a_segment_that_goes_is_found(covered: Path) -> None:
    first, *_ = journal_files(covered)
    with open_small(covered, scrub_interval_s=1) as ledger:
        wait_pass(ledger)
        first.rename(covered / "aside")
        poll(lambda: state_of(ledger).damage != (), "the loss to be found")
        assert state_of(ledger).damage == (f"{first}: this segment is missing",)
        (covered / "aside").rename(first)


def test_a_rotten_snapshot_is_found_and_one_that_goes_is_no_loss(covered: Path) -> None:
    (snapshot,) = (covered / "snapshots").iterdir()
    with open_small(covered, scrub_interval_s=1) as ledger:
        wait_pass(ledger)
        spoil(snapshot, lambda data: flipped(data, 5000))
        poll(lambda: state_of(ledger).damage != (), "the damage to be found")
        assert state_of(ledger).damage[0].startswith(f"{snapshot}: offset ")
        snapshot.unlink()
        poll(lambda: state_of(ledger).damage == (), "the damage to be forgotten")


def test_a_sound_file_of_another_history_is_found(directory: Path, tmp_path: Path) -> None:
    """Two files of one number and one ledger: each is sound, and one does not belong here."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
    other = tmp_path / "other"
    shutil.copytree(directory, other)
    for home, amount in ((directory, 1), (other, 2)):
        with open_small(home) as ledger:
            ledger.transfer_batch(many_rows(100, start=1 << 30, amount=amount))
            roll_over(ledger, home, 3)
        ledgercore.compact(home)
    path = journal_files(directory)[1]
    path.write_bytes(journal_files(other)[1].read_bytes())
    with scrubbed(directory) as (ledger, state):
        assert any(str(journal_files(directory)[0]) in fault for fault in state.damage)
        assert not ledger.audit().ok


def test_only_what_is_sealed_is_read(directory: Path) -> None:
    with open_small(directory, scrub_interval_s=1) as ledger:
        assert wait_pass(ledger).bytes == 0
        open_funded(ledger, ["alice"], 0)
        start = roll_over(ledger, directory, 2)
        again = state_of(ledger).passes + 2
        state = wait_pass(ledger, again)
        assert state.bytes > 4 << 20 and state.damage == ()
        # While it is being written, and files are begun, nothing looks damaged.
        while state_of(ledger).passes < again + 2:
            start += len(ledger.transfer_batch(many_rows(4096, start=start)))
        assert state_of(ledger).damage == ()


def test_a_disk_that_cannot_be_read_is_damage_and_kills_nothing(
    covered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping would end the process with SIGBUS there; so it is read by calls that fail."""
    bad = journal_files(covered)[0].stat().st_ino
    real = os.preadv

    def preadv(descriptor: int, buffers: Any, offset: int) -> int:
        if os.fstat(descriptor).st_ino == bad and offset > 1 << 20:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(scrubbing, "WINDOW_BYTES", 1 << 20)
    monkeypatch.setattr(os, "preadv", preadv)
    with scrubbed(covered) as (ledger, state):
        assert state.damage == (f"{journal_files(covered)[0]}: Input/output error",)
        assert ledger.transfer("world", "alice", 1, key="on").id > 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.ENOMEM])
def test_what_could_not_be_read_is_not_called_damaged(
    covered: Path, monkeypatch: pytest.MonkeyPatch, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = journal_files(covered)[0]
    real = os.open

    def open_file(name: Any, flags: int, *mode: int, **options: Any) -> int:
        if threading.current_thread().name == "scrub" and str(name) == str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(name, flags, *mode, **options)

    monkeypatch.setattr(os, "open", open_file)
    with scrubbed(covered) as (ledger, state):
        assert state.damage == () and ledger.audit().ok
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert line.startswith(f"not read again: {path}: ")


def test_the_pace_is_held_and_closing_does_not_wait_for_it(covered: Path) -> None:
    began = time.monotonic()
    with open_small(covered, scrub_bytes_per_s=1 << 20) as ledger:
        poll(lambda: state_of(ledger).bytes > 0, "the scrub to begin")
        assert state_of(ledger).passes == 0 and state_of(ledger).progress < 1
    # Three files of four MiB would take it twelve seconds.
    assert time.monotonic() - began < 10
    assert not [thread for thread in threading.enumerate() if thread.name == "scrub"]


def test_zero_reads_nothing(covered: Path) -> None:
    with open_small(covered, scrub_interval_s=0) as ledger:
        assert state_of(ledger) == ScrubState(0, 0, 0.0, None, ())
        assert not [thread for thread in threading.enumerate() if thread.name == "scrub"]


def test_in_memory_there_is_nothing_to_read() -> None:
    with open_small(None, durability="memory") as ledger:
        assert ledger.statistics().scrub is None


def test_the_thread_gives_way_to_others(covered: Path) -> None:
    with open_small(covered, scrub_bytes_per_s=1 << 20):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "scrub"]
        assert thread.native_id is not None
        number = thread.native_id
        poll(lambda: os.getpriority(os.PRIO_PROCESS, number) > 0, "the thread to be nice")
