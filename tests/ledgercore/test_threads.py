"""Many threads on few accounts: what no test of one thread can see.

Sums alone prove nothing here, an unlocked kernel keeps them too; so the outcome of every LSN is
derived anew from the journal. This file also runs under ThreadSanitizer. Threads therefore start
at a barrier and make many calls, so that their GIL-free regions overlap: one long call per thread
would be ordered by the hand-over of the GIL, and hide its races.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import ledgercore
from ledgercore import Status
from tests.support.histories import balances_of, open_funded, open_small, wait_readable
from tests.support.model import rederive

ACCOUNTS = [f"acct-{number}" for number in range(4)]
FUNDS = 50
ROWS = 64
CALLS = 40
SHARED_KEYS = 64
Batch = npt.NDArray[np.void]


@pytest.fixture(params=["sync", "memory"])
def crowded(request: pytest.FixtureRequest, directory: Path) -> Iterator[ledgercore.Engine]:
    """Few accounts with little money, two segments with two workers each."""
    path = directory if request.param == "sync" else None
    options = {"segments": 2, "workers_min": 2, "workers_max": 2}
    with open_small(path, durability=request.param, **options) as ledger:
        open_funded(ledger, ACCOUNTS, FUNDS)
        yield ledger


def random_batch(ledger: ledgercore.Engine, random: np.random.Generator, name: str) -> Batch:
    """Rows among all accounts, `world` seldom the source; some keys are everybody's."""
    batch = np.zeros(ROWS, ledgercore.TRANSFER)
    keys = [
        f"shared-{random.integers(SHARED_KEYS)}" if random.random() < 0.1 else f"{name}-{row}"
        for row in range(ROWS)
    ]
    batch["key"] = ledger.fingerprints(keys)
    batch["from"] = random.integers(1, len(ACCOUNTS) + 1, ROWS)
    batch["to"] = random.integers(0, len(ACCOUNTS) + 1, ROWS)
    batch["from"][random.random(ROWS) < 0.1] = 0
    batch["amount"] = random.integers(1, FUNDS, ROWS)
    return batch


def together(works: list[Callable[[], None]]) -> None:
    """Run all works at once, each in its thread; raises what any of them raised."""
    start = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            start.wait()
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def submit_all(
    ledger: ledgercore.Engine, random: np.random.Generator, seen: list[ledgercore.Outcome]
) -> None:
    """The service's way: fill submissions, queue them in both segments, collect what completes."""
    waiting: set[int] = set()
    for call in range(CALLS):
        submission = ledger.new_submission()
        for row in range(ROWS):
            shared = random.random() < 0.1
            key = f"shared-{random.integers(SHARED_KEYS)}" if shared else f"queue-{call}-{row}"
            source, target = random.choice(ACCOUNTS), random.choice([*ACCOUNTS, "world"])
            submission.add("", key, source, target, int(random.integers(1, FUNDS)), None)
        ledger.submit(submission, call % 2)
        waiting.add(id(submission))
        while len(waiting) > 4 or (waiting and call == CALLS - 1):
            wait_readable(ledger)
            for done in ledger.completed():
                waiting.remove(id(done))
                seen += [done.outcome(index) for index in range(len(done))]


def check_sound(ledger: ledgercore.Engine) -> None:
    """Sums are zero and no floor is broken, by the engine's word and by ours."""
    audit = ledger.audit()
    assert audit.ok and audit.sums == {"USD/2": 0}
    balances = balances_of(ledger)
    assert sum(balances.values()) == 0
    assert min(balances[id] for id in ACCOUNTS) >= 0


def test_all_doors_at_once(crowded: ledgercore.Engine) -> None:
    ledger = crowded
    answers: list[list[Batch]] = [[] for _ in range(3)]
    queued: list[ledgercore.Outcome] = []
    finished = threading.Event()

    def call_batches(number: int) -> None:
        random = np.random.default_rng(number)
        batches = [random_batch(ledger, random, f"{number}-{call}") for call in range(CALLS)]
        answers[number] += [ledger.transfer_batch(batch) for batch in batches]

    def read_along() -> None:
        while not finished.is_set():
            # Only an audit sees one instant; the accounts one by one need not sum to zero now.
            audit = ledger.audit()
            assert audit.ok and audit.sums == {"USD/2": 0}
            ledger.find_key("shared-1")
            ledger.find_transfer(ledger.statistics().lsn_durable)
            ledger.peek_accounts(0, 10)

    reader = threading.Thread(target=read_along)
    reader.start()
    try:
        works = [lambda number=number: call_batches(number) for number in range(3)]
        together([*works, lambda: submit_all(ledger, np.random.default_rng(9), queued)])
    finally:
        finished.set()
        reader.join()
    assert len(queued) == CALLS * ROWS
    told = Counter((row.id, row.status) for row in queued if row.id and not row.replayed)
    for rows in (row for answer in answers for row in answer):
        fresh = rows[(rows["replayed"] == 0) & (rows["status"] < Status.KEY_MISSING)]
        told.update((int(row["id"]), Status(row["status"])) for row in fresh)
    check_sound(ledger)
    assert {Status.APPLIED, Status.INSUFFICIENT_FUNDS} <= {status for _, status in told}
    check_history(ledger, told)


