"""The engine against the auditor: both get the same random histories, restarts in between.

Few accounts, few keys and amounts at the edges, so that collisions, replays and refusals are the
rule. Every history counts the shapes that it had, and one run asserts that none is missing: a
generator that never makes a case cannot find its bug.
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import ledgercore
from ledgercore import Status
from ledgercore.grammar import SLOT_NONE
from tests.support import histories
from tests.support.model import INT64_MAX, Answer, Holding, Model, rederive

ACCOUNTS = ["world", "mint", "alice", "bob", "carol", "dave"]
SOURCES = ["world", "world", "world", "mint", *ACCOUNTS, "ghost"]
TARGETS = ["alice", "alice", "bob", "bob", "carol", *ACCOUNTS, "phantom"]
CLIENTS = ["", "shop"]
ASSETS = ["USD/2", "USD/2", "USD/2", "EUR/2"]
AMOUNTS = [1, 1, 2, 7, 49, 50, 51, 99, 100, 101, 2**62, INT64_MAX - 1, INT64_MAX]
MEMOS = [None, None, None, "rent", "x" * 256]
LIMITS = [None, None, 0, 0, -100, 50, INT64_MAX - 1, 1 - INT64_MAX]
FAR = [1023, 1024, 2**31, SLOT_NONE]
# A key is new, or an earlier transfer's: with the same payload, with another, of another client.
KEYS = ["new", "new", "new", "same", "other", "stranger"]

Row = tuple[str, str, str, str, int, str | None]
rows = st.tuples(
    *(st.sampled_from(values) for values in (CLIENTS, KEYS, SOURCES, TARGETS, AMOUNTS, MEMOS)),
    st.integers(0, 2**16),
)
Draw = tuple[str, str, str, str, int, str | None, int]
limits = st.sampled_from(LIMITS)
changes = st.fixed_dictionaries(
    {}, optional={"floor": limits, "ceiling": limits, "frozen": st.booleans()}
)


class History:
    """An engine and its auditor, and the steps that both can take together."""

    def __init__(self, durability: str) -> None:
        # A crash here is a copy of what was answered, so nothing hangs on a real disk.
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.durability = durability
        self.generation = 0
        self.shapes: Counter[str] = Counter()
        self.times: dict[int, int] = {}
        self.filled: set[int] = set()
        self.sent: list[Row] = []
        self.model = Model()
        self.open()

    @property
    def path(self) -> Path:
        return self.root / str(self.generation)

    def open(self) -> None:
        self.ledger = histories.open_small(self.path, durability=self.durability)

    def saw(self, shape: str) -> None:
        self.shapes[shape] += 1

    def open_account(self, id: str, account: Holding) -> None:
        fields = ("asset", "floor", "ceiling", "frozen")
        wanted = {name: getattr(account, name) for name in fields}
        try:
            taken = self.model.open(id, account)
        except (ledgercore.AccountExists, ledgercore.InvalidArgument) as refusal:
            self.saw(f"opening refused: {type(refusal).__name__}")
            with pytest.raises(type(refusal)):
                self.ledger.open_account(id, **wanted)
            return
        self.saw(f"account opened {'anew' if taken else 'again'}")
        assert self.ledger.open_account(id, **wanted).balance == self.model.accounts[id].balance

    def change_account(self, id: str, change: dict[str, Any]) -> None:
        try:
            changed = self.model.change(id, **change)
        except (ledgercore.AccountNotFound, ledgercore.LimitConflict) as refusal:
            self.saw(f"change refused: {type(refusal).__name__}")
            with pytest.raises(type(refusal)):
                self.ledger.change_account(id, **change)
            return
        self.saw("account changed" if changed else "change that changes nothing")
        self.check_account(self.ledger.change_account(id, **change))

    def row(self, draw: Draw) -> Row:
        """Turn what was drawn into a transfer, by what was sent before."""
        client, kind, source, target, amount, memo, pick = draw
        old = self.sent[pick % len(self.sent)] if self.sent else None
        if kind == "same" and old is not None:
            row = old
        elif kind == "other" and old is not None:
            row = (old[0], old[1], source, target, amount, memo)
        elif kind == "stranger" and old is not None:
            row = ("shop" if old[0] == "" else "", *old[1:])
        else:
            row = (client, f"key-{len(self.sent)}", source, target, amount, memo)
        self.sent.append(row)
        return row

    def transfer(
        self, client: str, key: str, source: str, target: str, amount: int, memo: str | None
    ) -> None:
        expected = self.judge((client, key, source, target, amount, memo))
        outcome = self.ledger.transfer(source, target, amount, key=key, client=client, memo=memo)
        assert (outcome.status, outcome.id, outcome.replayed) == expected
        self.check_time(expected, outcome.time_ns)

    def judge(self, row: Row) -> Answer:
        """Ask the auditor. Its clock is the log's length: keys outlive every history here."""
        answer = self.model.transfer(*row, self.model.lsn)
        self.saw(f"{answer.status.name}{' replayed' if answer.replayed else ''}")
        return answer

    def check_time(self, answer: Answer, time_ns: int) -> None:
        """A replay tells the time of the first answer, so remember it where the auditor looks."""
        if answer.id:
            first = self.times.setdefault(answer.id, time_ns)
            assert first == time_ns

    def batch(self, rows: list[Row], far: int) -> None:
        """Rows by slot, all of one client. A slot without an account is told as `#slot`."""
        slots = {account.id: account.slot for account in self.ledger.accounts()}
        client = rows[0][0] if rows else ""
        listed, expected = [], []
        for _, key, source, target, amount, memo in rows:
            # Rows can carry what named transfers cannot: a forgotten key, an amount below 1.
            key, amount = ("", amount) if memo == MEMOS[-1] else (key, amount)
            amount = -amount if memo == "rent" else amount
            giver, taker = slots.get(source, far), slots.get(target, far)
            listed.append((key, giver, taker, amount))
            one, other = (id if id in slots else f"#{far}" for id in (source, target))
            expected.append(self.judge((client, key, one, other, amount, None)))
        outcomes = self.ledger.transfer_batch(histories.batch_of(self.ledger, listed, client))
        assert [
            Answer(Status(row["status"]), int(row["id"]), bool(row["replayed"])) for row in outcomes
        ] == expected
        for answer, row in zip(expected, outcomes, strict=True):
            self.check_time(answer, int(row["time_ns"]))
        self.saw("batch")

    def fill(self) -> None:
        """Refusals of the longest kind until the journal has gone on in its next file."""
        client, source, target, amount, memo = histories.LONGEST
        first = self.model.lsn + 1
        for key in histories.fill_segment(self.ledger, self.path, f"fill-{first}"):
            self.model.transfer(client, key, source, target, amount, memo, 0)
        self.filled.update(range(first, self.model.lsn + 1))
        self.saw("new journal file")

    def submission(self, rows: list[Row]) -> None:
        """Rows by name through a queue, collected as the service does it."""
        submission = self.ledger.new_submission()
        for client, key, source, target, amount, memo in rows:
            submission.add(client, key, source, target, amount, memo)
        expected = [self.judge(row) for row in rows]
        self.ledger.submit(submission, 0)
        histories.wait_readable(self.ledger)
        assert self.ledger.completed() == [submission] and not submission.failed
        for index, answer in enumerate(expected):
            outcome = submission.outcome(index)
            assert (outcome.status, outcome.id, outcome.replayed) == answer
            self.check_time(answer, outcome.time_ns)
        self.saw("submission")

    def restart(self) -> None:
        self.ledger.close()
        self.open()
        self.saw("clean restart")

    def crash(self) -> None:
        """Go on from what `kill -9` would have left: all that was answered is there."""
        old = self.path
        self.generation += 1
        histories.crash_copy(old, self.path)
        self.ledger.close()
        shutil.rmtree(old)
        self.open()
        self.saw("crash restart")

    def compact(self) -> None:
        self.ledger.close()
        ledgercore.compact(self.path)
        self.open()
        self.saw("snapshot")

    def check_account(self, account: ledgercore.Account) -> None:
        held = self.model.accounts[account.id]
        assert account == ledgercore.Account(
            account.id,
            held.asset,
            held.balance,
            held.floor,
            held.ceiling,
            held.frozen,
            list(self.model.accounts).index(account.id),
        )

    def check_balances(self) -> None:
        assert list(self.ledger.balances) == [a.balance for a in self.model.accounts.values()]

    def check_all(self) -> None:
        """Everything that the engine can tell, against the auditor."""
        self.check_balances()
        assert [account.id for account in self.ledger.accounts()] == list(self.model.accounts)
        for account in self.ledger.accounts():
            self.check_account(account)
        for lsn in {*range(self.model.lsn + 2)} - self.filled:
            self.check_transfer(lsn)
        for key in {row[1] for row in self.sent}:
            for client in CLIENTS:
                self.check_key(client, key)
        audit = self.ledger.audit()
        assert audit.ok and audit.lsn == self.model.lsn and audit.sums == self.model.sums()

    def check_transfer(self, lsn: int) -> None:
        stored, logged = self.ledger.find_transfer(lsn), self.model.transfers.get(lsn)
        assert (stored is None) == (logged is None)
        if stored is None or logged is None:
            return
        assert (stored.id, stored.status, stored.amount) == (lsn, logged.status, logged.amount)
        assert (stored.asset, stored.time_ns) == (logged.asset, self.times[lsn])
        # Text is what memory alone does not keep: names without an account, and memos.
        if self.durability == "sync" or logged.asset is not None:
            assert (stored.source, stored.target) == (logged.source, logged.target)
        if self.durability == "sync":
            assert stored.memo == logged.memo

    def check_key(self, client: str, key: str) -> None:
        state, lsn = self.ledger.find_key(key, client), self.model.keys.get((client, key))
        if lsn is None:
            assert state == ledgercore.KeyState("unseen", None)
        else:
            applied = self.model.transfers[lsn].status is Status.APPLIED
            assert state.state == ("applied" if applied else "refused")
            assert state.transfer == self.ledger.find_transfer(lsn)

    def finish(self) -> None:
        """The last comparison, then the journal on its own: it alone must tell the same story."""
        try:
            self.check_all()
            self.ledger.close()
            if self.durability == "sync":
                told = rederive(ledgercore.read_journal(self.path))
                assert told.accounts == self.model.accounts and told.lsn == self.model.lsn
        finally:
            self.ledger.close()
            shutil.rmtree(self.root)


