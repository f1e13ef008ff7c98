"""A ledger's state told as records, and taken back: the same balances, limits and answers to keys.

Each thing that can be wrong with a record is told by a number, and each number by a sentence.
"""

import struct

import numpy as np
import pytest

from ledgercore import Engine, Status
from ledgercore.frames import encode_frame, scan_frames
from ledgercore.grammar import CEILING_NONE, FLOOR_NONE
from ledgercore.layouts import ACCOUNT_LAYOUT, KEY_ENTRY, RECORD, TRANSFER_LAYOUT
from ledgercore.ledger import Ledger
from ledgercore.opening import Opened
from ledgercore.options import Options
from ledgercore.replay import (
    PROBLEMS,
    Replay,
    count_keys,
    dump_accounts,
    dump_keys,
    end_record,
    key_records,
    last_lsn,
    look_up_key,
)
from tests.support.histories import open_funded
from tests.support.making import many_rows

TTL_NS = 10**12
TRANSFER, OPENED, CHANGED, KEY_STATE, SNAPSHOT_END = 1, 2, 3, 17, 18
TIME_NS = 5


def new_ledger(keys_max: int = 1 << 12, accounts_max: int = 1024) -> Ledger:
    return Ledger(
        accounts_max=accounts_max,
        keys_max=keys_max,
        key_ttl_ns=TTL_NS,
        ring_records=65_536,
        hash_key=bytes(range(16)),
    )


def engine_over(ledger: Ledger) -> Engine:
    """An engine in memory over a ledger that the test holds as well."""
    return Engine(Options(durability="memory", keys_max=1 << 12), Opened(ledger, None, None, None))


def state_file(ledger: Ledger, accounts: int, piece: int) -> bytes:
    """The state of a ledger as frames of at most `piece` records."""
    parts = [
        dump_accounts(ledger, start, min(piece, accounts - start))
        for start in range(0, accounts, piece)
    ]
    keys = dump_keys(ledger)
    parts += [
        (key_records(ledger, keys[start : start + piece]), b"")
        for start in range(0, len(keys), piece)
    ]
    parts.append((end_record(ledger, accounts + len(keys)), b""))
    data, position, crc = b"", 1, 0
    for records, text in parts:
        frame, crc = encode_frame(records.view(np.uint8), text, position, 1, crc, position - 1)
        data += frame
        position += len(records)
    return data


def fill(engine: Engine) -> None:
    """Accounts with every setting, keys applied and refused, an asset of its own."""
    open_funded(engine, ["alice", "bob"], 1000)
    engine.open_account("euro", asset="EUR/2", floor=-5, ceiling=9, frozen=True)
    engine.open_account("edge", asset="USD/2", floor=-(2**63) + 1, ceiling=2**63 - 2)
    engine.transfer_batch(many_rows(300, target=2))
    engine.transfer("alice", "ghost", 3, key="lost", memo="für Öl")
    engine.transfer("alice", "bob", 10**6, key="big", client="shop")
    engine.change_account("alice", floor=-7, frozen=True)


@pytest.mark.parametrize("piece", [1, 7, 8192])
def test_a_state_comes_back_from_its_records(piece: int) -> None:
    first, second = new_ledger(), new_ledger()
    with engine_over(first) as engine:
        fill(engine)
        accounts = engine.accounts()
        replay = Replay(second)
        scan = scan_frames(state_file(first, len(accounts), piece), 1, 0, 0, 1, replay=replay)
        assert (scan.end, replay.problem, replay.problem_text) == ("end", 0, None)
        assert replay.lsn == last_lsn(second) == last_lsn(first)
        assert replay.records == len(accounts) + count_keys(first) + 1
        assert (replay.transfers, replay.refusals) == (0, 0)
        assert (dump_keys(second) == dump_keys(first)).all() and count_keys(second) == 304
        with engine_over(second) as other:
            assert other.accounts() == accounts
            assert other.audit().sums == engine.audit().sums
            same_answers(engine, other)


