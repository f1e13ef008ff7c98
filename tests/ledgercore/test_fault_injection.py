"""Faults that an engine is asked for: each happens, once, and nothing is lost by it."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import ledgercore
from ledgercore import Engine, EngineClosed, EngineFailed, InvalidArgument, OutcomeUnknown
from tests.support.histories import open_funded, open_small, wait_readable
from tests.support.waiting import wait_until

DELAY_MS = 150


@pytest.fixture
def ledger(directory: Path) -> Iterator[Engine]:
    with open_small(directory, segments=2) as engine:
        open_funded(engine, ["alice", "bob"], 1000)
        yield engine


def time_transfer_ms(ledger: Engine, key: str) -> float:
    start_s = monotonic()
    assert ledger.transfer("alice", "bob", 1, key=key).status is ledgercore.Status.APPLIED
    return (monotonic() - start_s) * 1000


def test_one_sync_is_late(ledger: Engine) -> None:
    ledger.fault_injection.inject_sync_fault(delay_ms=DELAY_MS)
    assert time_transfer_ms(ledger, "late") >= DELAY_MS
    assert time_transfer_ms(ledger, "next") < DELAY_MS


def test_what_has_not_happened_can_be_taken_back(ledger: Engine) -> None:
    ledger.fault_injection.inject_sync_fault(delay_ms=DELAY_MS, error=errno.EIO)
    ledger.fault_injection.inject_sync_fault()
    assert time_transfer_ms(ledger, "next") < DELAY_MS
    assert ledger.failure is None


def test_a_sync_that_fails_stops_the_engine_for_good(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 1000)
        time_transfer_ms(ledger, "told")
        ledger.fault_injection.inject_sync_fault(error=errno.EIO)
        with pytest.raises(OutcomeUnknown):
            ledger.transfer("alice", "bob", 1, key="open")
        assert ledger.failure is not None and os.strerror(errno.EIO) in ledger.failure
        with pytest.raises(EngineFailed):
            ledger.transfer("alice", "bob", 1, key="refused")
    with open_small(directory) as ledger:
        assert ledger.find_key("told").state == "applied"
        assert ledger.find_key("refused").state == "unseen"
        is_there = ledger.find_key("open").state == "applied"
        assert ledger.balance("bob") == 1001 + is_there


@pytest.mark.parametrize("options", [{"delay_ms": -1}, {"delay_ms": 60_001}, {"error": -1}])
def test_what_is_out_of_range_is_named(ledger: Engine, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ledger.fault_injection.inject_sync_fault(**options)
    assert caught.value.field in options


def test_in_memory_no_sync_can_be_made_to_fail() -> None:
    with open_small(None, durability="memory") as ledger:
        open_funded(ledger, ["alice", "bob"], 1000)
        ledger.fault_injection.inject_sync_fault(delay_ms=60_000, error=errno.EIO)
        time_transfer_ms(ledger, "quick")
        assert ledger.failure is None


# -- workers ------------------------------------------------------------------------------------


def live_workers(segment: int) -> set[threading.Thread]:
    return {
        thread for thread in threading.enumerate() if thread.name.startswith(f"worker-{segment}-")
    }


def submit_one(ledger: Engine, key: str, segment: int = 1) -> bool:
    submission = ledger.new_submission(1)
    submission.add("", key, "alice", "bob", 1, None)
    return ledger.submit(submission, segment)


def test_a_worker_ends_and_another_begins(ledger: Engine) -> None:
    (old,), others = live_workers(1), live_workers(0)

    def replace() -> bool:
        # Whichever of two takes the order to go, so that the old one may stay for a while.
        ledger.fault_injection.replace_worker(1)
        return not old.is_alive()

    wait_until(replace, "the old worker to end")
    wait_until(lambda: len(live_workers(1)) == 1, "one worker to be left")
    assert ledger.workers == [1, 1] and live_workers(0) == others
    ledger.fault_injection.leave_to_workers()
    assert submit_one(ledger, "after") is True
    (done,) = wait_completed(ledger, 1)
    assert done.outcome(0).status is ledgercore.Status.APPLIED


def wait_completed(ledger: Engine, count: int) -> list[ledgercore.Submission]:
    found: list[ledgercore.Submission] = []
    while len(found) < count:
        wait_readable(ledger)
        found += ledger.completed()
    return found


def test_nothing_is_lost_while_workers_are_replaced(ledger: Engine) -> None:
    count = 300
    ledger.fault_injection.leave_to_workers()
    for number in range(count):
        assert submit_one(ledger, f"key-{number}", number % 2)
        if number % 3 == 0:
            ledger.fault_injection.replace_worker(number % 2)
    done = wait_completed(ledger, count)
    ids = {submission.outcome(0).id for submission in done}
    assert len(done) == len(ids) == count
    assert ledger.balance("bob") == 1000 + count and ledger.workers == [1, 1]


def test_a_worker_of_a_stalled_segment_can_be_replaced(ledger: Engine) -> None:
    ledger.stall(1)
    assert submit_one(ledger, "held") is True
    ledger.fault_injection.replace_worker(1)
    assert ledger.completed() == []
    ledger.stall(1, False)
    (done,) = wait_completed(ledger, 1)
    assert done.outcome(0).status is ledgercore.Status.APPLIED


def test_small_batches_go_past_the_workers_again(ledger: Engine) -> None:
    assert submit_one(ledger, "here") is False
    ledger.fault_injection.leave_to_workers()
    assert submit_one(ledger, "there") is True
    wait_completed(ledger, 2)
    ledger.fault_injection.leave_to_workers(False)
    assert submit_one(ledger, "here-again") is False
    wait_completed(ledger, 1)


def test_where_no_thread_can_be_started_none_ends(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = live_workers(0)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError):
        ledger.fault_injection.replace_worker(0)
    monkeypatch.undo()
    assert live_workers(0) == before and ledger.workers == [1, 1]


def test_no_worker_is_replaced_that_is_not_there(ledger: Engine) -> None:
    with pytest.raises(InvalidArgument):
        ledger.fault_injection.replace_worker(2)
    ledger.close()
    with pytest.raises(EngineClosed):
        ledger.fault_injection.replace_worker(0)
