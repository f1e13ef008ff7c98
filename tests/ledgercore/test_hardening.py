"""What a second reader broke: each way in which the engine once failed, tried again."""

import os
import resource
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore import directory as files
from ledgercore.directory import DataDirectory
from ledgercore.file_store import FileStore
from ledgercore.housekeeping import Housekeeper
from ledgercore.recovery import Capacity
from ledgercore.snapshots import make_snapshot
from tests.support.histories import fill_segment, journal_files, open_funded, open_small
from tests.support.making import many_rows

PATIENCE_S = 60


@contextmanager
def limited_files(more: int) -> Iterator[None]:
    """Let this process open only so many files more than it has open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def ends_in_time(work: threading.Thread) -> bool:
    """Whether a thread ends; it is a daemon, so that a hang fails one test and not all."""
    work.start()
    work.join(PATIENCE_S)
    return not work.is_alive()


def test_a_journal_of_many_files_needs_few_descriptors(directory: Path) -> None:
    open_small(directory).close()
    for number in range(40):
        # Another time for keys begins another file.
        open_small(directory, key_ttl_s=100 + number % 2).close()
    with open_small(directory, key_ttl_s=100) as ledger:
        open_funded(ledger, ["alice"], 10)
    assert len(journal_files(directory)) > 40
    with limited_files(24):
        with open_small(directory, key_ttl_s=100) as ledger:
            assert ledger.find_transfer(ledger.statistics().lsn_durable) is not None
        assert ledgercore.verify(directory).violations == ()


@pytest.mark.parametrize("failure", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_journal_goes_on_without_its_housekeeper(
    directory: Path, failure: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Housekeeper) -> bool:
        raise failure("what nobody expects")

    monkeypatch.setattr(Housekeeper, "snapshot_is_due", fail)
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)

        def roll_over() -> None:
            for number in range(4):
                fill_segment(ledger, directory, f"round-{number}")

        work = threading.Thread(target=roll_over, daemon=True)
        assert ends_in_time(work), "the journal waits for a segment that nobody makes"
    assert len(journal_files(directory)) >= 4


def test_completed_submissions_come_in_their_order(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        for round in range(50):
            sent = []
            for number in range(5):
                submission = ledger.new_submission()
                submission.add("", f"{round}-{number}", "world", "alice", 1)
                ledger.submit(submission)
                sent.append(submission)
            done: list[ledgercore.Submission] = []
            while len(done) < len(sent):
                assert select.select([ledger.fileno()], [], [], PATIENCE_S)[0]
                done += ledger.completed()
            assert done == sent


def test_a_thread_that_cannot_start_leaves_nothing_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start
    started: list[threading.Thread] = []

    def start(self: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(ledgercore.MemoryUnavailable, match="a thread cannot be started"):
        open_small(directory, workers_min=4, workers_max=4)
    monkeypatch.undo()
    for thread in started:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    open_small(directory).close()


def test_an_interrupt_among_openings_leaks_nothing(directory: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    ledger = open_small(directory, accounts_max=1 << 17)
    try:
        for round in range(30):
            with suppress(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                ledger.open_accounts([f"{round}-{i}" for i in range(2000)], asset="USD/2")
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    work = threading.Thread(target=ledger.close, daemon=True)
    assert ends_in_time(work), "close waits for a caller that is long gone"
    lsn = ledgercore.verify(directory).lsn
    with open_small(directory, accounts_max=1 << 17) as again:
        assert lsn == again.statistics().lsn_applied == len(again.balances)


def test_repair_of_two_losses_at_once(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        for number in range(4):
            ledger.transfer("world", "alice", 1, key=f"key-{number}")
    (path,) = journal_files(directory)
    (directory / "seal").write_bytes(b"")
    with path.open("r+b") as file:
        file.seek(4096 + 192 + 64 + 200)
        file.write(b"\xff")
    repaired = ledgercore.repair(directory)
    assert repaired.action == "truncated" and repaired.kept_as is not None
    with open_small(directory) as ledger:
        assert ledger.statistics().lsn_applied == repaired.lsn_last
        assert ledger.audit(journal=True).ok


def test_a_shorter_time_for_keys_needs_no_larger_table(directory: Path) -> None:
    """A snapshot's keys make room by their own times, not by the newest one."""
    options = {"keys_max": 20_000, "snapshot_every": 0}
    with open_small(directory, key_ttl_s=1000, **options) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = ledger.transfer_batch(many_rows(2_000))
        deadline = int(first["time_ns"][0]) + 1_300_000_000
        while time.time_ns() < deadline:
            os.sched_yield()
        ledger.transfer_batch(many_rows(15_000, start=10_000))
    with open_small(directory, key_ttl_s=1, **options) as ledger:
        deadline = time.time_ns() + 1_100_000_000
        while time.time_ns() < deadline:
            os.sched_yield()
        ledger.transfer_batch(many_rows(2_000, start=30_000))
        ledger.open_accounts([f"acc-{i}-{'x' * 40}" for i in range(900)], asset="USD/2")
    capacity = Capacity(accounts_max=1024, keys_max=20_000, ring_records=1024)
    assert make_snapshot(FileStore(directory), capacity, sealed_only=False) is not None
    with open_small(directory, key_ttl_s=1, **options) as ledger:
        taken = ledger.transfer_batch(many_rows(15_000, start=40_000))["status"]
        assert np.isin(taken, [ledgercore.Status.APPLIED, ledgercore.Status.KEYS_FULL]).all()
    open_small(directory, key_ttl_s=1, **options).close()


def test_what_is_recovered_is_written_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that failed leaves pages that look written; only writing them again puts them down."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        ledger.transfer("world", "alice", 1, key="last")
    (path,) = journal_files(directory)
    written: list[tuple[Path, int, int]] = []
    real = files.DataDirectory.rewrite

    def rewrite(self: DataDirectory, path: Path, start: int, end: int) -> None:
        written.append((path, start, end))
        real(self, path, start, end)

    monkeypatch.setattr(files.DataDirectory, "rewrite", rewrite)
    before = path.read_bytes()
    open_small(directory).close()
    ((file, start, end),) = written
    # One transfer alone is a frame of 192 bytes, and it is the last one.
    assert (file, end - start) == (path, 192) and before[start : start + 4] == b"LCFR"
    assert path.read_bytes() == before


def test_an_interrupted_close_can_be_called_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_small(directory)
    open_funded(ledger, ["alice"], 10)

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ledger.close()
    monkeypatch.undo()
    ledger.close()
    with open_small(directory) as again:
        assert again.balance("alice") == 10
    seal = ledgercore.inspect(directory).seal
    assert seal is not None and seal["clean"]