def same_answers(engine: Engine, other: Engine) -> None:
    """Both answer the old keys alike, and go on alike."""
    rows = many_rows(300, target=2)
    again, answers = engine.transfer_batch(rows), other.transfer_batch(rows)
    assert (again == answers).all() and answers["replayed"].all()
    lost = other.transfer("alice", "ghost", 3, key="lost", memo="für Öl")
    assert lost == engine.transfer("alice", "ghost", 3, key="lost", memo="für Öl")
    assert (lost.status, lost.replayed) == (Status.TARGET_NOT_FOUND, True)
    other_memo = other.transfer("alice", "ghost", 3, key="lost", memo="fur Ol")
    assert other_memo.status is Status.KEY_REUSED
    assert other.find_key("big", "shop").state == "refused"
    for one in (engine, other):
        assert one.transfer("alice", "bob", 1, key="new").status is Status.SOURCE_FROZEN
        assert one.transfer("bob", "alice", 1, key="new-too").status is Status.TARGET_FROZEN
    assert other.transfer("world", "bob", 1, key="x").id == last_lsn(other._ledger)
    # A new account takes the next slot.
    assert other.open_account("carol", asset="EUR/2").slot == 5


def test_an_empty_ledger_is_one_record() -> None:
    ledger, second = new_ledger(), new_ledger()
    assert len(dump_keys(ledger)) == 0 and dump_keys(ledger).dtype == KEY_ENTRY
    assert key_records(ledger, dump_keys(ledger)).shape == (0,)
    assert end_record(ledger, 0).shape == (1,) and end_record(ledger, 0).dtype == RECORD
    replay = Replay(second)
    scan_frames(state_file(ledger, 0, 1), 1, 0, 0, 1, replay=replay)
    assert (replay.problem, replay.records, replay.lsn) == (0, 1, 0)


def test_keys_are_dumped_in_the_order_of_their_lsns() -> None:
    ledger = new_ledger()
    with engine_over(ledger) as engine:
        fill(engine)
        rows = dump_keys(ledger)
        lsns = rows["lsn_status"] >> 8
        assert (np.diff(lsns.astype(np.int64)) > 0).all()
        for row in rows[::50]:
            found = look_up_key(ledger, row["key"].tobytes())
            assert found == (int(row["lsn_status"]) >> 8, int(row["lsn_status"]) & 255, False)


# -- what can be wrong with a record ---------------------------------------------------------------


def opening(slot: int, id: bytes, offset: int) -> bytes:
    """The record of an account without limits; `id` stands at `offset` in the text."""
    limits = (FLOOR_NONE, CEILING_NONE, slot, 0, 0)
    text = (offset, len(id) + 5, len(id), 5)
    return ACCOUNT_LAYOUT.pack(0, OPENED, 0, 0, 0, 0, *limits, TIME_NS, *text)


def change(slot: int, floor: int) -> bytes:
    limits = (floor, CEILING_NONE, slot, 0, 0)
    return ACCOUNT_LAYOUT.pack(0, CHANGED, 0, 0, 0, 0, *limits, TIME_NS, 0, 0, 0, 0)


def transfer(key: int, status: int, amount: int, target: int = 1, kind: int = TRANSFER) -> bytes:
    head = (0, kind, status, 0, 0, 0, struct.pack("<QQ", key, 1), 0, target, amount, TIME_NS)
    return TRANSFER_LAYOUT.pack(*head, 0, 0, 0, 0)


