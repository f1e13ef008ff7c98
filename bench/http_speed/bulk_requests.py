"""Requests of POST /transfers, whole and in bytes, and what their answers say.

This module owns both formats, JSON and Arrow. It sends nothing. Where pyarrow is not installed
there is no Arrow.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from ..http import read_status, split_answer
from ..workloads import Rows, Workload
from .loads import LoadFailed

try:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.compute  # type: ignore[import-untyped]
    import pyarrow.ipc  # type: ignore[import-untyped]
except ImportError:
    pyarrow = None

ITEMS = 8_192
JSON, ARROW = "JSON", "Arrow"
MEDIA_TYPES = {JSON: "application/json", ARROW: "application/vnd.apache.arrow.stream"}
OK = 200
APPLIED = b'"status":"applied"'


def list_formats() -> tuple[str, ...]:
    """Return the formats that this process can write and read."""
    return (JSON,) if pyarrow is None else (JSON, ARROW)


def make_requests(kind: str, url: str, workload: Workload, rows: Rows) -> list[bytes]:
    """Return the requests for transfers, ITEMS in each."""
    write: Callable[[Workload, Rows], bytes] = _write_json if kind == JSON else _write_arrow
    host = urlsplit(url).netloc
    requests = []
    for start in range(0, len(rows), ITEMS):
        body = write(workload, rows[start : start + ITEMS])
        head = (
            f"POST /transfers HTTP/1.1\r\nHost: {host}\r\nContent-Type: {MEDIA_TYPES[kind]}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def _write_json(workload: Workload, rows: Rows) -> bytes:
    return msgspec.json.encode(
        [
            {"idempotency_key": key, "from": source, "to": target, "amount": amount}
            for source, target, amount, key in workload.spell(rows)
        ]
    )


def _write_arrow(workload: Workload, rows: Rows) -> bytes:
    """Return a stream in which accounts are entries of a dictionary that has those in use."""
    columns: dict[str, Any] = {
        "key": pyarrow.array([key.hex() for key in rows["key"].tolist()], pyarrow.string()),
        "amount": pyarrow.array(rows["amount"], pyarrow.int64()),
    }
    for name in ("from", "to"):
        used, places = np.unique(rows[name], return_inverse=True)
        columns[name] = pyarrow.DictionaryArray.from_arrays(
            pyarrow.array(places.astype(np.int32)),
            pyarrow.array([f"acct-{number}" for number in used.tolist()]),
        )
    batch = pyarrow.record_batch(columns)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def check_answers(kind: str, answers: list[bytes]) -> None:
    """See that each answer says ITEMS times that a transfer was applied. Raises LoadFailed."""
    count: Callable[[bytes], int] = _count_json if kind == JSON else _count_arrow
    for answer in answers:
        status, body = read_status(answer), split_answer(answer)[1]
        if status != OK:
            raise LoadFailed(f"POST /transfers was answered with {status}: {body[:300]!r}")
        if (applied := count(body)) != ITEMS:
            raise LoadFailed(f"POST /transfers has applied {applied:,} of {ITEMS:,}")


def _count_json(body: bytes) -> int:
    return body.count(APPLIED)


def _count_arrow(body: bytes) -> int:
    table = pyarrow.ipc.open_stream(body).read_all()
    is_new = pyarrow.compute.invert(table["replayed"])
    is_applied = pyarrow.compute.equal(table["status"], "applied")
    return int(pyarrow.compute.sum(pyarrow.compute.and_(is_new, is_applied)).as_py())
