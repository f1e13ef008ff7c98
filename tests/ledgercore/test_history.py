"""The past in the journal's files: any record by its LSN, and all of them in order."""

import errno
import os
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

import ledgercore
from ledgercore import Status
from ledgercore.directory import DataDirectory
from ledgercore.history import MARK_BYTES, History, parse_transfer
from ledgercore.layouts import RECORD_BYTES
from tests.support.histories import batch_of, journal_files, open_funded, open_small
from tests.support.making import make_long, many_rows, roll_over
from tests.support.model import rederive


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A closed ledger of three journal files, and its last LSN."""
    directory = tmp_path_factory.mktemp("long") / "ledger"
    return directory, make_long(directory)


def lsn_in(record: bytes) -> int:
    return int.from_bytes(record[:8], "little")


def spread(last: int) -> list[int]:
    """Both ends of a history, and LSNs all over it, out of order."""
    lsns = [*range(1, 20), *range(1, last, last // 300), *range(last - 20, last + 1)]
    return sorted(lsns, key=lambda lsn: lsn * 7919 % 104_729)


def test_every_record_is_found_in_any_order(long: tuple[Path, int]) -> None:
    directory, last = long
    history = History(DataDirectory(directory))
    first = {lsn: history.find(lsn) for lsn in [*spread(last), last // 2]}
    for lsn, found in first.items():
        assert found is not None and len(found[0]) == RECORD_BYTES and lsn_in(found[0]) == lsn
    assert len(history.readers) == len(journal_files(directory)) >= 3
    # Backwards, from the other end, and by a reader that knows no place yet.
    for lsn in sorted(first, reverse=True):
        assert history.find(lsn) == first[lsn]
    for lsn in (last, 1, last // 2):
        assert History(DataDirectory(directory)).find(lsn) == first[lsn]


def test_nothing_is_found_outside_of_the_journal(long: tuple[Path, int]) -> None:
    directory, last = long
    history = History(DataDirectory(directory))
    for lsn in (0, last + 1, last + 10**6, 2**63):
        assert history.find(lsn) is None
    assert history.find(last) is not None


def test_texts_belong_to_their_records(long: tuple[Path, int]) -> None:
    directory, last = long
    history = History(DataDirectory(directory))
    found = [history.find(lsn) for lsn in (last - 1, last, 1)]
    memo, lost, opening = (parse_transfer(*one) for one in found if one is not None)
    assert memo is not None and lost is not None and opening is None
    assert (memo.memo, memo.source_id, memo.target_id) == ("für Öl", None, None)
    assert (memo.status, memo.amount) == (Status.APPLIED, 5)
    assert (lost.memo, lost.source_id, lost.target_id) == (None, None, "ghost")
    assert lost.status is Status.TARGET_NOT_FOUND


def test_a_long_file_is_read_from_the_nearest_mark(directory: Path) -> None:
    with open_small(directory, segment_bytes=4 * MARK_BYTES) as ledger:
        open_funded(ledger, ["alice"], 0)
        ledger.transfer_batch(many_rows(200_000))
        last = ledger.statistics().lsn_applied
        history = History(DataDirectory(directory))
        for lsn in spread(last):
            found = history.find(lsn)
            assert found is not None and lsn_in(found[0]) == lsn
        (reader,) = history.readers
        offsets = [mark.offset for mark in reader.marks]
        # A frame may lie across the edge of a window, so a step is up to one frame shorter.
        assert len(offsets) >= 3 and offsets == sorted(set(offsets))
        assert all(b - a > MARK_BYTES // 2 for a, b in pairwise(offsets))


def test_what_was_written_since_is_noticed(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        history = History(DataDirectory(directory))
        assert history.find(3) is None
        outcome = ledger.transfer("world", "alice", 1, key="same-file")
        found = history.find(outcome.id)
        assert outcome.id == 3 and found is not None and lsn_in(found[0]) == 3
        roll_over(ledger, directory, 2)
        last = ledger.statistics().lsn_applied
        assert len(history.readers) == 1
        found = history.find(last)
        assert found is not None and lsn_in(found[0]) == last and len(history.readers) == 2


def ask_at_once(directory: Path, asked: list[list[int]]) -> list[object]:
    """Let a thread for each list ask one fresh reader; returns what came out wrong."""
    history, start = History(DataDirectory(directory)), threading.Barrier(len(asked))
    wrong: list[object] = []

    def ask(lsns: list[int]) -> None:
        start.wait()
        try:
            for lsn in lsns:
                found = history.find(lsn)
                if found is None or lsn_in(found[0]) != lsn:
                    wrong.append((lsn, found))
        except Exception as error:  # A thread must hand over what it met.
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(lsns,)) for lsns in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_many_threads_may_ask_a_fresh_reader(long: tuple[Path, int]) -> None:
    directory, last = long
    lsns = [last, 1, last // 2, last // 3, last - 1]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            assert not ask_at_once(directory, [lsns, lsns[::-1], lsns[2:], lsns[3:]])
    finally:
        sys.setswitchinterval(interval)


def test_a_disk_that_cannot_be_read_fails_one_question(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping would end the process there, and with it a ledger whose new work is safe."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)

        def pread(descriptor: int, size: int, offset: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", pread)
            with pytest.raises(ledgercore.DirectoryUnusable, match="Input/output error"):
                ledger.find_transfer(3)
        assert ledger.find_transfer(3) is not None


@pytest.fixture
def told(directory: Path) -> tuple[Path, list[ledgercore.JournalEntry]]:
    """A short journal with every kind of record, read back."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 100)
        ledger.open_account("euro", asset="EUR/2", floor=-5, ceiling=9, frozen=True)
        ledger.transfer("alice", "bob", 7, key="memo", client="shop", memo="für Öl")
        ledger.transfer_batch(batch_of(ledger, [("row", 1, 2, 1), ("gone", 99, 1, 3)]))
        ledger.transfer("bob", "ghost", 4, key="lost", memo="who")
        ledger.change_account("alice", floor=-10, ceiling=None, frozen=True)
        ledger.transfer("alice", "bob", 1, key="ice")
        key = ledger.fingerprint("memo", "shop")
    entries = list(ledgercore.read_journal(directory))
    assert [entry.key == key for entry in entries].count(True) == 1
    return directory, entries


