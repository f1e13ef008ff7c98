"""Tables of transfers for the tests, written and read by pyarrow, which the service never uses."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ledgercore.service.wire.arrow import MEDIA_TYPE

HEADERS = {"content-type": MEDIA_TYPE}

TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    *(
        pa.dictionary(index, text)
        for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16())
        for text in (pa.string(), pa.large_string())
    ),
    *(
        pa.dictionary(index, pa.string())
        for index in (pa.int32(), pa.uint32(), pa.int64(), pa.uint64())
    ),
]

Row = tuple[str | None, Any, Any, int | None]


def make_table(
    rows: Sequence[Row], text: pa.DataType | None = None, account: pa.DataType | None = None
) -> pa.Table:
    """Return rows (key, from, to, amount) as a table, with columns of these types."""
    text = text or pa.string()
    types = {"key": text, "from": account or text, "to": account or text, "amount": pa.int64()}
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(types)
    return pa.table(
        {
            name: pa.array(list(values), kind)
            for (name, kind), values in zip(types.items(), columns, strict=True)
        }
    )


def write_table(table: pa.Table, batch_rows: int | None = None, **options: Any) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, batch_rows)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def read_table(body: bytes) -> pa.Table:
    """Return the table that an Arrow IPC stream is."""
    with pa.ipc.open_stream(body) as reader:
        table = reader.read_all()
    table.validate(full=True)
    return table
