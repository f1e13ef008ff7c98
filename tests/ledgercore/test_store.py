"""The contract of a store, kept by each kind of store that there is (tests/support/stores.py)."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import ledgercore
from ledgercore import DirectoryLocked, JournalDamaged
from ledgercore.accounts import copy_state
from ledgercore.frames import KIND_SNAPSHOT, SegmentHeader, encode_segment_header
from ledgercore.journal_check import digest_state, replay_in_helper
from ledgercore.opening import open_store
from ledgercore.recovery import Recovery, begin_scan
from ledgercore.snapshots import make_snapshot
from ledgercore.store import Damage, Named, Recovered, Store, chapters_after
from tests.support.children import in_child
from tests.support.making import CAPACITY
from tests.support.stores import (
    KINDS,
    LIFETIMES_S,
    Kind,
    fill,
    length_of,
    open_in,
    options,
    records_of,
    scans,
    walk,
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture
def at(kind: Kind, directory: Path) -> Callable[[], Store]:
    """Return another object for the one store of this test."""
    return lambda: kind.at(directory)


@pytest.fixture
def store(at: Callable[[], Store]) -> Iterator[Store]:
    store = at()
    yield store
    store.release()


def digest_of(recovered: Recovered) -> tuple[int, str]:
    lsn, balances, rows = copy_state(recovered.ledger)
    return lsn, digest_state(balances, rows)


# -- the right to write ---------------------------------------------------------------------------


def test_the_first_claim_makes_the_ledger(store: Store, at: Callable[[], Store]) -> None:
    assert store.claim(options(key_ttl_s=77)).is_new
    (chapter,) = store.chapters()
    header = chapter.header
    assert (header.number, header.first_lsn, header.previous_crc) == (1, 1, 0)
    assert header.key_ttl_ns == 77 * 10**9 and len(header.ledger_id) == len(header.hash_key) == 16
    assert any(header.ledger_id) and any(header.hash_key)
    assert records_of(store) == {} and chapter.synced.lsn == 0
    store.release()
    assert not store.claim(options()).is_new
    (again,) = at().chapters()
    assert again.header == header


def test_one_has_the_right_to_write_and_gives_it_back(
    store: Store, at: Callable[[], Store]
) -> None:
    store.claim(options())
    other = at()
    for second in (other, store, other):
        with pytest.raises(DirectoryLocked):
            second.claim(options())
    store.release()
    store.release()
    other.claim(options())
    with pytest.raises(DirectoryLocked):
        store.claim(options())
    other.release()


def test_the_right_ends_with_the_process(store: Store, at: Callable[[], Store]) -> None:
    assert in_child(lambda: at().claim(options())) == 0
    assert not store.claim(options()).is_new


def test_a_forked_child_cannot_give_it_back(store: Store, at: Callable[[], Store]) -> None:
    store.claim(options())
    assert in_child(store.release) == 0
    with pytest.raises(DirectoryLocked):
        at().claim(options())


def test_a_start_that_fails_holds_nothing(store: Store, at: Callable[[], Store]) -> None:
    fill(store)
    with pytest.raises(ledgercore.InvalidArgument, match="accounts_max"):
        open_store(store, options(accounts_max=1))
    at().claim(options())


def test_who_has_no_claim_gets_no_journal(store: Store, at: Callable[[], Store]) -> None:
    last = fill(store)
    reader = at()
    recovered = Recovery(reader, CAPACITY).run()
    with pytest.raises(RuntimeError, match="not claimed"):
        reader.writer(recovered)
    with pytest.raises(RuntimeError, match="not claimed"):
        reader.start_maintenance()
    assert recovered.lsn == last


# -- chapters -------------------------------------------------------------------------------------


def test_chapters_come_in_their_order_and_hold_everything(store: Store) -> None:
    last = fill(store)
    chapters = list(store.chapters())
    headers = [chapter.header for chapter in chapters]
    assert [header.number for header in headers] == [*range(1, len(LIFETIMES_S) + 1)]
    assert [header.key_ttl_ns // 10**9 for header in headers] == [*LIFETIMES_S]
    assert len({header.salt for header in headers}) == len(headers)
    assert len({(header.ledger_id, header.hash_key) for header in headers}) == 1
    crc, lsn = 0, 1
    for chapter in chapters:
        assert (chapter.header.previous_crc, chapter.header.first_lsn) == (crc, lsn)
        scan = walk(chapter)
        assert scan.end == "end" and scan.offset - chapter.start <= chapter.size
        crc, lsn = scan.previous_crc, scan.next_lsn
    assert lsn == last + 1 and list(records_of(store)) == [*range(1, last + 1)]
    assert len({chapter.place for chapter in chapters}) == len(chapters)


def test_chapters_begin_where_they_are_asked_to(store: Store) -> None:
    last = fill(store)
    everything, records = list(store.chapters()), records_of(store)
    for after in range(last + 2):
        found = list(store.chapters(after))
        assert [each.place for each in found] == [each.place for each in everything[-len(found) :]]
        assert found[0].header.first_lsn <= max(1, min(after, last) + 1)
        # And no earlier than what the store names, which is the end here.
        assert len(found) == 1 or found[1].header.first_lsn > after + 1
        held = records_of(store, after)
        assert held.keys() >= {*range(after + 1, last + 1)}
        assert all(records[lsn] == held[lsn] for lsn in held)


def test_the_pieces_of_a_chapter_are_whole_frames(store: Store) -> None:
    fill(store)
    for chapter in store.chapters():
        whole = sum(1 for _ in scans(chapter))
        assert whole == walk(chapter).frames


def test_the_store_names_the_frame_that_was_synced_last(store: Store) -> None:
    last = fill(store)
    *_, chapter = store.chapters()
    assert chapter.synced.lsn == last and chapter.synced.place
    chapter.synced.compare(chapter.place, walk(chapter).sealed_crc)
    with pytest.raises(JournalDamaged, match="of another history") as caught:
        chapter.synced.compare(chapter.place, chapter.synced.crc ^ 1)
    assert str(caught.value).startswith(chapter.synced.place) and chapter.place in str(caught.value)


def test_a_reader_needs_no_claim_and_stands_beside_the_writer(
    store: Store, at: Callable[[], Store]
) -> None:
    reader = at()
    with open_in(store) as ledger:
        ledger.open_account("world", asset="USD/2", floor=None)
        ledger.open_account("alice", asset="USD/2")
        for number in range(3):
            id = ledger.transfer("world", "alice", 5, key=f"key-{number}").id
            assert [*records_of(reader)] == [*range(1, id + 1)]
            assert reader.find(id) == records_of(reader)[id]
            assert digest_of(Recovery(reader, CAPACITY).run())[0] == id
        # The way in which another process finds it.
        lsn, balances, rows = copy_state(ledger._ledger)
        assert replay_in_helper(store, lsn, CAPACITY).digest == digest_state(balances, rows)


# -- the end --------------------------------------------------------------------------------------


def test_a_whole_end_has_nothing_behind_it(store: Store) -> None:
    fill(store)
    *_, chapter = store.chapters()
    assert store.check_end(chapter, walk(chapter)) == 0


def test_a_torn_end_is_told_and_gone_with_the_next_writer(
    kind: Kind, store: Store, directory: Path
) -> None:
    if kind.tear is None:
        pytest.skip("the appends of this store are whole, or not there")
    last, before = fill(store), records_of(store)
    torn = kind.tear(directory)
    *_, chapter = store.chapters()
    scan = walk(chapter)
    assert (scan.end, scan.next_lsn) == ("bad", last + 1)
    assert store.check_end(chapter, scan) == torn
    assert Recovery(store, CAPACITY).run().torn_bytes == torn
    with open_in(store, key_ttl_s=LIFETIMES_S[-1]) as ledger:
        assert ledger.recovered is not None and ledger.recovered.torn_bytes == torn
    *_, chapter = store.chapters()
    assert store.check_end(chapter, walk(chapter)) == 0 and records_of(store) == before


def test_recovery_tells_where_the_last_frame_is(store: Store) -> None:
    fill(store)
    *_, chapter = store.chapters()
    lengths = [length_of(piece[at.offset :]) for piece, at in scans(chapter)]
    recovered = Recovery(store, CAPACITY).run()
    assert recovered.offset == chapter.start + sum(lengths) and len(lengths) > 1
    assert recovered.last_offset == recovered.offset - lengths[-1]


def test_an_end_before_what_was_synced_is_damage(store: Store) -> None:
    fill(store)
    *_, chapter = store.chapters()
    with pytest.raises(Damage) as caught:
        store.check_end(chapter, begin_scan(chapter))
    lsn = chapter.header.first_lsn
    assert (caught.value.place, caught.value.offset, caught.value.lsn) == (
        chapter.place,
        chapter.start,
        lsn,
    )
    assert str(caught.value).startswith(f"{chapter.place}: offset {chapter.start}, LSN {lsn}: ")


# -- records --------------------------------------------------------------------------------------


def test_every_record_is_found(store: Store, at: Callable[[], Store]) -> None:
    last, records = fill(store), records_of(store)
    for lsn in (*range(last, 0, -1), *range(1, last + 1)):
        assert store.find(lsn) == records[lsn]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(at().find, records)) == list(records.values())


@pytest.mark.parametrize("beyond", [1, 1000])
def test_a_record_that_is_not_there_is_damage(store: Store, beyond: int) -> None:
    last = fill(store)
    with pytest.raises(JournalDamaged, match=f"LSN {last + beyond} has gone"):
        store.find(last + beyond)


# -- the journal ----------------------------------------------------------------------------------


def test_a_writer_goes_on_where_recovery_has_ended(store: Store) -> None:
    last, before = fill(store), records_of(store)
    with open_in(store, key_ttl_s=LIFETIMES_S[-1]) as ledger:
        assert ledger.transfer("world", "alice", 1, key="next").id == last + 1
    after = records_of(store)
    assert list(after) == [*range(1, last + 2)] and before.items() <= after.items()
    *_, chapter = store.chapters()
    assert chapter.synced.lsn == last + 1 and chapter.header.number == len(LIFETIMES_S)


def test_a_journal_says_how_large_a_group_may_be(store: Store) -> None:
    store.claim(options())
    journal = store.writer(Recovery(store, CAPACITY).run())
    assert 1 <= journal.group_records_max <= 16_384
    # Room for the text of one record, and for the two more after which a group is full.
    assert 3 * 384 <= journal.group_text_max <= 1 << 20
    journal.close()


def test_the_house_is_kept_until_it_is_stopped(store: Store) -> None:
    store.claim(options())
    journal = store.writer(Recovery(store, CAPACITY).run())
    maintenance = store.start_maintenance()
    scrubbed = maintenance.scrub_state
    assert scrubbed is None or scrubbed.damage == ()
    maintenance.stop()
    maintenance.stop()
    journal.close()
    assert store.check_end(*[(each, walk(each)) for each in store.chapters()][-1]) == 0


# -- snapshots ------------------------------------------------------------------------------------


def snapshot_bytes(store: Store, lsn: int) -> bytes:
    """The head of a snapshot, and something behind it."""
    (first, *_) = store.chapters()
    header = replace(first.header, kind=KIND_SNAPSHOT, first_lsn=lsn, salt=lsn)
    return encode_segment_header(header) + b"frames of %d" % lsn


def test_the_shelf_keeps_what_it_is_given(store: Store, at: Callable[[], Store]) -> None:
    store.claim(options())
    shelf, read = store.snapshots(), list[tuple[str, bytes]]()
    assert shelf.lsns() == [] and len(shelf.read(5)) == 0 and shelf.read_header(5) is None
    for lsn in (7, 12345678901, 5):
        data = snapshot_bytes(store, lsn)
        shelf.put(lsn, [data[:9], data[9:]], lambda place, view: read.append((place, bytes(view))))
        assert read.pop()[1] == data and read == []
    assert shelf.lsns() == at().snapshots().lsns() == [12345678901, 7, 5]
    for lsn in shelf.lsns():
        data, header = snapshot_bytes(store, lsn), at().snapshots().read_header(lsn)
        assert bytes(at().snapshots().read(lsn)) == data
        assert header is not None and header.salt == lsn
    assert len({shelf.place(lsn) for lsn in (*shelf.lsns(), 6)}) == 4
    shelf.drop(7)
    assert shelf.lsns() == [12345678901, 5]
    assert len(shelf.read(7)) == 0 and shelf.read_header(7) is None


def test_a_snapshot_that_fails_changes_nothing(store: Store) -> None:
    store.claim(options())
    shelf, data = store.snapshots(), snapshot_bytes(store, 5)

    def refuse(place: str, _: memoryview) -> None:
        raise JournalDamaged(f"{place}: refused")

    def break_off() -> Iterator[bytes]:
        yield data[:100]
        raise MemoryError

    with pytest.raises(JournalDamaged, match="refused"):
        shelf.put(5, [data], refuse)
    with pytest.raises(MemoryError):
        shelf.put(5, break_off(), lambda *_: None)
    assert shelf.lsns() == [] and len(shelf.read(5)) == 0
    shelf.put(5, [data], lambda *_: None)
    with pytest.raises(JournalDamaged, match="refused"):
        shelf.put(5, [b"other"], refuse)
    assert shelf.lsns() == [5] and bytes(shelf.read(5)) == data


def test_a_snapshot_and_the_rest_are_the_whole(store: Store) -> None:
    fill(store)
    assert make_snapshot(store, CAPACITY, sealed_only=True) is not None
    last = fill(store, 1)
    with_it, alone = (Recovery(store, CAPACITY, snapshots=each).run() for each in (None, ()))
    assert with_it.snapshot_lsn > 0 == alone.snapshot_lsn
    assert digest_of(with_it) == digest_of(alone) and with_it.lsn == last
    assert (
        with_it.snapshot_lsn < last
        and with_it.first_lsn > 1 == alone.first_lsn
        and with_it.notes == ()
    )


# -- what all stores share ------------------------------------------------------------------------


@dataclass(frozen=True)
class Empty:
    """A chapter of which only the header matters."""

    header: SegmentHeader
    synced: Named


def test_a_chapter_is_left_out_where_the_next_shows_that_it_may_be(store: Store) -> None:
    store.claim(options())
    (first,) = store.chapters()

    def left(after: int, synced_lsn: int) -> list[int]:
        headers = [
            replace(first.header, number=number, first_lsn=lsn)
            for number, lsn in enumerate([1, 4, 4, 9])
        ]
        chapters: list[Any] = [Empty(header, Named("seal", synced_lsn, 1)) for header in headers]
        return [each.header.number for each in chapters_after(chapters, after)]

    assert left(0, 20) == left(2, 20) == [0, 1, 2, 3]
    assert left(3, 20) == left(7, 20) == [2, 3]
    assert left(8, 20) == left(100, 20) == [3]
    # What the store names as synced is to be read, too.
    assert left(100, 0) == left(100, 2) == [0, 1, 2, 3]
    assert left(100, 3) == [2, 3] and left(100, 8) == [3]
