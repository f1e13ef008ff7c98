"""Deadlines of transfers: what is late is never applied, but told where its key is known already.

A row that is only looked up is one that has always been late.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledgercore
from ledgercore import EngineClosed, QueueFull, Status, Submission
from ledgercore.accounts import balances
from tests.ledgercore.test_pipeline import QUEUE_SIZE, Stage
from tests.support.histories import open_funded, open_small, wait_readable
from tests.support.waiting import wait_until

LATE, NONE = 1, 0
FAR = 1 << 62
DEADLINES = [NONE, LATE, FAR]


@pytest.fixture
def ledger() -> Iterator[ledgercore.Engine]:
    with open_small(None, durability="memory") as engine:
        open_funded(engine, ["a", "b"], 1000)
        yield engine


def complete(ledger: ledgercore.Engine, submission: Submission) -> list[Status]:
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]
    return [submission.outcome(row).status for row in range(len(submission))]


def fill(ledger: ledgercore.Engine, deadlines: list[int], prefix: str = "k") -> Submission:
    submission = ledger.new_submission(max(len(deadlines), 1))
    for row, deadline_ns in enumerate(deadlines):
        submission.add("", f"{prefix}-{row}", "a", "b", 1)
        submission.limit_time(deadline_ns, row)
    return submission


# -- one row ---------------------------------------------------------------------------------------


def test_what_is_late_leaves_nothing_behind(ledger: ledgercore.Engine) -> None:
    before = ledger.statistics()
    submission = fill(ledger, [LATE])
    assert complete(ledger, submission) == [Status.DEADLINE_PASSED]
    outcome = submission.outcome(0)
    assert (outcome.id, outcome.replayed) == (0, False)
    after = ledger.statistics()
    assert (after.lsn_applied, after.keys) == (before.lsn_applied, before.keys)
    assert ledger.peek_account("a").balance == 1000
    assert ledger.find_key("k-0", "").state == "unseen"
    # The key is free, for any payload.
    assert ledger.transfer("a", "b", 7, key="k-0").status is Status.APPLIED
    assert ledger.audit().ok


@pytest.mark.parametrize("deadline_ns", [NONE, FAR])
def test_what_is_not_late_is_applied(ledger: ledgercore.Engine, deadline_ns: int) -> None:
    assert complete(ledger, fill(ledger, [deadline_ns])) == [Status.APPLIED]


def test_the_clock_is_the_monotonic_one(ledger: ledgercore.Engine) -> None:
    now_ns = time.monotonic_ns()
    assert complete(ledger, fill(ledger, [now_ns], "past")) == [Status.DEADLINE_PASSED]
    soon_ns = time.monotonic_ns() + 3_600_000_000_000
    assert complete(ledger, fill(ledger, [soon_ns], "soon")) == [Status.APPLIED]


def test_a_late_try_of_a_stored_key_is_told_what_became_of_it(ledger: ledgercore.Engine) -> None:
    first = fill(ledger, [NONE])
    assert complete(ledger, first) == [Status.APPLIED]
    before = ledger.statistics()
    again = fill(ledger, [LATE])
    assert complete(ledger, again) == [Status.APPLIED] and again.late_count == 0
    outcome = again.outcome(0)
    assert outcome.replayed and outcome.id == first.outcome(0).id
    assert outcome.time_ns == first.outcome(0).time_ns
    other = ledger.new_submission()
    other.add("", "k-0", "a", "b", 2)
    other.limit_time(LATE)
    assert complete(ledger, other) == [Status.KEY_REUSED]
    assert (other.outcome(0).id, other.outcome(0).replayed) == (0, False)
    assert ledger.statistics().lsn_applied == before.lsn_applied
    assert ledger.peek_account("b").balance == 1001


def test_a_late_try_of_a_refusal_is_told_the_refusal(ledger: ledgercore.Engine) -> None:
    """Also where the account, that was not there then, is there now."""
    submission = ledger.new_submission()
    submission.add("", "x", "nobody", "b", 1)
    assert complete(ledger, submission) == [Status.SOURCE_NOT_FOUND]
    ledger.open_account("nobody", asset="USD/2", floor=None)
    late = ledger.new_submission()
    late.add("", "x", "nobody", "b", 1)
    late.limit_time(LATE)
    assert complete(ledger, late) == [Status.SOURCE_NOT_FOUND] and late.outcome(0).replayed


def test_a_late_try_is_not_told_before_its_first_is_durable(tmp_path: Path) -> None:
    with open_small(tmp_path / "ledger") as ledger:
        open_funded(ledger, ["a", "b"], 1000)
        ledger.fault_injection.inject_sync_fault(delay_ms=200)
        first, late = fill(ledger, [NONE]), fill(ledger, [LATE])
        ledger.submit(first)
        ledger.submit(late)
        done: list[Submission] = []
        while len(done) < 2:
            wait_readable(ledger)
            done += ledger.completed()
            durable = ledger.statistics().lsn_durable
            assert all(submission.outcome(0).id <= durable for submission in done)
        assert late.outcome(0).replayed and late.outcome(0).id == first.outcome(0).id


def test_a_refusal_that_is_late_is_none(ledger: ledgercore.Engine) -> None:
    submission = ledger.new_submission()
    for key, source, amount in (("x", "nobody", 1), ("y", "a", 10**9), ("z", "a", 1)):
        submission.add("", key, source, "b", amount)
    submission.limit_time(LATE)
    assert complete(ledger, submission) == [Status.DEADLINE_PASSED] * 3
    assert [ledger.find_key(key, "").state for key in "xyz"] == ["unseen"] * 3


# -- many rows -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(DEADLINES), st.integers(0, 5)), max_size=40))
def test_rows_are_judged_one_by_one(rows: list[tuple[int, int]]) -> None:
    """Against a model: late rows are as if they had not been there, but for what they are told."""
    with open_small(None, durability="memory", batch_max=8) as ledger:
        open_funded(ledger, ["a", "b"], 10)
        before = ledger.statistics().lsn_applied
        submission = ledger.new_submission(64)
        for row, (deadline_ns, key) in enumerate(rows):
            submission.add("", f"k-{key}", "a", "b", key + 1)
            if deadline_ns != NONE or row % 2:
                submission.limit_time(deadline_ns, row)
        left, stored, expected = 10, {}, []
        for deadline_ns, key in rows:
            status = Status.DEADLINE_PASSED
            if deadline_ns != LATE:
                if key not in stored:
                    stored[key] = Status.APPLIED if left >= key + 1 else Status.INSUFFICIENT_FUNDS
                    left -= key + 1 if stored[key] is Status.APPLIED else 0
                status = stored[key]
            expected.append(stored.get(key, status))
        assert complete(ledger, submission) == expected
        assert ledger.peek_account("a").balance == left
        assert ledger.statistics().lsn_applied == before + len(stored)
        for key in range(6):
            state = ledger.find_key(f"k-{key}", "").state
            wanted = {Status.APPLIED: "applied", Status.INSUFFICIENT_FUNDS: "refused"}
            assert state == wanted.get(stored.get(key, Status.KEY_MISSING), "unseen")
        assert ledger.audit().ok


def test_one_time_for_all_so_far(ledger: ledgercore.Engine) -> None:
    submission = fill(ledger, [FAR, NONE, FAR])
    submission.limit_time(LATE)
    # What comes after has none.
    wide = ledger.new_submission(4)
    wide.add("", "w-0", "a", "b", 1)
    wide.limit_time(LATE)
    wide.add("", "w-1", "a", "b", 1)
    assert complete(ledger, submission) == [Status.DEADLINE_PASSED] * 3
    assert complete(ledger, wide) == [Status.DEADLINE_PASSED, Status.APPLIED]


def test_a_deadline_can_be_taken_away(ledger: ledgercore.Engine) -> None:
    submission = fill(ledger, [LATE, LATE])
    submission.limit_time(NONE, 0)
    assert complete(ledger, submission) == [Status.APPLIED, Status.DEADLINE_PASSED]


def test_growing_keeps_the_deadlines(ledger: ledgercore.Engine) -> None:
    """The memory moves several times on the way."""
    deadlines = [LATE if row % 3 == 0 else FAR if row % 3 == 1 else NONE for row in range(500)]
    submission = ledger.new_submission(500)
    submission.add("", "g-0", "a", "b", 1)
    submission.limit_time(LATE, 0)
    for row in range(1, 500):
        submission.add("", f"g-{row}", "a", "b", 1)
        if deadlines[row] != NONE:
            submission.limit_time(deadlines[row], row)
    late = {row for row, status in enumerate(complete(ledger, submission)) if status}
    assert late == set(range(0, 500, 3))


def test_misuse_is_told(ledger: ledgercore.Engine) -> None:
    submission = fill(ledger, [NONE])
    for index in (-1, 1, 1 << 31):
        with pytest.raises(IndexError):
            submission.limit_time(LATE, index)
    assert complete(ledger, submission) == [Status.APPLIED]
    with pytest.raises(ValueError, match="submitted before"):
        submission.limit_time(LATE)


def test_a_late_row_survives_no_restart(tmp_path: Path) -> None:
    with open_small(tmp_path / "ledger") as ledger:
        open_funded(ledger, ["a", "b"], 1000)
        assert complete(ledger, fill(ledger, [LATE, FAR, LATE])) == [
            Status.DEADLINE_PASSED,
            Status.APPLIED,
            Status.DEADLINE_PASSED,
        ]
    with open_small(tmp_path / "ledger") as ledger:
        states = [ledger.find_key(f"k-{row}", "").state for row in range(3)]
        assert states == ["unseen", "applied", "unseen"]
        assert ledger.peek_account("b").balance == 1001
        assert ledger.audit().ok


# -- only looked up --------------------------------------------------------------------------------


def look_up(ledger: ledgercore.Engine, submission: Submission) -> list[Status]:
    ledger.look_up(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]
    return [submission.outcome(row).status for row in range(len(submission))]


def test_what_is_looked_up_is_answered_from_its_keys_alone(ledger: ledgercore.Engine) -> None:
    assert complete(ledger, fill(ledger, [NONE] * 2)) == [Status.APPLIED] * 2
    before = ledger.statistics()
    asked = fill(ledger, [NONE] * 4)
    assert look_up(ledger, asked) == [Status.APPLIED] * 2 + [Status.DEADLINE_PASSED] * 2
    assert asked.late_count == 2
    assert [asked.outcome(row).replayed for row in range(4)] == [True, True, False, False]
    after = ledger.statistics()
    assert (after.lsn_applied, after.keys) == (before.lsn_applied, before.keys)
    assert ledger.peek_account("b").balance == 1002
    # And no meter takes it for work of the journal.
    assert ledger.measures().replays == 2


def test_a_second_look_sees_what_has_come_meanwhile(ledger: ledgercore.Engine) -> None:
    """And leaves alone what was applied by the submission itself."""
    late = fill(ledger, [FAR, LATE, LATE])
    expected = [Status.APPLIED, Status.DEADLINE_PASSED, Status.DEADLINE_PASSED]
    assert complete(ledger, late) == expected
    first = late.outcome(0)
    other = ledger.new_submission()
    other.add("", "k-1", "a", "b", 1)
    assert complete(ledger, other) == [Status.APPLIED]
    assert look_up(ledger, late) == [Status.APPLIED, Status.APPLIED, Status.DEADLINE_PASSED]
    assert late.outcome(0) == first and not first.replayed
    assert late.outcome(1).replayed and late.outcome(1).id == other.outcome(0).id
    assert late.late_count == 1
    assert ledger.transfer("a", "b", 1, key="k-2").status is Status.APPLIED
    assert look_up(ledger, late) == [Status.APPLIED] * 3 and late.late_count == 0
    assert ledger.peek_account("b").balance == 1003


def test_what_is_under_way_cannot_be_looked_up(stage: Stage) -> None:
    submission = stage.batch(2)
    stage.executor.submit(submission, 0)
    with pytest.raises(ValueError, match="under way"):
        stage.executor.look_up(submission)
    assert stage.finish() == [submission]
    with pytest.raises(EngineClosed):
        stage.executor.look_up(submission)


# -- a queue that is held up -----------------------------------------------------------------------


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A pipeline whose workers are not there yet."""
    found = Stage()
    yield found
    found.finish()


