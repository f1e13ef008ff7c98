"""The native way through columns: what it takes, what it names, and that nothing reads too far."""

from collections.abc import Iterator
from typing import Any

import nanoarrow
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledgercore
from ledgercore import Status, Submission
from ledgercore.service.wire import arrow
from ledgercore.service.wire.problems import Problem
from ledgercore.service.wire.transfers_arrow import (
    ColumnFault,
    CompressedStream,
    add_columns,
    check_stream,
    encode_outcomes,
)
from tests.support.histories import open_small, wait_readable
from tests.support.tables import TEXT_TYPES, make_table, read_table, write_table

NAMES = [b"%d" % number for number in range(max(Status) + 1)]


@pytest.fixture(scope="module")
def ledger() -> Iterator[ledgercore.Engine]:
    with open_small(None, durability="memory") as engine:
        engine.open_account("world", asset="USD/2", floor=None)
        engine.open_account("a", asset="USD/2")
        yield engine


def read(ledger: ledgercore.Engine, table: Any, rows_max: int = 100) -> Submission:
    submission = ledger.new_submission(rows_max)
    try:
        add_columns(submission, table, b"")
    except BaseException:
        assert len(submission) == 0
        raise
    return submission


def fault_of(ledger: ledgercore.Engine, table: pa.Table) -> tuple[Any, ...]:
    with pytest.raises(ColumnFault) as caught:
        read(ledger, table)
    fault = caught.value
    return fault.row, fault.column, fault.code, fault.value


def complete(ledger: ledgercore.Engine, submission: Submission) -> None:
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]


def are_replays(ledger: ledgercore.Engine, submission: Submission, rows: list[Any]) -> None:
    """Check that what a submission stored is what these rows (key, from, to, amount, memo) say."""
    complete(ledger, submission)
    assert len(submission) == len(rows)
    for index, (key, source, target, amount, memo) in enumerate(rows):
        outcome = submission.outcome(index)
        # The same key with the same payload is a replay; with any other it would be refused.
        again = ledger.transfer(source, target, amount, key=key, memo=memo or None)
        assert again.id == outcome.id and again.status is outcome.status
        assert outcome.id == 0 or again.replayed


# -- what is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXT_TYPES, ids=str)
def test_text_of_every_type_is_read(ledger: ledgercore.Engine, text: pa.DataType) -> None:
    rows = [(f"{text}-{n}".replace(" ", ""), "world", ("a", "nobody")[n % 2], n) for n in (1, 2, 3)]
    table = make_table(rows, text).append_column("memo", pa.array(["ü", None, ""], text))
    memos = ("ü", None, None)
    are_replays(ledger, read(ledger, table), [(*r, m) for r, m in zip(rows, memos, strict=True)])


def test_numbers_of_accounts_are_read(ledger: ledgercore.Engine) -> None:
    ids = [account.id for account in ledger.accounts(0, 10)]
    table = make_table([("slot-1", 0, 1, 5), ("slot-2", 1, 0, 5)], account=pa.uint32())
    rows = [("slot-1", ids[0], ids[1], 5, None), ("slot-2", ids[1], ids[0], 5, None)]
    are_replays(ledger, read(ledger, table), rows)


def test_columns_may_come_in_any_order(ledger: ledgercore.Engine) -> None:
    table = make_table([("order-1", "world", "a", 7)]).select(["amount", "to", "key", "from"])
    are_replays(ledger, read(ledger, table), [("order-1", "world", "a", 7, None)])


def test_the_longest_values_are_read(ledger: ledgercore.Engine) -> None:
    key, source, memo = '!~"\\' * 63 + "!~'", "A-z.0_9:@/" * 6 + "zzzz", "m" * 254 + "ü"
    table = make_table([(key, source, "a", 2**63 - 1)]).append_column("memo", pa.array([memo]))
    assert (len(key), len(source), len(memo.encode())) == (255, 64, 256)
    are_replays(ledger, read(ledger, table), [(key, source, "a", 2**63 - 1, memo)])


def test_batches_follow_each_other(ledger: ledgercore.Engine) -> None:
    rows = [(f"batch-{n}", "world", "a", n + 1) for n in range(10)]
    table = pa.concat_tables([make_table(rows[:3]), make_table([]), make_table(rows[3:])])
    are_replays(ledger, read(ledger, table), [(*row, None) for row in rows])
    assert len(read(ledger, make_table([]))) == 0
    with pytest.raises(ValueError, match="more rows"):
        read(ledger, table, 9)


# -- what is not ----------------------------------------------------------------------------------

