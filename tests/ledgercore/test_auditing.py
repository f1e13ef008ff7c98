"""The audit: sums and limits at one instant, and the journal against memory.

A sound ledger passes whatever goes on meanwhile; memory that something else wrote to does not.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore.auditing import (
    NO_JOURNAL,
    NOT_ASKED,
    VIOLATIONS_TOLD_MAX,
    find_violations,
    limit_text,
    sum_by_asset,
)
from ledgercore.directory import DataDirectory
from tests.support.histories import journal_files, open_funded, open_small
from tests.support.making import make_long, many_rows


@pytest.fixture
def ledger(directory: Path) -> Iterator[ledgercore.Engine]:
    """A durable ledger with two assets, and money in one of them."""
    with open_small(directory) as engine:
        open_funded(engine, ["alice", "bob", "carol"], 100)
        engine.open_account("capped", asset="USD/2", ceiling=50)
        engine.open_account("bank", asset="EUR/2", floor=None)
        engine.open_account("dora", asset="EUR/2", floor=-20)
        yield engine


def corrupt(ledger: ledgercore.Engine, id: str, difference: int) -> None:
    """Write to a balance behind the engine's back, as a stray pointer would."""
    slot = ledger.account(id).slot
    place = ctypes.c_int64.from_address(ledger.balances.ctypes.data + 8 * slot)
    place.value += difference


def test_a_sound_ledger_passes(ledger: ledgercore.Engine) -> None:
    audit = ledger.audit()
    assert audit.ok and audit.violations == () and not audit.journal_checked
    assert audit.sums == {"USD/2": 0, "EUR/2": 0}
    assert (audit.lsn, audit.accounts) == (ledger.statistics().lsn_applied, 7)
    with_journal = ledger.audit(journal=True)
    assert with_journal.ok and with_journal.journal_checked and with_journal.lsn == audit.lsn


def test_an_empty_ledger_passes(directory: Path) -> None:
    with open_small(directory) as ledger:
        for journal in (False, True):
            told = (None, 1, 0) if journal else (NOT_ASKED, None, None)
            expected = ledgercore.Audit(0, 0, {}, (), journal, *told)
            assert ledger.audit(journal=journal) == expected


def test_in_memory_there_is_no_journal_to_check() -> None:
    with open_small(None, durability="memory") as ledger:
        open_funded(ledger, ["alice"], 5)
        audit = ledger.audit(journal=True)
        assert audit.ok and not audit.journal_checked and audit.journal_reason == NO_JOURNAL


def test_a_broken_sum_is_named(ledger: ledgercore.Engine) -> None:
    corrupt(ledger, "alice", 3)
    audit = ledger.audit()
    assert not audit.ok and audit.sums == {"USD/2": 3, "EUR/2": 0}
    assert audit.violations == ("USD/2: the balances sum to 3",)
    corrupt(ledger, "bank", -1)
    assert ledger.audit().violations[1:] == ("EUR/2: the balances sum to -1",)
    corrupt(ledger, "alice", -3)
    corrupt(ledger, "dora", 1)
    assert ledger.audit().ok


def test_broken_limits_are_named(ledger: ledgercore.Engine) -> None:
    corrupt(ledger, "bob", -101)
    corrupt(ledger, "capped", 51)
    corrupt(ledger, "alice", 50)
    corrupt(ledger, "dora", -20)
    corrupt(ledger, "bank", 20)
    assert ledger.audit().violations == (
        "bob: the balance, -1, is outside of 0 to no limit",
        "capped: the balance, 51, is outside of 0 to 50",
    )