def test_what_becomes_late_in_the_queue_is_not_applied(stage: Stage) -> None:
    """In time when it was queued, late when a worker came."""
    passed, ahead, open_end = stage.batch(5, "a"), stage.batch(5, "b"), stage.batch(5, "c")
    deadline_ns = time.monotonic_ns() + 20_000_000
    passed.limit_time(deadline_ns)
    ahead.limit_time(FAR)
    for submission in (passed, ahead, open_end):
        stage.executor.submit(submission, 0)
    assert time.monotonic_ns() < deadline_ns, "the machine was too busy for this test"
    wait_until(lambda: time.monotonic_ns() > deadline_ns, "the deadline to pass")
    assert stage.finish() == [passed, ahead, open_end]
    assert [passed.outcome(row).status for row in range(5)] == [Status.DEADLINE_PASSED] * 5
    assert ahead.outcome(4).status is open_end.outcome(4).status is Status.APPLIED
    assert list(balances(stage.ledger)) == [-10, 10]


def test_late_rows_make_room_in_a_full_queue(stage: Stage) -> None:
    full = stage.batch(QUEUE_SIZE, "a")
    full.limit_time(LATE)
    stage.executor.submit(full, 0)
    refused = stage.batch(1, "b")
    refused.limit_time(FAR)
    with pytest.raises(QueueFull):
        stage.executor.submit(refused, 0)
    stage.start(0)
    wait_until(lambda: stage.executor.queue_depth == 0, "a worker")
    stage.executor.submit(refused, 0)
    assert {*stage.finish()} == {full, refused}
    assert refused.outcome(0).status is Status.APPLIED
    assert list(balances(stage.ledger)) == [-1, 1]
