"""The engine alone, on one core: transfers in memory and durable, recovery, and single calls.

Everything is warmed before it is timed, since the first touch of memory can cost a virtual machine
seconds a gigabyte: the key table is committed at the start, opening the accounts touches theirs,
and the first round of each figure does not count. For recovery that means that the same process
has recovered the same journal before, and the journal is in the page cache.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore import Engine, Status

from .machine import pick_cores, run_on
from .measure import Meter, make_figure, make_rate
from .workloads import Call, Rows, Workload

ACCOUNTS = 1_000_000
BATCH_ROWS = 8_192
ROUNDS = 11
RECOVERY_ROUNDS = 5
RECOVERY_ROWS = 4_194_304
MANY_ROWS = 64 * BATCH_ROWS
KEYS = 9_000_000
"""How many keys the table is committed for: more than all rounds on one engine use."""

WORKLOAD = Workload(ACCOUNTS)


def open_ledger(path: Path | None = None, durability: str = "sync") -> Engine:
    """Open a ledger that has all the memory it will need, and makes no snapshots meanwhile."""
    return ledgercore.open(
        path,
        durability=durability,
        accounts_max=ACCOUNTS,
        keys_max=KEYS + 1_000,
        keys_reserved=KEYS,
        snapshot_every=0,
    )


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Keep the engine, with all its threads, on one core."""
    with run_on(pick_cores()[0]):
        yield


@pytest.fixture(scope="module")
def streams() -> Iterator[int]:
    """Yield numbers for streams of transfers, none of them twice."""
    return itertools.count()


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Engine]:
    """Open a ledger without a journal, and its accounts."""
    with open_ledger(durability="memory") as engine:
        WORKLOAD.open_accounts(engine)
        yield engine


@pytest.fixture(scope="module")
def durable(scratch: Path) -> Iterator[Engine]:
    """Open a ledger with a journal, and its accounts."""
    with open_ledger(scratch / "durable") as engine:
        WORKLOAD.open_accounts(engine)
        yield engine


@pytest.fixture(scope="module")
def journal(scratch: Path) -> Path:
    """Write a journal of one record for each account, and RECOVERY_ROWS transfers."""
    directory = scratch / "journal"
    with open_ledger(directory) as engine:
        WORKLOAD.open_accounts(engine)
        apply_all(engine, WORKLOAD.transfers(RECOVERY_ROWS))
    return directory


def apply_all(engine: Engine, rows: Rows) -> None:
    """Apply rows in one call, and see to it that each was applied."""
    outcomes = engine.transfer_batch(rows)
    assert not np.any(outcomes["status"]), "a transfer of the workload was refused"


def apply_in_calls(engine: Engine, rows: Rows) -> None:
    """Apply rows in calls of BATCH_ROWS, each of which waits for its own end."""
    for start in range(0, len(rows), BATCH_ROWS):
        apply_all(engine, rows[start : start + BATCH_ROWS])


def check_sound(engine: Engine) -> None:
    """Check that the ledger that was measured is sound."""
    assert engine.audit().ok


def test_batches_in_memory(meter: Meter, in_memory: Engine, streams: Iterator[int]) -> None:
    timed = meter.time_rounds(
        MANY_ROWS,
        lambda: WORKLOAD.transfers(MANY_ROWS, next(streams)),
        lambda rows: apply_in_calls(in_memory, rows),
        rounds=ROUNDS,
    )
    meter.keep(make_rate("memory, calls of 8,192", "transfers/s", timed, goal=4e6))
    check_sound(in_memory)


def test_durable_batches(meter: Meter, durable: Engine, streams: Iterator[int]) -> None:
    rows = MANY_ROWS // 2
    timed = meter.time_rounds(
        rows,
        lambda: WORKLOAD.transfers(rows, next(streams)),
        lambda batch: apply_in_calls(durable, batch),
        rounds=ROUNDS,
    )
    meter.keep(make_rate("durable, calls of 8,192", "transfers/s", timed, goal=2.5e6))


def test_durable_many(meter: Meter, durable: Engine, streams: Iterator[int]) -> None:
    timed = meter.time_rounds(
        MANY_ROWS,
        lambda: WORKLOAD.transfers(MANY_ROWS, next(streams)),
        lambda rows: apply_all(durable, rows),
        rounds=ROUNDS - 2,
    )
    meter.keep(make_rate("durable, one call of 524,288", "transfers/s", timed, goal=2.5e6))
    check_sound(durable)


def test_recovery(meter: Meter, journal: Path) -> None:
    opened: list[Engine] = []
    replays: list[float] = []

    def recover(_: None) -> None:
        opened.append(open_ledger(journal))

    def close(_: None) -> None:
        engine = opened.pop()
        assert engine.recovered is not None
        assert engine.recovered.records == ACCOUNTS + RECOVERY_ROWS
        replays.append(engine.recovered.records / engine.recovered.seconds)
        engine.close()

    records = ACCOUNTS + RECOVERY_ROWS
    timed = meter.time_rounds(records, _nothing, recover, rounds=RECOVERY_ROUNDS, clean_up=close)
    note = f"{records:,} records, of which {ACCOUNTS:,} open accounts"
    # The first replay was the round that does not count.
    figure = make_figure(
        "recovery, by its own clock", "records/s", replays[1:], goal=5e6, note=note
    )
    meter.keep(figure)
    meter.keep(make_rate("recovery, open() as a whole", "records/s", timed))


def _nothing() -> None:
    """Prepare a round that needs nothing."""


def time_single_calls(engine: Engine, calls: list[Call]) -> list[float]:
    """Return how long each single transfer took, in seconds."""
    clock, transfer = time.perf_counter, engine.transfer
    times_s = []
    for source, target, amount, key in calls:
        started = clock()
        outcome = transfer(source, target, amount, key=key)
        times_s.append(clock() - started)
        assert outcome.status is Status.APPLIED
    return times_s


@pytest.mark.parametrize(("name", "count"), [("durable", 100), ("in_memory", 10_000)])
def test_single_calls(
    name: str, count: int, meter: Meter, request: pytest.FixtureRequest, streams: Iterator[int]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    times_s: list[float] = []
    timed = meter.time_rounds(
        count,
        lambda: WORKLOAD.calls(count, next(streams)),
        lambda calls: times_s.extend(time_single_calls(engine, calls)),
        rounds=ROUNDS,
    )
    counted = np.array(times_s[count:]) * 1e6
    low, median, high = np.percentile(counted, [10, 50, 99])
    title = f"one transfer, {name.replace('_', ' ')}"
    note = f"p10 {low:,.1f} µs, p50 {median:,.1f} µs, p99 {high:,.1f} µs"
    meter.keep(make_rate(title, "transfers/s", timed, note=note))