TEXT = b"aUSD/2bUSD/2cUSD/2"
BEGINNING = [opening(0, b"a", 0), opening(1, b"b", 6), transfer(1, Status.APPLIED, 5)]
REFUSED = int(Status.INSUFFICIENT_FUNDS)
CASES: list[tuple[list[bytes], int, str]] = [
    ([transfer(2, REFUSED, 1)], 4, "outcome"),
    ([transfer(2, Status.APPLIED, 1, target=9)], 4, "outcome"),
    ([transfer(2, Status.APPLIED, 0)], 4, "outcome"),
    ([transfer(2, Status.APPLIED, -1)], 4, "outcome"),
    ([transfer(2, Status.APPLIED, 1), transfer(1, Status.APPLIED, 5)], 5, "already used"),
    ([transfer(number, Status.APPLIED, 1) for number in range(2, 99)], 0, "keys_max"),
    ([opening(2, b"c", 12)], 4, "accounts_max"),
    ([opening(3, b"c", 12)], 4, "opens an account"),
    ([opening(2, b"b", 6)], 4, "opens an account"),
    ([change(2, 0)], 4, "changes an account"),
    ([change(1, 6)], 4, "changes an account"),
    ([transfer(2, Status.APPLIED, 1, kind=4)], 4, "kind"),
    ([transfer(2, Status.APPLIED, 1, kind=19)], 4, "kind"),
    ([transfer(4, Status.APPLIED, 1, kind=SNAPSHOT_END)], 4, "counts"),
]


def replayed(records: list[bytes], replay: Replay, first_lsn: int = 1) -> Replay:
    frame, _ = encode_frame(b"".join(records), TEXT, first_lsn, 1, 0, 0)
    scan_frames(frame, 1, 0, 0, first_lsn, replay=replay)
    return replay


def test_the_beginning_of_every_case_is_right() -> None:
    replay = replayed(BEGINNING, Replay(new_ledger(keys_max=1, accounts_max=2)))
    assert (replay.problem, replay.lsn, replay.transfers) == (0, 3, 1)


@pytest.mark.parametrize(("records", "lsn", "text"), CASES)
def test_a_wrong_record_stops_the_replay(records: list[bytes], lsn: int, text: str) -> None:
    replay = replayed([*BEGINNING, *records], Replay(new_ledger(keys_max=1, accounts_max=2)))
    assert text in replay.problem_text and replay.problem_lsn == (lsn or replay.problem_lsn)
    assert replay.lsn == replay.records == replay.problem_lsn - 1


def test_a_record_of_another_lsn_stops_the_replay() -> None:
    replay = replayed(BEGINNING, Replay(new_ledger()), first_lsn=2)
    assert "LSN" in replay.problem_text and (replay.problem_lsn, replay.lsn) == (2, 0)


def test_every_problem_is_told_and_can_happen() -> None:
    met = set[int]()
    for records, _, _ in CASES:
        ledger = new_ledger(keys_max=1, accounts_max=2)
        met.add(replayed([*BEGINNING, *records], Replay(ledger)).problem)
    met.add(replayed(BEGINNING, Replay(new_ledger()), first_lsn=2).problem)
    # Each key names how long it lives, and there is room for 256 different times.
    lives = [
        TRANSFER_LAYOUT.pack(
            0, KEY_STATE, 0, 0, 0, life, b"%016d" % life, 0, 0, 1, TIME_NS, 0, 0, 0, 0
        )
        for life in range(1, 258)
    ]
    met.add(replayed(lives, Replay(new_ledger())).problem)
    assert met == PROBLEMS.keys() == set(range(1, len(PROBLEMS) + 1))
    assert len(set(PROBLEMS.values())) == len(PROBLEMS) and all(PROBLEMS.values())


@pytest.mark.parametrize("until_lsn", [0, 1, 2, 3, 4])
def test_a_replay_stops_at_its_lsn_in_the_middle_of_a_frame(until_lsn: int) -> None:
    replay = replayed([*BEGINNING, transfer(2, Status.APPLIED, 1)], Replay(new_ledger(), until_lsn))
    assert (replay.lsn, replay.problem) == (until_lsn, 0)


def test_what_a_snapshot_holds_already_is_passed_over() -> None:
    ledger = new_ledger()
    replayed(BEGINNING, Replay(ledger))
    again = replayed([*BEGINNING, transfer(2, Status.APPLIED, 1)], Replay(ledger))
    assert (again.problem, again.lsn, again.transfers) == (0, 4, 1)
