"""POST /transfers as an Arrow stream: its order, its answers and its refusals, on a real server."""

import io
import json
import struct
from typing import Any

import httpx
import nanoarrow
import polars as pl
import pyarrow as pa
import pytest

from ledgercore.service.wire import arrow, bulk
from ledgercore.service.wire.problems import Problem
from tests.support.servers import balance, check_problem
from tests.support.tables import HEADERS, Row, make_table, read_table, write_table

pytest_plugins = ["tests.support.serving"]


def post(client: httpx.Client, table: pa.Table | bytes, **headers: str) -> httpx.Response:
    content = table if isinstance(table, bytes) else write_table(table)
    return client.post("/transfers", content=content, headers=HEADERS | headers)


def ask(client: httpx.Client, table: pa.Table | bytes) -> list[tuple[int | None, str, bool]]:
    """Return id, status and replayed of each row."""
    answer = post(client, table)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == arrow.MEDIA_TYPE
    told = read_table(answer.content)
    assert told.schema == pa.schema(
        [
            pa.field("id", pa.uint64()),
            pa.field("status", pa.string(), nullable=False),
            pa.field("replayed", pa.bool_(), nullable=False),
        ]
    )
    return [(row["id"], row["status"], row["replayed"]) for row in told.to_pylist()]


def ask_in_json(client: httpx.Client, rows: list[Row]) -> list[tuple[int | None, str, bool]]:
    items = [
        {"idempotency_key": key, "from": source, "to": target, "amount": amount}
        for key, source, target, amount in rows
    ]
    answer = client.post("/transfers", json=items)
    assert answer.status_code == 200, answer.text
    return [
        (one.get("id"), one.get("reason", one["status"]), one.get("replayed", False))
        for one in answer.json()
    ]


def make_rows(name: str) -> list[Row]:
    """Return transfers of every outcome that a few accounts can show, in an order that counts."""
    bank, a, b = f"{name}:bank", f"{name}:a", f"{name}:b"
    return [
        (f"{name}-1", a, b, 5),
        (f"{name}-2", bank, a, 5),
        (f"{name}-3", a, b, 5),
        (f"{name}-4", a, b, 5),
        (f"{name}-3", a, b, 5),
        (f"{name}-3", a, b, 6),
        (f"{name}-5", f"{name}:nobody", b, 1),
        (f"{name}-6", bank, f"{name}:nobody", 1),
        (f"{name}-7", bank, bank, 1),
    ]


STATUSES = [
    "insufficient-funds",
    "applied",
    "applied",
    "insufficient-funds",
    "applied",
    "idempotency-key-reused",
    "source-not-found",
    "target-not-found",
    "same-account",
]


# -- what is taken --------------------------------------------------------------------------------


def test_a_later_one_spends_what_an_earlier_one_brought(client: httpx.Client, name: str) -> None:
    told = ask(client, make_table(make_rows(name)))
    assert [status for _, status, _ in told] == STATUSES
    assert [is_replayed for *_, is_replayed in told] == [n == 4 for n in range(len(told))]
    assert told[5][0] is None and told[4][0] == told[2][0]
    assert (balance(client, f"{name}:a"), balance(client, f"{name}:b")) == (0, 5)
    found = client.get(f"/transfers/{told[2][0]}").json()
    assert (found["from"], found["to"], found["amount"]) == (f"{name}:a", f"{name}:b", 5)


@pytest.mark.parametrize("first", ["arrow", "json"])
def test_both_formats_tell_the_same_and_share_their_keys(
    client: httpx.Client, name: str, first: str
) -> None:
    rows = make_rows(name)
    ways = [lambda: ask(client, make_table(rows)), lambda: ask_in_json(client, rows)]
    told, again = (way() for way in (ways if first == "arrow" else reversed(ways)))
    assert [status for _, status, _ in told] == STATUSES
    assert again == [(id, status, id is not None) for id, status, _ in told]


def test_accounts_go_by_the_order_of_their_opening(client: httpx.Client, name: str) -> None:
    ids: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get("/accounts" + (f"?cursor={cursor}" if cursor else "")).json()
        ids += [account["id"] for account in page["accounts"]]
        cursor = page["next"]
    bank, a = ids.index(f"{name}:bank"), ids.index(f"{name}:a")
    table = make_table([(f"{name}-1", bank, a, 7)], account=pa.uint32())
    assert [status for _, status, _ in ask(client, table)] == ["applied"]
    assert balance(client, f"{name}:a") == 7
    again = ask(client, make_table([(f"{name}-1", f"{name}:bank", f"{name}:a", 7)]))
    assert [is_replayed for *_, is_replayed in again] == [True]


def test_text_may_be_written_as_polars_writes_it(client: httpx.Client, name: str) -> None:
    key = f"{name}-{'k' * 40}"
    rows: list[Row] = [(key, f"{name}:bank", f"{name}:a", 3), (f"{name}-2", f"{name}:a", "x", 1)]
    told = ask(client, make_table(rows, pa.string_view()))
    assert [status for _, status, _ in told] == ["applied", "target-not-found"]
    assert ask(client, make_table(rows))[0] == (told[0][0], "applied", True)
    rows.append((f"{name}-3", "", "x", 1))
    body = check_problem(post(client, make_table(rows, pa.string_view())), 400, "malformed")
    assert body["errors"][0]["pointer"] == "/2/from"