def test_the_journal_reads_as_what_was_done(
    told: tuple[Path, list[ledgercore.JournalEntry]],
) -> None:
    directory, entries = told
    brief = [(e.kind, e.account or e.source, e.target, e.amount, e.memo) for e in entries]
    moved = "transfer"
    assert brief == [
        ("account-opened", "world", None, None, None),
        ("account-opened", "alice", None, None, None),
        (moved, "world", "alice", 100, None),
        ("account-opened", "bob", None, None, None),
        (moved, "world", "bob", 100, None),
        ("account-opened", "euro", None, None, None),
        (moved, "alice", "bob", 7, "für Öl"),
        (moved, "alice", "bob", 1, None),
        (moved, "#99", "alice", 3, None),
        (moved, "bob", "ghost", 4, "who"),
        ("account-changed", "alice", None, None, None),
        (moved, "alice", "bob", 1, None),
    ]
    assert [entry.lsn for entry in entries] == list(range(1, 13))
    settings = [(e.asset, e.floor, e.ceiling, e.frozen) for e in entries if e.account]
    assert settings[0] == ("USD/2", None, None, False)
    assert settings[3:] == [("EUR/2", -5, 9, True), ("USD/2", -10, None, True)]
    statuses = [entry.status for entry in entries if entry.kind == moved]
    assert statuses[-3:] == [Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND, Status.SOURCE_FROZEN]
    assert all(entry.status is None and entry.key is None for entry in entries if entry.account)
    model = rederive(entries)
    with open_small(directory) as ledger:
        assert {a.id: a.balance for a in ledger.accounts()} == {
            id: held.balance for id, held in model.accounts.items()
        }


def test_the_journal_reads_on_from_file_to_file(long: tuple[Path, int]) -> None:
    directory, last = long
    lsns = [entry.lsn for entry in ledgercore.read_journal(directory)]
    assert lsns == list(range(1, last + 1))


def test_a_journal_that_does_not_begin_at_its_beginning_is_refused(directory: Path) -> None:
    make_long(directory)
    first, second, _ = journal_files(directory)
    aside = directory / "aside"
    second.rename(aside)
    with pytest.raises(ledgercore.JournalDamaged, match="is missing before this segment"):
        list(ledgercore.read_journal(directory))
    aside.rename(second)
    first.unlink()
    with pytest.raises(ledgercore.JournalDamaged, match="LSN 1 is missing before this segment"):
        next(ledgercore.read_journal(directory))


def test_an_empty_journal_has_no_entries(directory: Path) -> None:
    open_small(directory).close()
    assert list(ledgercore.read_journal(directory)) == []


@pytest.mark.parametrize("path", ["nowhere", "empty", "file", "file/below"])
def test_a_path_without_a_ledger_is_an_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    for work in (
        ledgercore.read_journal,
        ledgercore.inspect,
        ledgercore.verify,
        ledgercore.repair,
        ledgercore.compact,
    ):
        # At the call, and not where somebody comes to read.
        with pytest.raises(ledgercore.DirectoryUnusable, match=path.partition("/")[0]):
            work(tmp_path / path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    for work in (
        ledgercore.open,
        ledgercore.read_journal,
        ledgercore.inspect,
        ledgercore.verify,
        ledgercore.repair,
        ledgercore.compact,
    ):
        with pytest.raises(ledgercore.InvalidArgument, match="path"):
            work(path)


def test_a_journal_whose_end_has_gone_is_not_read_as_a_shorter_one(directory: Path) -> None:
    make_long(directory)
    *_, second, third = journal_files(directory)
    data = third.read_bytes()
    third.write_bytes(data[: len(data) // 1024])
    with pytest.raises(ledgercore.JournalDamaged, match="was synced"):
        list(ledgercore.read_journal(directory))
    third.unlink()
    with pytest.raises(ledgercore.JournalDamaged, match=f"{second}: .* was synced"):
        list(ledgercore.read_journal(directory))
