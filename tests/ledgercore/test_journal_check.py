"""Another process replays the journal, and tells what the balances have to be."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledgercore
from ledgercore.accounts import copy_state
from ledgercore.file_store import FileStore
from ledgercore.helper_process import start_helper
from ledgercore.journal_check import DAMAGED, ReplayReport, digest_state, replay_in_helper
from ledgercore.layouts import ACCOUNT_ROW
from ledgercore.recovery import Capacity
from tests.support.histories import open_funded, open_small
from tests.support.making import CAPACITY, many_rows, roll_over


def ask(directory: Path, lsn: int, capacity: Capacity = CAPACITY) -> ReplayReport:
    return replay_in_helper(FileStore(directory), lsn, capacity)


def test_every_balance_and_limit_counts_in_the_digest() -> None:
    balances, rows = np.zeros(3, np.int64), np.zeros(3, ACCOUNT_ROW)
    digests = {digest_state(balances, rows)}
    balances[1] = 1
    digests.add(digest_state(balances, rows))
    for number, field in enumerate(("floor", "ceiling", "id_hash", "flags"), 1):
        rows[field][2] = number
        digests.add(digest_state(balances, rows))
    digests.add(digest_state(balances[::-1].copy(), rows[::-1].copy()))
    assert len(digests) == 7
    # Where an id stands in memory is not state.
    rows["id_offset"] = 7
    assert digest_state(balances[::-1].copy(), rows[::-1].copy()) in digests


def test_the_replay_agrees_with_copies_while_the_engine_writes(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 100)
        copies: list[tuple[int, Any, Any]] = []
        stop = threading.Event()

        def write() -> None:
            start = 0
            while not stop.is_set():
                ledger.transfer_batch(many_rows(16, start=start, target=1 + start // 16 % 2))
                start += 16

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(4):
                ledger.open_account(f"late-{number}", asset="USD/2")
                copies.append(copy_state(ledger._ledger))
                ledger._executor.wait()
            answers = [ask(directory, lsn) for lsn, _, _ in copies]
        finally:
            stop.set()
            thread.join()
    assert answers == [ReplayReport(digest_state(*state)) for _, *state in copies]
    assert len({said.digest for said in answers}) == 4


def test_the_replay_remembers_what_stands_in_older_files(directory: Path) -> None:
    """An engine may go on in a new file between the copy_state and the question."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 100)
        lsn, balances, rows = copy_state(ledger._ledger)
        roll_over(ledger, directory, 3)
        assert ask(directory, lsn) == ReplayReport(digest_state(balances, rows))


def test_an_lsn_beyond_the_end_has_no_digest(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 100)
        assert ask(directory, 3).digest is not None
        said = ReplayReport(None, "the journal ends at LSN 3, not at 4", is_damage=True)
        assert ask(directory, 4) == said


def test_what_is_wrong_with_the_journal_is_the_answer(directory: Path, tmp_path: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 100)
    said = ask(directory, 3, Capacity(1, 1 << 10, 1024))
    assert said.digest is None and said.problem.startswith("accounts_max: ")
    # It was not read to its end, so nothing is known of it.
    assert not said.is_damage and "\n" not in said.problem
    (path,) = (directory / "journal").glob("*.segment")
    path.write_bytes(path.read_bytes()[:4096])
    said = ask(directory, 3)
    assert said.is_damage and said.problem.startswith(f"{path}: offset 4096, LSN 1: ")
    said = ask(tmp_path / "nowhere", 3)
    assert said.digest is None and "no valid seal" in said.problem


@pytest.mark.parametrize("lsn", [0, 2])
def test_as_a_program_it_prints_one_json_object(directory: Path, lsn: int) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 100)
    with start_helper("journal-check", directory, lsn, 1024, 1024) as process:
        output, problem = process.communicate(timeout=60)
    answer = json.loads(output)
    assert (process.returncode, problem) == (0, "")
    assert answer.keys() == {"lsn", "digest", "first_lsn"} and DAMAGED not in (0, 1)
    assert answer["lsn"] == lsn and len(answer["digest"]) == 64
    assert ledgercore.verify(directory).lsn == 3