GOOD = ("k", "world", "a", 1)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("key", ["", "k" * 256, "a b", "é", "\x7f", "a\n"]),
        ("from", ["", "s" * 65, "a b", "é", '"', "\\"]),
        ("to", ["", "s" * 65, "a b", "é", "\x00"]),
        ("amount", [0, -1, -(2**63)]),
        ("memo", ["m" * 257, "\x7f", "\x80", "\n", "ü" * 128 + "m"]),
    ],
)
def test_a_value_that_does_not_do_is_named(
    ledger: ledgercore.Engine, column: str, values: list[Any]
) -> None:
    for value in values:
        columns = dict(zip(("key", "from", "to", "amount", "memo"), (*GOOD, "memo"), strict=True))
        first = make_table([GOOD]).append_column("memo", pa.array(["memo"]))
        table = pa.concat_tables([first, pa.table({n: [v] for n, v in columns.items()})])
        wrong = pa.table({name: [value if name == column else columns[name]] for name in columns})
        held = value.encode() if isinstance(value, str) else value
        assert fault_of(ledger, pa.concat_tables([table, wrong])) == (2, column, "", held)


@pytest.mark.parametrize("column", ["key", "from", "to", "amount"])
def test_what_is_null_is_named(ledger: ledgercore.Engine, column: str) -> None:
    table = pa.table(
        {n: [v] * 9 for n, v in zip(("key", "from", "to", "amount"), GOOD, strict=True)}
    )
    place = table.column_names.index(column)
    values = [*table[column].to_pylist()[:8], None]
    row, name, code, _ = fault_of(ledger, table.set_column(place, column, pa.array(values)))
    assert (row, name, code) == (8, column, "null")
    if column != "amount":
        entries = pa.DictionaryArray.from_arrays(
            pa.array([0] * 8 + [1]), pa.array([values[0], None])
        )
        row, name, code, _ = fault_of(ledger, table.set_column(place, column, entries))
        assert (row, name, code) == (8, column, "null")


def test_numbers_of_no_account_or_entry_are_named(ledger: ledgercore.Engine) -> None:
    count = len(ledger.accounts(0, 1000))
    table = make_table([("k", 0, 1, 1), ("k", 0, count, 1)], account=pa.uint32())
    assert fault_of(ledger, table) == (1, "to", "out-of-range", None)
    for index in (pa.array([1]), pa.array([-1], pa.int8()), pa.array([2**64 - 1], pa.uint64())):
        entries = pa.DictionaryArray.from_arrays(index, ["world"], safe=False)
        table = make_table([GOOD]).set_column(1, "from", entries)
        assert fault_of(ledger, table) == (0, "from", "out-of-range", None)


@pytest.mark.parametrize("offsets", [[0, 5, 4], [0, 99, 2], [4, 2, 6]])
def test_offsets_that_lead_astray_are_named(ledger: ledgercore.Engine, offsets: list[int]) -> None:
    """A decoder should have seen them; what it has not seen is read no further than the last."""
    for kind, number in ((pa.string(), pa.int32()), (pa.large_string(), pa.int64())):
        buffers = [None, pa.array(offsets, number).buffers()[1], pa.py_buffer(b"abcdefghij")]
        column = pa.Array.from_buffers(kind, 2, buffers)
        table = make_table([GOOD, GOOD]).set_column(0, "key", column)
        assert fault_of(ledger, table)[1:] == ("key", "broken", None)


def test_columns_that_do_not_do_are_named(ledger: ledgercore.Engine) -> None:
    table = make_table([GOOD])
    for name in table.column_names:
        assert fault_of(ledger, table.drop_columns([name])) == (None, name, "missing", None)
        doubled = table.append_column(name, table[name])
        assert fault_of(ledger, doubled) == (None, name, "duplicate", None)
    assert fault_of(ledger, table.append_column("x", table["key"])) == (None, "x", "unknown", None)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("key", pa.uint32()),
        ("key", pa.binary()),
        ("key", pa.binary(16)),
        ("key", pa.string_view()),
        ("key", pa.list_(pa.string())),
        ("key", pa.dictionary(pa.int8(), pa.binary())),
        ("from", pa.int32()),
        ("from", pa.uint64()),
        ("from", pa.dictionary(pa.int8(), pa.uint32())),
        ("amount", pa.int32()),
        ("amount", pa.uint64()),
        ("amount", pa.float64()),
        ("amount", pa.string()),
        ("amount", pa.dictionary(pa.int8(), pa.int64())),
        ("amount", pa.null()),
        ("memo", pa.null()),
    ],
    ids=str,
)
def test_types_that_do_not_do_are_named(
    ledger: ledgercore.Engine, column: str, kind: pa.DataType
) -> None:
    table = make_table([GOOD]).append_column("memo", pa.array(["memo"]))
    place = table.column_names.index(column)
    wrong = table.set_column(place, column, pa.array([None], kind))
    assert fault_of(ledger, wrong) == (None, column, "type", None)


def test_what_is_no_table_is_refused(ledger: ledgercore.Engine) -> None:
    with pytest.raises(ValueError, match="not a table"):
        read(ledger, nanoarrow.ArrayStream([1, 2], nanoarrow.int64()))
    submission = read(ledger, make_table([GOOD]))
    with pytest.raises(ValueError, match="not empty"):
        add_columns(submission, make_table([GOOD]), b"")


# -- the frame ------------------------------------------------------------------------------------


def test_rows_are_counted() -> None:
    for text in (pa.string(), pa.dictionary(pa.int8(), pa.string())):
        table = make_table([GOOD] * 10, text)
        assert check_stream(write_table(table)) == check_stream(write_table(table, 4)) == 10