@pytest.mark.parametrize("compat_level", [pl.CompatLevel.oldest(), pl.CompatLevel.newest()])
@pytest.mark.parametrize("kind", ["String", "Categorical", "Enum"])
def test_polars_columns_are_taken(
    client: httpx.Client, name: str, kind: str, compat_level: pl.CompatLevel
) -> None:
    rows = make_rows(name)
    frame = pl.DataFrame(rows, ["key", "from", "to", "amount"], orient="row")
    texts = pl.col("key", "from", "to")
    if kind == "Categorical":
        frame = frame.with_columns(texts.cast(pl.Categorical))
    elif kind == "Enum":
        words = sorted({word for row in rows for word in row[:3] if word})
        frame = frame.with_columns(texts.cast(pl.Enum(words)))
    stream = io.BytesIO()
    frame.write_ipc_stream(stream, compat_level=compat_level)
    answer = post(client, stream.getvalue())
    assert answer.status_code == 200, answer.text
    told = pl.read_ipc_stream(answer.content)
    assert told["status"].to_list() == STATUSES
    again = ask(client, make_table(rows))
    assert [id for id, *_ in again] == told["id"].to_list()


def test_batches_may_share_a_dictionary_of_views_or_replace_it(
    client: httpx.Client, name: str
) -> None:
    rows = [
        (f"{name}-{n}", f"{name}:bank", f"{name}:{'a' if n < 6 else 'b'}", 1) for n in range(12)
    ]
    text = pa.dictionary(pa.int32(), pa.string())
    tables = [make_table(some, text) for some in (rows[:6], rows[6:])]
    views = [
        pa.field(field.name, pa.dictionary(pa.int32(), pa.string_view()))
        if pa.types.is_dictionary(field.type)
        else field
        for field in tables[0].schema
    ]
    table = pa.concat_tables([table.cast(pa.schema(views)) for table in tables])
    told = ask(client, write_table(table, 2))
    assert [status for _, status, _ in told] == ["applied"] * 12
    assert (balance(client, f"{name}:a"), balance(client, f"{name}:b")) == (6, 6)


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_views_that_share_their_text_are_not_spread_out(
    client: httpx.Client, name: str, is_dictionary: bool
) -> None:
    """A body of two MB would take 100 GB as large_string."""
    count, text = 100_000, b"x" * 1_000_000
    view = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    buffers = [None, pa.py_buffer(view * count), pa.py_buffer(text)]
    views = pa.Array.from_buffers(pa.string_view(), count, buffers)
    if is_dictionary:
        views = pa.DictionaryArray.from_arrays(pa.array(range(count), pa.int32()), views)
    table = make_table([(f"{name}-{n}", "a", "b", 1) for n in range(count)])
    table = table.set_column(0, "key", views)
    body = check_problem(post(client, table), 413, "payload-too-large")
    assert "The text of a column" in body["detail"]


def test_memos_are_kept(client: httpx.Client, name: str) -> None:
    rows: list[Row] = [(f"{name}-{n}", f"{name}:bank", f"{name}:a", 1) for n in range(3)]
    table = make_table(rows).append_column("memo", pa.array(["für dich", None, ""]))
    told = ask(client, table)
    memos = [client.get(f"/transfers/{id}").json().get("memo") for id, *_ in told]
    assert memos == ["für dich", None, None]


def test_no_rows_are_no_answers(client: httpx.Client) -> None:
    assert ask(client, make_table([])) == []


def test_another_library_reads_the_answer(client: httpx.Client, name: str) -> None:
    answer = post(client, make_table(make_rows(name)))
    told = nanoarrow.ArrayStream.from_readable(answer.content).read_all()
    assert told.child(1).to_pylist() == STATUSES
    assert told.child(0).to_pylist() == read_table(answer.content)["id"].to_pylist()


def test_a_hundred_thousand_at_once_and_not_one_more(client: httpx.Client, name: str) -> None:
    count = bulk.ITEMS_MAX
    rows: list[Row] = [(f"{name}-{n}", f"{name}:bank", f"{name}:a", 1) for n in range(count)]
    table = make_table(rows, account=pa.dictionary(pa.int8(), pa.string()))
    told = ask(client, table)
    first = told[0][0]
    assert first is not None
    assert told == [(first + n, "applied", False) for n in range(count)]
    assert balance(client, f"{name}:a") == count
    more = make_table([*rows, (f"{name}-more", f"{name}:bank", f"{name}:a", 1)])
    check_problem(post(client, more), 413, "payload-too-large")
    assert balance(client, f"{name}:a") == count
    assert ask(client, table) == [(id, status, True) for id, status, _ in told]


