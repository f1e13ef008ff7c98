"""The workers of an engine: how many there are, and that nothing is lost while they come and go."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledgercore
from ledgercore import Engine, InvalidArgument, QueueFull, Status
from ledgercore.options import Options
from tests.ledgercore.test_threads import check_sound, together
from tests.support.histories import balances_of, open_funded, open_small, wait_readable
from tests.support.model import rederive
from tests.support.waiting import wait_until

ACCOUNTS = [f"acct-{number}" for number in range(4)]
FUNDS = 1000
ROWS = 24
CALLS = 60


def live_workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("worker-")]


def wait_live(count: int) -> None:
    """Wait until no more than so many workers are there."""
    wait_until(lambda: len(live_workers()) == count, f"{count} workers to be left")


@pytest.fixture
def ledger(directory: Path) -> Iterator[Engine]:
    """Two segments of one to four workers."""
    with open_small(directory, segments=2, workers_max=4) as engine:
        open_funded(engine, ACCOUNTS, FUNDS)
        yield engine


def test_workers_are_started_and_retired_one_segment_at_a_time(ledger: Engine) -> None:
    assert ledger.workers == [1, 1]
    for segment, count, counts in ((0, 4, [4, 1]), (1, 2, [4, 2]), (0, 1, [1, 2]), (0, 1, [1, 2])):
        ledger.set_workers(segment, count)
        assert ledger.workers == counts
        assert [one.workers for one in ledger.statistics().segments] == counts
        assert ledger.statistics().workers == sum(counts)
        wait_live(sum(counts))
        names = Counter(thread.name.split("-")[1] for thread in live_workers())
        assert [names["0"], names["1"]] == counts


@pytest.mark.parametrize(
    ("segment", "count", "field"),
    [(0, 0, "count"), (0, 5, "count"), (0, True, "count"), (-1, 1, "segment"), (2, 1, "segment")],
)
def test_what_is_out_of_range_is_named(
    ledger: Engine, segment: int, count: int, field: str
) -> None:
    with pytest.raises(ValueError, match=field) as caught:
        ledger.set_workers(segment, count)
    assert isinstance(caught.value, InvalidArgument) and caught.value.field == field
    assert ledger.workers == [1, 1]


def test_a_segment_that_is_not_there_cannot_be_stalled(ledger: Engine) -> None:
    for segment in (-1, 2):
        with pytest.raises(InvalidArgument):
            ledger.stall(segment)


def test_the_least_may_not_exceed_the_most() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Options(workers_min=3, workers_max=2)
    assert caught.value.field == "workers_min"


def test_a_closed_engine_starts_none(directory: Path) -> None:
    with open_small(directory, workers_max=2) as ledger:
        threads = live_workers()
    with pytest.raises(ledgercore.EngineClosed):
        ledger.set_workers(0, 2)
    assert len(threads) == 1 and live_workers() == []


def test_closing_joins_also_those_that_were_retired(ledger: Engine) -> None:
    for _ in range(20):
        ledger.set_workers(0, 4)
        ledger.set_workers(0, 1)
    threads = live_workers()
    ledger.close()
    assert live_workers() == [] and not any(thread.is_alive() for thread in threads)


def test_those_that_have_ended_are_forgotten(ledger: Engine) -> None:
    for _ in range(5):
        ledger.set_workers(0, 4)
        ledger.set_workers(0, 1)
    wait_live(2)
    ledger.set_workers(0, 2)
    assert len(ledger._workers._threads) == 3


def test_what_could_be_started_stays(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if len(live_workers()) == 4:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError):
        ledger.set_workers(0, 4)
    monkeypatch.undo()
    assert ledger.workers == [3, 1] and len(live_workers()) == 4
    ledger.set_workers(0, 4)
    assert ledger.workers == [4, 1] and len(live_workers()) == 5


def submit_all(ledger: Engine, name: str, sent: list[str]) -> None:
    """Submit many batches to both segments, again and again where the queue is full."""
    random = np.random.default_rng(len(name) + ord(name[-1]))
    for call in range(CALLS):
        submission = ledger.new_submission()
        for row in range(ROWS):
            source, target = random.choice(ACCOUNTS, 2)
            submission.add("", f"{name}-{call}-{row}", source, target, int(random.integers(1, 99)))
        while True:
            try:
                ledger.submit(submission, call % 2)
                break
            except QueueFull:
                ledger.statistics()
        sent.append(f"{name}-{call}")


@pytest.mark.parametrize("durability", ["sync", "memory"])
def test_nothing_is_lost_or_done_twice_while_workers_come_and_go(
    directory: Path, durability: str
) -> None:
    options = {"segments": 2, "workers_max": 4, "queue_size": 256, "batch_max": ROWS}
    with open_small(directory, durability=durability, **options) as ledger:
        open_funded(ledger, ACCOUNTS, FUNDS)
        ledger._executor.inline_max = 0  # Let the workers do all of it.
        sent: list[str] = []
        told = Counter[int]()
        finished = threading.Event()
        completed = 0

        def collect() -> None:
            nonlocal completed
            while completed < 4 * CALLS:
                wait_readable(ledger)
                for submission in ledger.completed():
                    assert not submission.failed
                    completed += 1
                    outcomes = [submission.outcome(index) for index in range(ROWS)]
                    told.update(outcome.id for outcome in outcomes)
                    assert Status.APPLIED in {outcome.status for outcome in outcomes}
            finished.set()

        def change(seed: int) -> None:
            random = np.random.default_rng(seed)
            changes = 0
            while not finished.is_set() or changes < 20:
                ledger.set_workers(int(random.integers(2)), int(random.integers(1, 5)))
                changes += 1

        submitters = [lambda name=name: submit_all(ledger, name, sent) for name in "abcd"]
        together([collect, lambda: change(1), lambda: change(2), *submitters])
        assert len({*sent}) == 4 * CALLS and ledger.statistics().queue_depth == 0
        # Every id once, none left out: as many as were sent, after the accounts and their funds.
        first = 2 + 2 * len(ACCOUNTS)
        assert sorted(told.elements()) == [*range(first, first + 4 * CALLS * ROWS)]
        check_sound(ledger)
        assert sum(ledger.workers) == ledger.statistics().workers >= 2
        balances = balances_of(ledger)
    assert live_workers() == []
    if durability == "sync":
        model = rederive(ledgercore.read_journal(directory))
        assert {id: account.balance for id, account in model.accounts.items()} == balances
        assert set(told) <= model.transfers.keys()


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("workers"), st.integers(1, 3)),
            st.tuples(st.just("submit"), st.integers(1, 20)),
            st.tuples(st.just("stall"), st.booleans()),
        ),
        max_size=20,
    )
)
def test_any_order_of_steps_ends_with_everything_done(steps: list[tuple[str, int]]) -> None:
    options = {"durability": "memory", "workers_max": 3, "keys_max": 1 << 12}
    with open_small(None, **options) as ledger:
        open_funded(ledger, ["alice"], 0)
        total, sent = 0, 0
        for what, value in steps:
            if what == "workers":
                ledger.set_workers(0, value)
                assert ledger.workers == [value]
            elif what == "stall":
                ledger.stall(0, bool(value))
            else:
                submission = ledger.new_submission()
                for row in range(value):
                    submission.add("", f"{sent}-{row}", "world", "alice", 1)
                ledger.submit(submission)
                sent, total = sent + 1, total + value
    # Closing ends a stall, and finishes what was taken.
    assert len(ledger.completed()) == sent and list(ledger.balances) == [-total, total]
    assert live_workers() == []


def test_a_stalled_segment_holds_up_nobody_else(directory: Path) -> None:
    """A bulkhead: what the others do needs nothing that the stalled segment holds."""
    with open_small(directory, segments=2, queue_size=512) as ledger:
        open_funded(ledger, ["alice"], 0)
        ledger.stall(0)
        held = []
        for number in range(4):
            submission = ledger.new_submission(128)
            for row in range(128):
                submission.add("", f"held-{number}-{row}", "world", "alice", 1)
            assert ledger.submit(submission, 0)
            held.append(submission)
        late = ledger.new_submission(1)
        late.add("", "late", "world", "alice", 1)
        with pytest.raises(QueueFull):
            ledger.submit(late, 0)
        for number in range(50):
            # Now in the caller's thread, now by the worker.
            ledger._executor.inline_max = 512 * (number % 2)
            submission = ledger.new_submission(1)
            submission.add("", f"other-{number}", "world", "alice", 1)
            ledger.submit(submission, 1)
            wait_readable(ledger)
            assert ledger.completed() == [submission]
        assert [one.queue_depth for one in ledger.statistics().segments] == [512, 0]
        assert ledger.balance("alice") == 50
        ledger.stall(0, False)
        found: list[ledgercore.Submission] = []
        while len(found) < 4:
            wait_readable(ledger)
            found += ledger.completed()
        assert found == held and ledger.balance("alice") == 50 + 512
        assert ledger.audit(journal=True).ok