def test_what_is_compressed_is_refused() -> None:
    for table in (
        make_table([GOOD] * 10),
        make_table([GOOD], pa.dictionary(pa.int8(), pa.string())),
    ):
        for codec in ("zstd", "lz4"):
            with pytest.raises(CompressedStream):
                check_stream(write_table(table, compression=codec))


BODY = write_table(
    make_table([GOOD, ("k2", "a", "world", 3)]).set_column(
        1, "from", pa.array(["world", "a"]).dictionary_encode()
    )
)


def test_every_cut_of_a_stream_is_refused() -> None:
    assert check_stream(BODY) == 2
    for length in range(len(BODY)):
        with pytest.raises(ValueError, match="cut"):
            check_stream(BODY[:length])
    for more in (b"\0", b"\0" * 8, BODY):
        with pytest.raises(ValueError, match="cut"):
            check_stream(BODY + more)


def test_what_would_be_read_out_of_line_is_refused() -> None:
    length = int.from_bytes(BODY[4:8], "little")
    moved = BODY[:4] + (length + 1).to_bytes(4, "little") + BODY[8 : 8 + length] + b"\0"
    assert read_table(moved + BODY[8 + length :]).num_rows == 2
    with pytest.raises(ValueError, match="cut"):
        check_stream(moved + BODY[8 + length :])


def agree(ledger: ledgercore.Engine, body: bytes) -> bool:
    """Whether a body is taken; then pyarrow takes it too, and reads the same."""
    try:
        submission = arrow.fill_submission(ledger, body, "")
    except Problem:
        return False
    # In the C interface the name of a column ends at its first NUL, and pyarrow reads on.
    try:
        table = read_table(body)
    except UnicodeDecodeError:
        return True
    names = [account.id for account in ledger.accounts(0, 1000)]
    rows = []
    table = table.rename_columns([name.partition("\0")[0] for name in table.column_names])
    for one in table.to_pylist():
        parties = (one["from"], one["to"])
        source, target = (p if isinstance(p, str) else names[p] for p in parties)
        rows.append((one["key"], source, target, one["amount"], one.get("memo")))
    are_replays(ledger, submission, rows)
    return True


def test_every_changed_bit_is_refused_or_read_as_pyarrow_reads_it(
    ledger: ledgercore.Engine,
) -> None:
    taken = 0
    for place in range(len(BODY)):
        for change in (0x01, 0x80, 0xFF):
            body = bytearray(BODY)
            body[place] ^= change
            taken += agree(ledger, bytes(body))
    assert 0 < taken < len(BODY)


BODIES = [
    BODY,
    write_table(make_table([GOOD, GOOD], pa.large_string())),
    write_table(make_table([("k", 0, 1, 1)] * 3, account=pa.uint32()), 1),
    write_table(make_table([GOOD] * 4, pa.dictionary(pa.uint8(), pa.string())), 2),
    write_table(make_table([GOOD]).append_column("memo", pa.array(["ü"]))),
    write_table(make_table([GOOD, ("k" * 40, "a", "world", 3)], pa.string_view())),
]


@settings(max_examples=2000, deadline=None)
@given(
    body=st.sampled_from(BODIES),
    edits=st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\x01\0", b"\xff" * 4, b"\xff" * 8])
            | st.binary(min_size=1, max_size=8),
        ),
        max_size=6,
    ),
    cuts=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 64)), max_size=2),
)
def test_damage_is_refused_or_read_as_pyarrow_reads_it(
    ledger: ledgercore.Engine, body: bytes, edits: list[Any], cuts: list[Any]
) -> None:
    damaged = bytearray(body)
    for place, piece in edits:
        at = place % len(damaged)
        damaged[at : at + len(piece)] = piece[: len(damaged) - at]
    for place, length in cuts:
        at = place % max(1, len(damaged))
        del damaged[at : at + length]
    agree(ledger, bytes(damaged))


# -- outcomes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 90])
def test_outcomes_become_columns(ledger: ledgercore.Engine, count: int) -> None:
    rows = [(f"out-{count}-{n - n % 3}", "world", "a", 1 + n % 3 // 2) for n in range(count)]
    submission = read(ledger, make_table(rows))
    complete(ledger, submission)
    validity, ids, offsets, text, replayed = map(pa.py_buffer, encode_outcomes(submission, NAMES))
    outcomes = [submission.outcome(index) for index in range(count)]
    assert pa.Array.from_buffers(pa.uint64(), count, [validity, ids]).to_pylist() == [
        outcome.id or None for outcome in outcomes
    ]
    assert pa.Array.from_buffers(pa.string(), count, [None, offsets, text]).to_pylist() == [
        str(int(outcome.status)) for outcome in outcomes
    ]
    told = pa.Array.from_buffers(pa.bool_(), count, [None, replayed]).to_pylist()
    assert told == [outcome.replayed for outcome in outcomes]
    assert told == [n % 3 == 1 for n in range(count)]
    with pytest.raises(ValueError, match="a name for each status"):
        encode_outcomes(submission, NAMES[:3])
