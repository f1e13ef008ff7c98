"""Many transfers in one request, as a table: `application/vnd.apache.arrow.stream`.

This module owns what `POST /transfers` takes and says in that format, for clients that hold their
transfers in numpy, pandas or Polars. Order, keys and outcomes are those of bulk.py, and so is what
a value may be; what is malformed refuses the request before anything is applied. It decodes
nothing itself: pyarrow does, and where that is not installed the format is not known.

The columns of a request, in any order, in up to 4096 batches, not compressed:

    key     string, large_string or string_view, or a dictionary of one of these, as Polars writes
            Categorical and Enum: the idempotency key
    from    as `key`, or uint32: the number of an account, counted from 0 as GET /accounts lists
            them, which is the order of their opening and never changes
    to      as `from`
    amount  int64, minor units
    memo    as `key`; this one may be absent, and null where there is none

The columns of the answer, a row for each of the request's, in one batch:

    id        uint64, null where nothing was stored
    status    string: `applied`, or the reason, such as `insufficient-funds`
    replayed  bool: whether it was stored before
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from sanic.response import HTTPResponse

from ledgercore import Submission

from ..engine_port import EnginePort
from .answers import PreparedResponse
from .bulk import BODY_BYTES_MAX, ITEMS_MAX
from .integer_forms import IntegerForms
from .json_bodies import KEY_FIELD, TRANSFER_CHECKS, Fault, make_error, refuse, refuse_body
from .problems import (
    DEADLINE_PASSED,
    LATE_KINDS,
    PAYLOAD_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    Kind,
    Problem,
    list_kinds,
)
from .transfers_arrow import (
    COLUMN_NAMES,
    ColumnFault,
    CompressedStream,
    add_columns,
    check_stream,
    encode_outcomes,
)

try:
    # Not one of the smaller libraries: fed with damaged streams, nanoarrow 0.9 and arro3 0.9 end
    # the process, and pyarrow never did.
    import pyarrow
    import pyarrow.ipc
except ImportError:
    pyarrow = None

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
REASON_LENGTH_MAX = 200

_HEADERS = [(b"content-type", MEDIA_TYPE.encode())]
_CHECKS = {name: TRANSFER_CHECKS[KEY_FIELD if name == "key" else name] for name in COLUMN_NAMES}
_TEXT = "string, large_string or string_view, or a dictionary of one of these"
_TYPES = {
    "key": _TEXT,
    "from": f"{_TEXT}, or uint32",
    "to": f"{_TEXT}, or uint32",
    "amount": "int64",
    "memo": _TEXT,
}
_FAULTS: dict[str, Fault] = {
    "missing": ("missing", "The column is missing."),
    "unknown": ("unknown", "There is no such column."),
    "duplicate": ("duplicate", "The column appears twice."),
    "null": ("null", "The value is missing."),
    "out-of-range": ("out-of-range", "There is no account or entry of this number."),
    "broken": ("broken", "The value is not inside of its column."),
}
_NAMES = {late: [kind.name.encode() for kind in list_kinds(late)] for late in LATE_KINDS}
"""What each status is called, by its number."""


def _make_schema() -> Any:
    """Return the schema of the answer."""
    return pyarrow.schema(
        [
            pyarrow.field("id", pyarrow.uint64()),
            pyarrow.field("status", pyarrow.string(), nullable=False),
            pyarrow.field("replayed", pyarrow.bool_(), nullable=False),
        ]
    )


_SCHEMA = pyarrow and _make_schema()


def is_arrow(content_types: Sequence[str]) -> bool:
    """Whether a body says that it is of this format; refused where the format is not known."""
    if len(content_types) != 1:
        return False
    if content_types[0].partition(";")[0].strip().lower() != MEDIA_TYPE:
        return False
    if pyarrow is None:
        detail = "This server reads no Arrow, since pyarrow is not installed there. Send JSON."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail)
    return True


# -- the body --------------------------------------------------------------------------------


def fill_submission(engine: EnginePort, body: bytes, client: str) -> Submission:
    """Return a submission of all transfers of a body; raises the problem that names a fault."""
    items_max = min(ITEMS_MAX, engine.options.queue_size)
    _check_frame(body, items_max)
    submission = engine.new_submission(items_max, keeps_names=False)
    try:
        add_columns(submission, _open_stream(body), client.encode())
    except ColumnFault as fault:
        _refuse_column(fault)
    except MemoryError:
        raise
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        _refuse_stream(str(error))
    return submission


def _check_frame(body: bytes, items_max: int) -> None:
    """Refuse what would cost too much to decode."""
    try:
        rows = check_stream(body)
    except CompressedStream:
        refuse_body("compressed", "The Arrow stream is compressed, which is not taken.")
    except ValueError as error:
        _refuse_stream(str(error))
    if rows > items_max:
        raise Problem(PAYLOAD_TOO_LARGE, f"The body has more than {items_max} transfers.")


def _open_stream(body: bytes) -> Any:
    options = pyarrow.ipc.IpcReadOptions(use_threads=False)
    table = pyarrow.ipc.open_stream(body, options=options).read_all()
    # The sizes of buffers alone, for add_columns checks each cell that it reads.
    table.validate()
    if any(map(_find_flat_type, table.schema.types)):
        columns = [_flatten(column) for column in table.columns]
        table = pyarrow.table(columns, names=table.column_names)
    return table


# What Polars writes, a string_view or a dictionary of them, is read as offsets into one text. Views
# may share their text, so a few bytes of a body could become any number: they are counted before.


def _find_flat_type(kind: Any) -> Any:
    """Return as what views are read; None for what holds none."""
    if kind == pyarrow.string_view():
        return pyarrow.large_string()
    if pyarrow.types.is_dictionary(kind) and kind.value_type == pyarrow.string_view():
        return pyarrow.dictionary(kind.index_type, pyarrow.large_string(), kind.ordered)
    return None


def _flatten(column: Any) -> Any:
    """Return a column, with large_string for its string_view."""
    kind = _find_flat_type(column.type)
    if kind is None:
        return column
    if not pyarrow.types.is_dictionary(kind):
        return pyarrow.chunked_array(_flatten_texts(column.chunks), kind)
    # Batches share their dictionary, until another one replaces it.
    dictionaries = {_find_place(chunk.dictionary): chunk.dictionary for chunk in column.chunks}
    flat = dict(zip(dictionaries, _flatten_texts([*dictionaries.values()]), strict=True))
    chunks = [
        pyarrow.DictionaryArray.from_arrays(
            chunk.indices, flat[_find_place(chunk.dictionary)], ordered=kind.ordered
        )
        for chunk in column.chunks
    ]
    return pyarrow.chunked_array(chunks, kind)


def _find_place(views: Any) -> tuple[int, int]:
    """Return where views lie, and how many: the same for the same ones."""
    return (views.buffers()[1].address, len(views)) if len(views) else (0, 0)


def _flatten_texts(arrays: list[Any]) -> list[Any]:
    """Return arrays of string_view as large_string, unless that takes more than a body may."""
    if sum(map(_count_bytes, arrays)) > BODY_BYTES_MAX:
        detail = f"The text of a column is longer than {BODY_BYTES_MAX} bytes."
        raise Problem(PAYLOAD_TOO_LARGE, detail)
    for array in arrays:
        array.validate(full=True)
    return [array.cast(pyarrow.large_string()) for array in arrays]


def _count_bytes(views: Any) -> int:
    """Return how long the text of an array of string_view would be, which nobody has checked."""
    if len(views) == views.null_count:
        return 0
    # Each view has 16 bytes, and begins with its length.
    lengths = np.frombuffer(views.buffers()[1], "<i4")[::4]
    lengths = lengths[views.offset : views.offset + len(views)]
    is_there = views.is_valid().to_numpy(zero_copy_only=False)
    return int(np.maximum(lengths[is_there], 0).sum(dtype=np.int64))


def _refuse_stream(reason: str) -> NoReturn:
    # The decoder may repeat what the client has sent.
    printable = "".join(filter(str.isprintable, reason))[:REASON_LENGTH_MAX]
    refuse_body("not-arrow", f"The body is no Arrow stream that can be read: {printable}.")


def _refuse_column(fault: ColumnFault) -> NoReturn:
    if fault.code == "type":
        told: Fault = "type", f"The column is to be {_TYPES[fault.column]}."
    else:
        told = _FAULTS.get(fault.code) or _judge(fault.column, fault.value)
    error = make_error(fault.column, *told)
    if fault.row is not None:
        error["pointer"] = f"/{fault.row}{error['pointer']}"
    refuse([error])


def _judge(column: str, value: bytes | int | None) -> Fault:
    """Return what is wrong with a value, in the words used for JSON."""
    if isinstance(value, bytes):
        try:
            fault = _CHECKS[column](value.decode())
        except UnicodeDecodeError:
            return "not-utf8", "The value is not UTF-8."
    else:
        fault = _CHECKS[column](value)
    assert fault is not None, "the native way refuses what the grammar takes"
    return fault


# -- the answer ------------------------------------------------------------------------------


def answer_transfers(
    submission: Submission, forms: IntegerForms, late: Kind = DEADLINE_PASSED
) -> HTTPResponse:
    """Return what became of each transfer, in their order. Columns have one form of integers."""
    return PreparedResponse(encode_table(submission, late), 200, _HEADERS)


def encode_table(submission: Submission, late: Kind = DEADLINE_PASSED) -> bytes:
    """Return the table of the answer as an Arrow IPC stream."""
    count = len(submission)
    validity, ids, offsets, text, replayed = encode_outcomes(submission, _NAMES[late])
    columns = [
        _make_column(_SCHEMA.types[0], count, [validity, ids]),
        _make_column(_SCHEMA.types[1], count, [None, offsets, text]),
        _make_column(_SCHEMA.types[2], count, [None, replayed]),
    ]
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, _SCHEMA) as writer:
        writer.write_batch(pyarrow.record_batch(columns, schema=_SCHEMA))
    answer: bytes = sink.getvalue().to_pybytes()
    return answer


def _make_column(kind: Any, count: int, buffers: list[bytes | None]) -> Any:
    memory = [None if buffer is None else pyarrow.py_buffer(buffer) for buffer in buffers]
    return pyarrow.Array.from_buffers(kind, count, memory)