def test_money_that_changed_hands_behind_the_journal_is_noticed(ledger: ledgercore.Engine) -> None:
    corrupt(ledger, "alice", 5)
    corrupt(ledger, "bob", -5)
    # Every sum and every limit holds, so only the journal can tell.
    assert ledger.audit().ok
    audit = ledger.audit(journal=True)
    assert audit.journal_checked and audit.sums == {"USD/2": 0, "EUR/2": 0}
    assert audit.violations == ("journal: its replay leads to other balances than memory holds",)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("kill -KILL $$", "SIGKILL, as when memory runs out"), ("exit 4", "ended with 4")],
)
def test_a_helper_that_does_not_come_back_is_no_violation(
    ledger: ledgercore.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    reason: str,
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{limit}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    audit = ledger.audit(journal=True)
    assert audit.ok and audit.violations == () and not audit.journal_checked
    assert audit.journal_reason is not None and audit.journal_reason.endswith(reason)
    assert (audit.journal_from_lsn, audit.journal_to_lsn) == (None, None)
    program.unlink()
    audit = ledger.audit(journal=True)
    assert audit.ok and "cannot be started: No such file" in str(audit.journal_reason)
    # What is wrong in memory is told all the same.
    corrupt(ledger, "alice", 1)
    assert not ledger.audit(journal=True).ok


def test_a_helper_without_memory_is_no_violation(
    ledger: ledgercore.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nulimit -v 100000\nexec {sys.executable} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    audit = ledger.audit(journal=True)
    assert audit.ok and not audit.journal_checked and audit.journal_reason


def test_what_was_read_is_told(directory: Path) -> None:
    make_long(directory)
    with open_small(directory) as ledger:
        whole = ledger.audit(journal=True)
        assert (whole.journal_from_lsn, whole.journal_to_lsn) == (1, whole.lsn)
    ledgercore.compact(directory)
    with open_small(directory) as ledger:
        behind = ledger.audit(journal=True)
        assert behind.journal_checked and behind.journal_to_lsn == behind.lsn
        # The last file alone was read: the snapshot stands for the others.
        last = DataDirectory(directory).read_header(journal_files(directory)[-1])
        assert behind.journal_from_lsn == last.first_lsn > 1


def test_a_damaged_journal_is_told_and_not_raised(
    ledger: ledgercore.Engine, directory: Path
) -> None:
    (path,) = (directory / "journal").glob("*.segment")
    with open(path, "r+b") as file:
        file.seek(4096 + 200)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    audit = ledger.audit(journal=True)
    (violation,) = audit.violations
    assert audit.journal_checked and audit.journal_from_lsn is None
    assert violation.startswith(f"journal: {path}: offset 4096, LSN 1: ")
    assert ledger.audit().ok


def test_not_more_than_a_hundred_accounts_are_named() -> None:
    with open_small(None, durability="memory") as ledger:
        ids = [f"account-{number}" for number in range(150)]
        ledger.open_accounts(ids, asset="USD/2")
        for id in ids:
            corrupt(ledger, id, -1)
        violations = ledger.audit().violations
        assert violations[0] == "USD/2: the balances sum to -150"
        assert len(violations) == 1 + VIOLATIONS_TOLD_MAX


def test_sums_of_large_balances_are_exact() -> None:
    with open_small(None, durability="memory") as ledger:
        open_funded(ledger, ["a", "b", "c"], 0)
        rows = np.zeros(4, [("asset", "<u2"), ("floor", "<i8"), ("ceiling", "<i8")])
        rows["floor"], rows["ceiling"] = -(2**63), 2**63 - 1
        for balances in ([2**63 - 1] * 4, [-(2**63)] * 4, [2**63 - 1, -(2**63), 2**62, 7]):
            array = np.array(balances, np.int64)
            assert sum_by_asset(ledger._ledger, array, rows) == {"USD/2": sum(balances)}
            assert len(find_violations(ledger._ledger, array, rows)) == 1
    assert limit_text(np.int64(-(2**63))) == limit_text(np.int64(2**63 - 1)) == "no limit"
    assert limit_text(np.int64(-(2**63) + 1)) == str(-(2**63) + 1)


def transfer_until(ledger: ledgercore.Engine, stop: threading.Event, number: int) -> None:
    """Move money in a circle, in batches, until told to stop."""
    start = (number + 1) << 32
    while not stop.is_set():
        rows = many_rows(64, start=start)
        rows["from"], rows["to"] = (start + np.arange(64)) % 4, (start + 1 + np.arange(64)) % 4
        assert (ledger.transfer_batch(rows)["status"] < 64).all()
        start += 64


def test_audits_in_the_middle_of_load_pass(directory: Path) -> None:
    with open_small(directory, keys_max=1 << 22) as ledger:
        open_funded(ledger, ["alice", "bob", "carol"], 1000)
        stop = threading.Event()
        threads = [
            threading.Thread(target=transfer_until, args=(ledger, stop, number))
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        try:
            audits = [ledger.audit(journal=number % 20 == 0) for number in range(40)]
            # On a busy machine the threads stand still for some of them; then there are more.
            while len({audit.lsn for audit in audits}) <= 20 and len(audits) < 1000:
                audits.append(ledger.audit())
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert [audit for audit in audits if not audit.ok] == []
    assert all(audit.sums == {"USD/2": 0} for audit in audits)
    # They looked at different instants: the ledger was at work all the while.
    assert len({audit.lsn for audit in audits}) > 20
