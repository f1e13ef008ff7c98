"""What an engine counts of itself: each outcome once, and the parts of a transfer's time."""

import select
from pathlib import Path

import ledgercore
from ledgercore import Engine, Status, Submission

COUNT = 40


def fill(engine: Engine, name: str, count: int, amount: int = 1) -> Submission:
    submission = engine.new_submission()
    for number in range(count):
        submission.add("", f"{name}-{number}", "world", "alice", amount)
    return submission


def finish(engine: Engine, submission: Submission) -> Submission:
    engine.submit(submission)
    assert select.select([engine.fileno()], [], [], 30)[0]
    assert engine.completed() == [submission]
    return submission


def open_accounts(engine: Engine) -> None:
    engine.open_account("world", asset="USD/2", floor=None)
    engine.open_account("alice", asset="USD/2")


def test_outcomes_and_replays_are_counted_once(tmp_path: Path) -> None:
    with ledgercore.open(tmp_path / "ledger") as engine:
        open_accounts(engine)
        finish(engine, fill(engine, "key", COUNT))
        finish(engine, fill(engine, "key", COUNT))
        finish(engine, fill(engine, "key", COUNT, amount=2))
        assert engine.transfer("alice", "world", 10**9, key="too-much").id > 0
        late = fill(engine, "late", 3)
        late.limit_time(1)
        finish(engine, late)
        measures = engine.measures()
    assert {status: count for status, count in measures.outcomes.items() if count} == {
        Status.APPLIED: COUNT,
        Status.KEY_REUSED: COUNT,
        Status.INSUFFICIENT_FUNDS: 1,
        Status.DEADLINE_PASSED: 3,
    }
    assert measures.replays == COUNT


def test_parts_of_the_time_follow_one_another(tmp_path: Path) -> None:
    with ledgercore.open(tmp_path / "ledger") as engine:
        open_accounts(engine)
        before = engine.measures()
        queued_ns, begun_ns, applied_ns, durable_ns = finish(
            engine, fill(engine, "key", COUNT)
        ).stamps
        after = engine.measures()
        assert 0 < queued_ns <= begun_ns < applied_ns < durable_ns
        # What an answer rests on is durable already: a replay waits for no disk.
        _, _, applied_ns, durable_ns = finish(engine, fill(engine, "key", 1)).stamps
        assert durable_ns == applied_ns
    assert after.kernel.since(before.kernel).count == COUNT
    assert after.queue.since(before.queue).count == COUNT
    assert after.journal.since(before.journal).count == COUNT
    assert after.batches.since(before.batches).percentile(50) >= COUNT
    assert after.groups.since(before.groups).sum == COUNT
    groups = after.sync.since(before.sync)
    assert groups.count == 1 and 0 < groups.sum < 10**10
    # 64 bytes a record and 128 a frame, rounded up to a block.
    assert after.journal_bytes - before.journal_bytes >= 64 * COUNT + 128


def test_engine_that_does_not_measure_tells_nothing(tmp_path: Path) -> None:
    with ledgercore.open(tmp_path / "ledger", instruments=0) as engine:
        open_accounts(engine)
        assert finish(engine, fill(engine, "key", COUNT)).stamps == (0, 0, 0, 0)
        measures = engine.measures()
    assert measures.kernel.count == measures.sync.count == measures.journal_bytes == 0
    assert not any(measures.outcomes.values())