def check_history(ledger: ledgercore.Engine, told: Counter[tuple[int, Status]]) -> None:
    """Each id was told once and no LSN is missing; the journal's outcomes can be derived anew."""
    before = 1 + 2 * len(ACCOUNTS)
    last = ledger.statistics().lsn_applied
    assert sorted(id for id, _ in told.elements()) == list(range(before + 1, last + 1))
    if ledger.durability == "memory":
        return
    balances = balances_of(ledger)
    ledger.close()
    model = rederive(ledgercore.read_journal(ledger.path))
    assert {id: account.balance for id, account in model.accounts.items()} == balances
    assert {(id, model.transfers[id].status) for id, _ in told} == told.keys()


def test_a_key_that_many_send_at_once_applies_once(crowded: ledgercore.Engine) -> None:
    ledger = crowded
    batch = np.zeros(256, ledgercore.TRANSFER)
    batch["key"] = ledger.fingerprints([f"wanted-{number}" for number in range(256)])
    batch["to"], batch["amount"] = 1, 1
    answers: list[Batch] = []

    def send() -> None:
        # One row a call: the threads meet at every key.
        outcomes = [ledger.transfer_batch(batch[row : row + 1])[0] for row in range(256)]
        answers.append(np.array(outcomes))

    before = ledger.balance(ACCOUNTS[0])
    together([send] * 4)
    status, replayed, ids = (
        np.array([answer[name] for answer in answers]) for name in ("status", "replayed", "id")
    )
    assert (status == Status.APPLIED).all()
    assert (replayed.sum(axis=0) == 3).all()
    assert (ids == ids[0]).all() and len(set(ids[0])) == 256
    assert ledger.balance(ACCOUNTS[0]) == before + 256
    check_sound(ledger)


def test_opposite_transfers_never_wait_for_each_other(crowded: ledgercore.Engine) -> None:
    """Locks that are taken in the order of the payload would stand still here."""
    ledger = crowded
    both = np.zeros((2, ROWS), ledgercore.TRANSFER)
    both["from"], both["to"] = [[1], [2]], [[2], [1]]
    both["amount"] = 1

    def send(side: int) -> None:
        for call in range(CALLS):
            names = [f"{side}-{call}-{row}" for row in range(ROWS)]
            both[side]["key"] = ledger.fingerprints(names)
            ledger.transfer_batch(both[side])

    together([lambda: send(0), lambda: send(1)])
    check_sound(ledger)
    assert ledger.balance(ACCOUNTS[0]) + ledger.balance(ACCOUNTS[1]) == 2 * FUNDS


def test_an_account_opened_by_many_at_once_is_one(crowded: ledgercore.Engine) -> None:
    slots: list[list[int]] = []

    def open_all() -> None:
        ids = [f"late-{number}" for number in range(100)]
        slots.append([crowded.open_account(id, asset="EUR/2").slot for id in ids])

    together([open_all] * 4)
    assert len(set(map(tuple, slots))) == 1 and len(set(slots[0])) == 100
    assert crowded.statistics().accounts == 1 + len(ACCOUNTS) + 100


def test_changes_and_transfers_at_once_keep_every_limit(crowded: ledgercore.Engine) -> None:
    ledger = crowded
    refused = Counter[str]()
    changed, transferred = threading.Event(), threading.Event()

    def transfer(number: int) -> None:
        random = np.random.default_rng(number)
        for call in range(1000):
            rows = ledger.transfer_batch(random_batch(ledger, random, f"{number}-{call}"))
            refused.update(Status(status).name for status in rows["status"])
            if changed.is_set():
                break
        transferred.set()

    def change() -> None:
        try:
            for call in range(CALLS):
                change_one(call)
        finally:
            changed.set()

    def change_one(call: int) -> None:
        id = ACCOUNTS[call % len(ACCOUNTS)]
        limit = None if call % 3 else 2 * FUNDS
        try:
            ledger.change_account(id, ceiling=limit, frozen=call % 5 == 0)
        except ledgercore.LimitConflict:
            refused["LimitConflict"] += 1
        account = ledger.account(id)
        assert account.ceiling is None or account.balance <= account.ceiling
        # The setting stays until transfers have met it.
        lsn = ledger.statistics().lsn_applied + ROWS
        while ledger.statistics().lsn_applied < lsn and not transferred.is_set():
            pass

    together([lambda: transfer(1), lambda: transfer(2), change])
    check_sound(ledger)
    assert refused["SOURCE_FROZEN"] + refused["TARGET_FROZEN"] > 0
    if ledger.durability == "sync":
        balances = balances_of(ledger)
        ledger.close()
        model = rederive(ledgercore.read_journal(ledger.path))
        assert {id: account.balance for id, account in model.accounts.items()} == balances
