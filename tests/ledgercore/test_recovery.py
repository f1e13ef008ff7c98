"""From files to a ledger: where recovery stops, what it lets go, and what it does not believe."""

import errno
import os
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore import Status
from ledgercore import directory as directories
from ledgercore.accounts import account_count, balances
from ledgercore.directory import DataDirectory
from ledgercore.file_store import FileStore
from ledgercore.recovery import Capacity, Recovery
from ledgercore.replay import count_keys, dump_keys
from tests.support.damage import (
    Story,
    balances_at,
    frames_of,
    read_files,
    sealed_story,
    write_files,
)
from tests.support.histories import balances_of, crash_copy, journal_files, open_funded, open_small
from tests.support.making import Change, forge_journal, make_long, many_rows, poll, recover

STATUS, KEY, TIME = 9, slice(16, 32), slice(48, 56)
SECOND = 10**9


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A short ledger that was closed cleanly."""
    return sealed_story(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A closed ledger of three journal files, and its last LSN."""
    directory = tmp_path_factory.mktemp("long") / "ledger"
    return directory, make_long(directory)


def first_lsns(directory: Path) -> list[int]:
    """The first LSN of each journal file."""
    files = DataDirectory(directory)
    return [files.read_segment(path)[0].first_lsn for path in files.segment_paths()]


def test_recovery_counts_what_it_did(story: Story, directory: Path) -> None:
    recovered = recover(write_files(directory, story.files))
    applied = [one.status for one in story.history.values()].count(Status.APPLIED)
    assert (recovered.lsn, recovered.records) == (story.lsn, story.lsn)
    assert recovered.transfers == applied
    assert recovered.refusals == len(story.history) - applied > 0
    assert count_keys(recovered.ledger) == len(story.history)
    assert (recovered.torn_bytes, recovered.snapshot_lsn) == (0, 0)
    assert recovered.offset == story.end and recovered.header.number == 1
    seal = DataDirectory(directory).read_seal()
    assert seal is not None and seal.synced_lsn == story.lsn and seal.clean
    assert account_count(recovered.ledger) == len(story.balances)
    assert read_files(directory) == story.files


def test_the_engine_tells_what_was_recovered(story: Story, directory: Path) -> None:
    with open_small(write_files(directory, story.files)) as ledger:
        assert ledger.recovered is not None and ledger.recovered.records == story.lsn
        assert ledger.recovered.seconds > 0
    ledgercore.compact(directory)
    with open_small(directory) as ledger:
        assert ledger.recovered is not None and ledger.recovered.snapshot_lsn == story.lsn
        assert (ledger.recovered.transfers, ledger.recovered.refusals) == (0, 0)
        # An account or a key is a record of the snapshot, and one more closes it. The journal file
        # that is not yet full is walked all the same.
        state = len(story.balances) + len(story.history) + 1
        assert ledger.recovered.records == state + story.lsn