class Memory(RuleBasedStateMachine):
    """Histories that no restart cuts."""

    durability = "memory"
    coverage: ClassVar[Counter[str]] = Counter()

    @initialize(asset=st.sampled_from(ASSETS))
    def start(self, asset: str) -> None:
        self.history = History(self.durability)
        self.history.open_account("world", Holding("USD/2", None))
        self.history.open_account("alice", Holding("USD/2"))
        self.history.open_account("bob", Holding(asset))
        self.history.open_account("carol", Holding("USD/2", ceiling=50))
        self.history.open_account("dave", Holding("USD/2", None, frozen=True))

    @rule(
        id=st.sampled_from(ACCOUNTS),
        asset=st.sampled_from(ASSETS),
        floor=limits,
        ceiling=limits,
        frozen=st.sampled_from([False, False, True]),
    )
    def open_account(
        self, id: str, asset: str, floor: int | None, ceiling: int | None, frozen: bool
    ) -> None:
        self.history.open_account(id, Holding(asset, floor, ceiling, frozen))

    @rule(id=st.sampled_from([*ACCOUNTS, "ghost"]), change=changes)
    def change_account(self, id: str, change: dict[str, Any]) -> None:
        self.history.change_account(id, change)

    @rule(draw=rows)
    def transfer(self, draw: Draw) -> None:
        self.history.transfer(*self.history.row(draw))

    @rule(draw=rows, times=st.integers(2, 4))
    def repeat(self, draw: Draw, times: int) -> None:
        row = self.history.row(draw)
        for _ in range(times):
            self.history.transfer(*row)

    @rule(draws=st.lists(rows, max_size=12), far=st.sampled_from(FAR))
    def batch(self, draws: list[Draw], far: int) -> None:
        self.history.batch([self.history.row(draw) for draw in draws], far)

    @rule(draws=st.lists(rows, max_size=12))
    def submission(self, draws: list[Draw]) -> None:
        self.history.submission([self.history.row(draw) for draw in draws])

    @invariant()
    def balances(self) -> None:
        if hasattr(self, "history"):
            self.history.check_balances()

    def teardown(self) -> None:
        if hasattr(self, "history"):
            for shape in self.history.shapes:
                event(shape)
            type(self).coverage.update(self.history.shapes)
            self.history.finish()