# -- what is not ----------------------------------------------------------------------------------


def check_refused(
    client: httpx.Client, name: str, answer: httpx.Response, pointer: str, code: str
) -> None:
    """Check that a request was refused for this fault, and that nothing of it was applied."""
    body = check_problem(answer, 400, "malformed")
    assert [(error["pointer"], error["code"]) for error in body["errors"]] == [(pointer, code)]
    assert client.get(f"/idempotency-keys/{name}-0").json()["state"] == "unseen"
    assert balance(client, f"{name}:a") == 0


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("key", "a b", "idempotency-key"),
        ("key", None, "null"),
        ("from", "s" * 65, "account-id"),
        ("to", "é", "account-id"),
        ("to", None, "null"),
        ("amount", 0, "out-of-range"),
        ("amount", None, "null"),
        ("memo", "\n", "control-character"),
        ("memo", "m" * 257, "too-long"),
    ],
)
def test_one_malformed_row_refuses_all(
    client: httpx.Client, name: str, column: str, value: Any, code: str
) -> None:
    rows: list[Row] = [(f"{name}-{n}", f"{name}:bank", f"{name}:a", 1) for n in range(10)]
    table = make_table(rows).append_column("memo", pa.array(["memo"] * 10))
    values = table[column].to_pylist()
    values[7] = value
    table = table.set_column(
        table.column_names.index(column), column, pa.array(values, table[column].type)
    )
    for batch_rows in (None, 3):
        answer = post(client, write_table(table, batch_rows))
        check_refused(client, name, answer, f"/7/{column}", code)


def test_a_memo_that_is_no_text_is_refused(client: httpx.Client, name: str) -> None:
    memo = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xc3\x28")]
    )
    table = make_table([(f"{name}-0", f"{name}:bank", f"{name}:a", 1)])
    answer = post(client, table.append_column("memo", memo))
    check_refused(client, name, answer, "/0/memo", "not-utf8")


def test_what_is_no_such_table_is_refused(client: httpx.Client, name: str) -> None:
    good = make_table([(f"{name}-0", f"{name}:bank", f"{name}:a", 1)])
    unknown = good.append_column("currency", pa.array(["USD"]))
    accounts = make_table([(f"{name}-0", 2**32 - 1, 0, 1)], account=pa.uint32())
    numbers = good.set_column(0, "key", pa.array([1]))
    for table, pointer, code in (
        (good.drop_columns(["to"]), "/to", "missing"),
        (unknown, "/currency", "unknown"),
        (good.append_column("to", good["to"]), "/to", "duplicate"),
        (numbers, "/key", "type"),
        (accounts, "/0/from", "out-of-range"),
    ):
        check_refused(client, name, post(client, table), pointer, code)
    body = post(client, numbers).json()
    assert "string, large_string" in body["detail"]


def test_what_is_no_stream_is_refused(client: httpx.Client, name: str) -> None:
    body = write_table(make_table([(f"{name}-0", f"{name}:bank", f"{name}:a", 1)]))
    for broken in (b"", b"\0", b"[]", body[:-8], body[:-1], body + b"\0", body[8:], body * 2):
        check_refused(client, name, post(client, broken), "", "not-arrow")
    packed = write_table(read_table(body), compression="zstd")
    check_refused(client, name, post(client, packed), "", "compressed")
    nameless = body.replace(b"amount", b"\xff" * 6)
    check_refused(client, name, post(client, nameless), "", "not-arrow")


def test_many_small_batches_are_bounded(client: httpx.Client, name: str) -> None:
    rows: list[Row] = [(f"{name}-{n}", f"{name}:bank", f"{name}:a", 1) for n in range(4_097)]
    check_refused(client, name, post(client, write_table(make_table(rows), 1)), "", "not-arrow")
    answer = post(client, write_table(make_table(rows[:-1]), 1))
    assert read_table(answer.content)["status"].to_pylist() == ["applied"] * 4_096


def test_the_head_says_what_the_body_is(client: httpx.Client, name: str) -> None:
    table = make_table([(f"{name}-0", f"{name}:bank", f"{name}:a", 1)])
    kind = f"{arrow.MEDIA_TYPE.upper()}; version=1"
    assert post(client, table, **{"content-type": kind}).status_code == 200
    for kind in ("application/vnd.apache.arrow.file", "application/octet-stream"):
        answer = post(client, table, **{"content-type": kind})
        check_problem(answer, 415, "unsupported-media-type")
    check_problem(post(client, table, **{"idempotency-key": "k"}), 400, "malformed")
    content = json.dumps({"from": "a", "to": "b", "amount": 1})
    answer = client.post("/transfer", content=content, headers=HEADERS)
    check_problem(answer, 415, "unsupported-media-type")


def test_without_the_library_the_format_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "pyarrow", None)
    with pytest.raises(Problem, match="pyarrow is not installed") as caught:
        arrow.is_arrow([arrow.MEDIA_TYPE])
    assert caught.value.kind.http_status == 415
    assert not arrow.is_arrow(["application/json"])