def test_recovery_stops_exactly_where_it_is_told_to(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    for lsn in range(story.lsn + 1):
        recovered = recover(directory, until_lsn=lsn)
        assert (recovered.lsn, recovered.records) == (lsn, lsn)
        held = list(balances(recovered.ledger))
        assert held == list(balances_at(story, lsn).values())[: len(held)]
    assert recover(directory, until_lsn=story.lsn + 1).lsn == story.lsn


def test_recovery_stops_where_it_is_told_to_in_any_file(long: tuple[Path, int]) -> None:
    directory, last = long
    edges = [lsn + step for lsn in first_lsns(directory)[1:] for step in (-2, -1, 0, 1)]
    # The last is asked for first: an earlier stop leaves whole files behind it.
    for lsn in sorted([1, 100, *edges, last - 1, last], reverse=True):
        assert recover(directory, until_lsn=lsn).lsn == lsn


def test_recovery_leaves_the_file_alone_that_is_being_written(
    long: tuple[Path, int], directory: Path
) -> None:
    path, last = long
    recovered = recover(path, sealed_only=True)
    assert recovered.lsn == first_lsns(path)[-1] - 1 < last
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        assert recover(directory, sealed_only=True).lsn == 0
        assert recover(directory).lsn == 3


def test_progress_is_told_file_by_file(long: tuple[Path, int]) -> None:
    directory, _ = long
    told: list[tuple[int, int]] = []
    recover(directory, progress=lambda done, total: told.append((done, total)))
    sizes = [path.stat().st_size for path in journal_files(directory)]
    assert told == [(sum(sizes[: n + 1]), sum(sizes)) for n in range(len(sizes))]


@pytest.mark.parametrize("rubbish", [b"\xff" * 200, b"LCFR" + b"\1" * 300, b"\0" * 70 + b"x"])
def test_a_torn_tail_is_let_go_and_cleared(story: Story, directory: Path, rubbish: bytes) -> None:
    data, end = story.files[story.journal], story.end
    torn = data[:end] + rubbish + data[end + len(rubbish) :]
    write_files(directory, story.damaged(story.journal, torn))
    assert recover(directory).torn_bytes == len(rubbish)
    with open_small(directory) as ledger:
        assert ledger.recovered is not None and ledger.recovered.torn_bytes == len(rubbish)
        assert balances_of(ledger) == story.balances
    (path,) = journal_files(directory)
    assert path.read_bytes() == data
    assert recover(directory).torn_bytes == 0


def test_a_disk_that_cannot_be_read_is_named_and_no_signal(
    story: Story, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(directory, story.files)
    (path,) = journal_files(directory)
    bad, real = path.stat().st_ino, os.preadv

    def preadv(descriptor: int, buffers: list[bytearray], offset: int) -> int:
        if os.fstat(descriptor).st_ino == bad and offset >= 2 << 20:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    # As on a kernel that cannot say it in one call, or does and fails.
    monkeypatch.setattr(directories, "MADV_POPULATE_READ", -1)
    for work in (open_small, ledgercore.verify, ledgercore.compact):
        with pytest.raises(ledgercore.DirectoryUnusable) as caught:
            work(directory)
        assert str(caught.value) == f"{path}: offset {2 << 20}: Input/output error"


def test_a_snapshot_ahead_of_its_journal_is_refused(story: Story, directory: Path) -> None:
    write_files(directory, story.files)
    with open_small(directory) as ledger:
        ledger.transfer("world", "bob", 1, key="newer")
    assert ledgercore.compact(directory) is not None
    (snapshot,) = [name for name in read_files(directory) if name.endswith(".snapshot")]
    files = story.files | {snapshot: read_files(directory)[snapshot]}
    write_files(directory, files)
    with pytest.raises(ledgercore.JournalDamaged, match=f"goes on to LSN {story.lsn + 1}"):
        open_small(directory)
    assert read_files(directory) == files
    assert recover(directory, snapshots=[]).lsn == story.lsn
    assert recover(directory, until_lsn=story.lsn).lsn == story.lsn


@pytest.mark.parametrize(("field", "fits", "few"), [("accounts_max", 3, 2), ("keys_max", 300, 1)])
def test_a_table_that_is_too_small_is_named(
    directory: Path, field: str, fits: int, few: int
) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 10)
        ledger.transfer_batch(many_rows(200))
    before = read_files(directory)
    with pytest.raises(ledgercore.InvalidArgument, match=field) as caught:
        open_small(directory, **{field: few})
    assert caught.value.field == field and read_files(directory) == before
    with open_small(directory, **{field: fits}) as ledger:
        assert ledger.statistics().accounts == 3 and ledger.statistics().keys == 202
        assert ledger.audit().ok


def test_another_time_for_keys_begins_another_file(directory: Path) -> None:
    ttls = [1000, 2000, 2000, 1, 3000, 1000]
    for number, ttl in enumerate(ttls):
        with open_small(directory, key_ttl_s=ttl) as ledger:
            if number == 0:
                open_funded(ledger, ["alice"], 0)
            # Every other time nothing is written before the next change.
            if number % 2 == 0:
                ledger.transfer("world", "alice", 1, key=f"key-{number}")
            assert ledger.balance("alice") == number // 2 + 1
    files = DataDirectory(directory)
    headers = [files.read_segment(path)[0] for path in files.segment_paths()]
    assert [h.key_ttl_ns // SECOND for h in headers] == [1000, 2000, 1, 3000, 1000]
    assert [h.first_lsn for h in headers] == [1, 4, 5, 5, 6]
    assert len({h.salt for h in headers}) == 5
    recovered = recover(directory)
    assert recovered.lsn == 5 and list(balances(recovered.ledger)) == [-3, 3]
    with open_small(crash_copy(directory, directory.with_name("copy")), key_ttl_s=7) as ledger:
        assert ledger.balance("alice") == 3 and ledger.find_key("key-0").state == "applied"
    assert [entry.lsn for entry in ledgercore.read_journal(directory)] == [1, 2, 3, 4, 5]


# -- records that contradict the rules, under checksums that are right ---------------------------


def nothing(lsn: int, record: bytearray) -> None:
    """Leave every record as it is."""


def applied_after_all(lsn: int, record: bytearray) -> None:
    if lsn == 5:
        record[STATUS] = Status.APPLIED


def refused_after_all(lsn: int, record: bytearray) -> None:
    if lsn == 4:
        record[STATUS] = Status.INSUFFICIENT_FUNDS


def key_of_another(lsn: int, record: bytearray) -> None:
    if lsn in (4, 6):
        record[KEY] = bytes(range(1, 17))


CONTRADICTIONS: list[tuple[Change, int, str]] = [
    (applied_after_all, 5, "its outcome is not the one that the rules give"),
    (refused_after_all, 4, "its outcome is not the one that the rules give"),
    (key_of_another, 6, "its key was already used"),
]


def write_short(directory: Path) -> None:
    """LSN 1 and 2 open accounts, 3, 4 and 6 are applied, 5 is refused."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 10)
        for number, amount in enumerate([3, 100, 4]):
            ledger.transfer("alice", "world", amount, key=f"key-{number}")


@pytest.mark.parametrize(("change", "lsn", "reason"), CONTRADICTIONS)
def test_a_record_that_contradicts_the_rules_is_refused(
    directory: Path, change: Change, lsn: int, reason: str
) -> None:
    write_short(directory)
    (path,) = journal_files(directory)
    before = path.read_bytes()
    # Encoding the same records again gives the same bytes, so only the change is to blame.
    forge_journal(directory, nothing)
    assert path.read_bytes() == before and recover(directory).lsn == 6
    forge_journal(directory, change)
    with pytest.raises(ledgercore.JournalDamaged, match=f"LSN {lsn}: {reason}") as caught:
        open_small(directory)
    assert str(path) in str(caught.value)
    offset = next(f.offset for f in frames_of(before) if f.first_lsn <= lsn < f.first_lsn + f.count)
    assert f"offset {offset}," in str(caught.value)


def test_a_seal_of_another_journal_is_noticed(directory: Path) -> None:
    write_short(directory)
    files = DataDirectory(directory)
    seal = files.read_seal()
    assert seal is not None
    files.write_seal(replace(seal, frame_crc=seal.frame_crc ^ 1))
    with pytest.raises(ledgercore.JournalDamaged, match="seal: this is of another history"):
        recover(directory)


# -- keys and time ---------------------------------------------------------------------------------


def keys_of(directory: Path) -> list[tuple[bytes, int]]:
    """Every key that the table holds after a recovery, with its LSN."""
    recovered = Recovery(FileStore(directory), Capacity(1024, 64, 1024)).run()
    # What the dump leaves out of its rows shows as this, not as an older dump of the same size.
    np.full(count_keys(recovered.ledger), b"\xee" * 40, "V40")
    rows = dump_keys(recovered.ledger)
    return [(row["key"].tobytes(), int(row["lsn_status"]) >> 8) for row in rows]


def set_times(times: Callable[[int], tuple[bytes, int]]) -> Change:
    def change(lsn: int, record: bytearray) -> None:
        if lsn > 2:
            record[KEY], time_ns = times(lsn)
            record[TIME] = struct.pack("<q", time_ns)

    return change


def test_clocks_that_differ_do_not_confuse_the_key_table(directory: Path) -> None:
    """Workers read the clock before they take an LSN, so times in a journal may step back.

    Here a key is used anew once it has expired, but before the keys of its generation have, which
    were stamped a millisecond later by another worker.
    """
    with open_small(directory, key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        ledger.transfer_batch(many_rows(30))
    start = time.time_ns()
    again, last = b"k" * 16, 32

    def times(lsn: int) -> tuple[bytes, int]:
        key = again if lsn in (last - 1, last) else struct.pack("<QQ", lsn, 1)
        stepped = {last - 1: start, last: start + SECOND}
        return key, stepped.get(lsn, start + SECOND // 1000)

    forge_journal(directory, set_times(times))
    found = keys_of(directory)
    assert dict(found)[again] == last
    # Each entry is a key that was used, and the expired use has gone or stands before the new one.
    used = {times(lsn)[0] for lsn in range(3, last + 1)}
    assert {key for key, _ in found} == used and len(found) in (len(used), len(used) + 1)


def wait_past(time_ns: int) -> None:
    poll(lambda: time.time_ns() > time_ns, "a second passes")


def wait_expired(ledger: ledgercore.Engine, key: str) -> None:
    poll(lambda: ledger.find_key(key).state == "expired", f"{key} expires")


def test_a_key_lives_as_long_as_was_said_when_it_was_used(directory: Path) -> None:
    with open_small(directory, key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = ledger.transfer("world", "alice", 1, key="short")
        wait_expired(ledger, "short")
    # A longer time brings no dead key back to life, and a shorter one kills none.
    with open_small(directory, key_ttl_s=1000) as ledger:
        assert ledger.find_key("short").state == "expired"
        again = ledger.transfer("world", "alice", 1, key="short")
        assert (again.status, again.id) == (Status.KEY_EXPIRED, first.id)
        long = ledger.transfer("world", "alice", 1, key="long")
    with open_small(directory, key_ttl_s=1) as ledger:
        wait_past(long.time_ns + 2 * SECOND)
        again = ledger.transfer("world", "alice", 1, key="long")
        assert (again.id, again.replayed) == (long.id, True)
        again = ledger.transfer("world", "alice", 1, key="short")
        assert (again.status, again.id) == (Status.KEY_EXPIRED, first.id)
        assert ledger.balance("alice") == 2


def test_a_longer_time_for_keys_keeps_a_snapshot_right(directory: Path) -> None:
    with open_small(directory, key_ttl_s=1) as ledger:
        open_funded(ledger, ["alice"], 0)
        ledger.transfer("world", "alice", 1, key="again")
        wait_expired(ledger, "again")
        second = ledger.transfer("world", "alice", 1, key="taken-anew")
        fingerprint = ledger.fingerprint("again")

    def take_anew(lsn: int, record: bytearray) -> None:
        """As an older ledgercore did, which took a key whose time was over for a new one."""
        if lsn == second.id:
            record[KEY] = fingerprint

    forge_journal(directory, take_anew)
    open_small(directory, key_ttl_s=1000).close()
    alone = keys_of(directory)
    assert dict(alone)[fingerprint] == second.id
    assert ledgercore.compact(directory) is not None
    found = keys_of(directory)
    assert dict(found)[fingerprint] == second.id
    assert {key for key, _ in found} == {key for key, _ in alone} == {fingerprint}


def test_a_shorter_time_for_keys_keeps_a_snapshot_right(directory: Path) -> None:
    """What a snapshot forgets must be what the journal forgets.

    Or the two contradict each other once the time is made longer again.
    """
    with open_small(directory, key_ttl_s=1000, keys_max=64) as ledger:
        open_funded(ledger, ["alice"], 0)
        # Keys over more than twice the later time, some in each of the two stripes.
        for round in range(3):
            rows = many_rows(12, start=100 * round)
            started = int(ledger.transfer_batch(rows)["time_ns"][0])
            wait_past(started + SECOND)
    open_small(directory, key_ttl_s=1, keys_max=64).close()
    alone = keys_of(directory)
    assert len(alone) == 36
    assert ledgercore.compact(directory) is not None
    assert keys_of(directory) == alone
    with open_small(directory, key_ttl_s=1000, keys_max=64) as ledger:
        # All of the keys are younger than a thousand seconds, so all of them are replays.
        for round in range(3):
            assert ledger.transfer_batch(many_rows(12, start=100 * round))["replayed"].all()
    ledgercore.verify(directory)
