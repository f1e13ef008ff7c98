"""What an open journal needs now and then: the next file made ahead, and snapshots."""

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import ledgercore
from ledgercore.directory import SPARE_NAME
from ledgercore.housekeeping import Housekeeper
from ledgercore.verification import inspect
from tests.support.histories import journal_files, open_funded, open_small
from tests.support.making import many_rows, poll, recover, roll_over


def spare_is_ready(directory: Path) -> bool:
    """Whether the next file is there in its full size, under its own name or not yet."""
    spare = directory / "journal" / SPARE_NAME
    return len(journal_files(directory)) > 1 or (spare.exists() and spare.stat().st_size == 4 << 20)


def snapshots_of(directory: Path) -> list[Path]:
    return sorted((directory / "snapshots").glob("*.snapshot"))


def housekeeper_of(ledger: ledgercore.Engine) -> Housekeeper:
    assert isinstance(ledger._maintenance, Housekeeper)
    return ledger._maintenance


def test_the_next_file_is_made_once_half_of_this_one_is_used(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        # A third of the file: nothing yet.
        ledger.transfer_batch(many_rows(20_000))
        assert not (directory / "journal" / SPARE_NAME).exists()
        ledger.transfer_batch(many_rows(20_000, start=20_000))
        poll(lambda: spare_is_ready(directory), "a spare file")
        assert len(journal_files(directory)) == 1
    # A clean end leaves the spare behind, the next start removes it.
    with open_small(directory) as ledger:
        assert not (directory / "journal" / SPARE_NAME).exists()
        assert ledger.balance("alice") == 40_000


def test_the_journal_rolls_over_file_by_file(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        transfers = roll_over(ledger, directory, 4)
        assert ledger.balance("alice") == transfers and ledger.audit().ok
        assert [path.name for path in journal_files(directory)] == [
            f"{number:010}.segment" for number in range(1, 5)
        ]
        assert {path.stat().st_size for path in journal_files(directory)} == {4 << 20}
        assert snapshots_of(directory) == []
    with open_small(directory) as ledger:
        assert ledger.balance("alice") == transfers and ledger.audit().ok


def test_a_snapshot_appears_by_itself(directory: Path) -> None:
    with open_small(directory, snapshot_every=2) as ledger:
        open_funded(ledger, ["alice"], 0)
        transfers = roll_over(ledger, directory, 3)
        # It is looked at when half of a file is used.
        transfers += len(ledger.transfer_batch(many_rows(40_000, start=transfers)))
        poll(lambda: len(snapshots_of(directory)) > 0, "a snapshot")
        assert not list((directory / "snapshots").glob("*.tmp"))
        process = housekeeper_of(ledger).snapshotter
        assert process is not None and process.wait(30) == 0
    recovered = recover(directory)
    assert recovered.snapshot_lsn > 0 and recovered.lsn == transfers + 2
    with open_small(directory, snapshot_every=2) as ledger:
        assert ledger.balance("alice") == transfers and ledger.audit(journal=True).ok


def test_zero_makes_no_snapshot(directory: Path) -> None:
    with open_small(directory, snapshot_every=0) as ledger:
        open_funded(ledger, ["alice"], 0)
        transfers = roll_over(ledger, directory, 3)
        ledger.transfer_batch(many_rows(40_000, start=transfers))
        housekeeper = housekeeper_of(ledger)
        assert not housekeeper.snapshot_is_due()
    assert housekeeper.snapshotter is None and snapshots_of(directory) == []


def test_a_snapshot_is_due_once_for_the_same_files(directory: Path) -> None:
    with open_small(directory, snapshot_every=1) as ledger:
        housekeeper = housekeeper_of(ledger)
        assert not housekeeper.snapshot_is_due()
        open_funded(ledger, ["alice"], 0)
        assert not housekeeper.snapshot_is_due()
        roll_over(ledger, directory, 2)
        poll(lambda: len(journal_files(directory)) == 2, "a second file")
        due = housekeeper.snapshot_is_due()
        assert due or housekeeper.snapshotter is not None
    if not snapshots_of(directory):
        ledgercore.compact(directory)
    with open_small(directory, snapshot_every=1) as ledger:
        housekeeper = housekeeper_of(ledger)
        covered = int(snapshots_of(directory)[-1].stem)
        assert covered > 0 and not housekeeper.snapshot_is_due()


def test_closing_ends_the_thread_and_the_process(directory: Path) -> None:
    ledger = open_small(directory, snapshot_every=1)
    housekeeper = housekeeper_of(ledger)
    assert housekeeper.thread in threading.enumerate()
    open_funded(ledger, ["alice"], 0)
    roll_over(ledger, directory, 2)
    # It may be at work on one already; then this is one more of its kind.
    housekeeper.start_snapshot()
    process = housekeeper.snapshotter
    assert process is not None
    ledger.close()
    assert not housekeeper.thread.is_alive() and housekeeper.snapshotter is None
    assert process.poll() is not None
    # What it left half made is removed by the next start, and hides nothing.
    with open_small(directory) as again:
        assert not list((directory / "snapshots").glob("*.tmp"))
        assert again.audit().ok


def test_why_no_snapshot_was_made_is_told(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        roll_over(ledger, directory, 2)
        housekeeper = housekeeper_of(ledger)
        (directory / "seal").rename(directory / "aside")
        housekeeper.start_snapshot()
        assert housekeeper.snapshotter is not None
        housekeeper.snapshotter.wait(30)
        housekeeper.report_snapshot()
        (directory / "aside").rename(directory / "seal")
        assert housekeeper.snapshotter is None and snapshots_of(directory) == []
        assert ledger.transfer("world", "alice", 1, key="on").id > 0
    (record,) = caplog.records
    assert record.getMessage().startswith(f"no snapshot: {directory / 'seal'}")


def test_without_memory_for_a_thread_a_complaint_ends_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that makes segments goes on, and a close still seals."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with open_small(directory, snapshot_every=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        housekeeper = housekeeper_of(ledger)
        with monkeypatch.context() as scarce:
            scarce.setattr(housekeeper, "snapshot_is_due", lambda: 1 // 0)
            scarce.setattr(threading.Thread, "start", refuse)
            roll_over(ledger, directory, 3)
            assert housekeeper.thread.is_alive()
        (directory / "seal").rename(directory / "aside")
        housekeeper.start_snapshot()
        assert housekeeper.snapshotter is not None
        housekeeper.snapshotter.wait(30)
        (directory / "aside").rename(directory / "seal")
        monkeypatch.setattr(threading.Thread, "start", refuse)
    seal = inspect(directory).seal
    assert seal is not None and seal["clean"]


def test_a_pipe_that_nobody_reads_does_not_hold_the_housekeeper(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0), open(writing, "w", buffering=1) as full:
        handlers = [logging.StreamHandler(full)]
        monkeypatch.setattr(logging.getLogger("ledgercore"), "handlers", handlers)
        with open_small(directory, snapshot_every=1) as ledger:
            open_funded(ledger, ["alice"], 0)
            housekeeper = housekeeper_of(ledger)
            monkeypatch.setattr(housekeeper, "snapshot_is_due", lambda: 1 // 0)
            os.set_blocking(writing, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(writing, bytes(4096))
            os.set_blocking(writing, True)
            # Each new file has one complaint before it, which does not hold it up.
            roll_over(ledger, directory, 3)
        os.set_blocking(reading, False)
        with suppress(BlockingIOError):
            while os.read(reading, 1 << 20):
                pass
        poll(
            lambda: not any(thread.name == "telling" for thread in threading.enumerate()),
            "the complaints to be told",
        )