class Disk(Memory):
    """Histories that clean restarts, crashes and snapshots cut."""

    durability = "sync"
    coverage: ClassVar[Counter[str]] = Counter()

    @rule(kind=st.sampled_from(["restart", "crash", "compact", "check_all", "fill"]))
    def interrupt(self, kind: str) -> None:
        # A new journal file takes thousands of entries, so a few of them are enough.
        if kind != "fill" or len(self.history.filled) < 20_000:
            getattr(self.history, kind)()


def run(machine: type[Memory], examples: int, **options: Any) -> Counter[str]:
    """Run a machine; returns the shapes of its histories."""
    machine.coverage = Counter()
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=checks,
            print_blob=True,
            # One failing history, shrunk, is enough; explaining it would take minutes.
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            **options,
        ),
    )
    print(*(f"{count:6} {shape}" for shape, count in sorted(machine.coverage.items())), sep="\n")
    return machine.coverage


def test_in_memory() -> None:
    run(Memory, 200)


def test_on_disk() -> None:
    run(Disk, 60)


def test_the_generator_reaches_every_shape() -> None:
    shapes, runs = Counter[str](), 0
    outcomes = [status for status in Status if status.is_outcome]
    rejections = [Status.KEY_MISSING, Status.AMOUNT_INVALID, Status.KEY_REUSED]
    wanted = {status.name for status in [*outcomes, *rejections]}
    wanted |= {f"{status.name} replayed" for status in outcomes}
    wanted |= {
        "account opened anew",
        "account opened again",
        "opening refused: AccountExists",
        "opening refused: InvalidArgument",
        "account changed",
        "change that changes nothing",
        "change refused: AccountNotFound",
        "change refused: LimitConflict",
        "batch",
        "submission",
        "clean restart",
        "crash restart",
        "snapshot",
        "new journal file",
    }
    while not wanted <= shapes.keys() and (runs := runs + 1) <= 20:  # No one seed is good for ever.
        shapes += run(Disk, 20, derandomize=False)
    assert wanted <= shapes.keys(), sorted(wanted - shapes.keys())
