"""Many transfers in a request: JSON and Arrow, over one connection and several, durable.

This module owns the rounds and the goals of POST /transfers, and both formats; where pyarrow is not
installed there is no Arrow. The server has a ledger of its own, whose keys are as many as the
rounds need.
"""

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

from ..load.generators import LoadFailed
from ..load.http1 import make_bulk, make_request, read_status, split_answer
from ..load.loops import CPU_SHARE_MAX, Course, run_closed_loop
from ..machine import run_on
from ..measure import Figure, Round, count_rounds, make_rate
from ..workloads import Rows, Workload
from .subjects import DURABLE, Setting, Subject, open_subject

try:
    import pyarrow
    import pyarrow.compute
    import pyarrow.ipc
except ImportError:
    pyarrow = None

ITEMS = 8_192
JSON, ARROW = "JSON", "Arrow"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
OK = 200
APPLIED = b'"status":"applied"'
DEADLINE_S = 60.0
CONNECTIONS = (1, 4)
GOALS = {JSON: 1e6, ARROW: 2e6}
REQUESTS_PER_S = 24
"""So many requests are got ready for each second that a round may take; they last a fraction of it,
for all of them are kept in memory."""


@dataclass(frozen=True, slots=True)
class BulkRow:
    """One format over so many connections. `load_share` is the most that the sender had."""

    kind: str
    connections: int
    rate: Figure
    cpu_us: float
    load_share: float

    @property
    def is_load_limit(self) -> bool:
        """Whether the sender may have been what limited the rate."""
        return self.load_share > CPU_SHARE_MAX


def measure_bulk(setting: Setting) -> list[BulkRow]:
    """Send to a server of its own, as often as is set besides once that does not count."""
    formats = [(kind, count) for kind in list_formats() for count in CONNECTIONS]
    size = math.ceil(REQUESTS_PER_S * setting.seconds) * ITEMS
    keys = (setting.rounds + 1) * len(formats) * size
    own = replace(setting, scratch=setting.scratch / "bulk", keys=keys)
    own.scratch.mkdir()
    timed: dict[tuple[str, int], list[tuple[Round, float]]] = {one: [] for one in formats}
    with ExitStack() as stack:
        server = open_subject(DURABLE, own, stack)
        streams = iter(range(keys))
        for _ in count_rounds(setting.rounds, "bulk", setting.tell):
            for kind, connections in formats:
                taken = _time_once(own, server, kind, connections, size, next(streams))
                timed[kind, connections].append(taken)
    return [_make_row(kind, count, kept[1:]) for (kind, count), kept in timed.items()]


def _time_once(
    setting: Setting, server: Subject, kind: str, connections: int, size: int, stream: int
) -> tuple[Round, float]:
    """Return a round, and the share of its core that the sender had in it."""
    workload = Workload(setting.accounts)
    requests = make_requests(kind, server.url, workload, workload.transfers(size, stream))
    os.sync()
    before = server.cpu_times
    sent = send_all(setting.load_core, server.url, connections, requests)
    cpu = server.cpu_times - before
    check_answers(kind, sent.answers)
    return Round(size, sent.seconds, cpu.total_s), sent.cpu_share


def _make_row(kind: str, connections: int, timed: Sequence[tuple[Round, float]]) -> BulkRow:
    rounds, load_shares = zip(*timed, strict=True)
    cpu_us = sum(one.cpu_s for one in rounds) / sum(one.work for one in rounds) * 1e6
    rate = make_rate(f"{kind}, {connections}", "transfers/s", rounds, goal=GOALS[kind])
    return BulkRow(kind, connections, rate, cpu_us, max(load_shares))


# -- requests and answers -------------------------------------------------------------------------
def list_formats() -> tuple[str, ...]:
    """Return the formats that this process can write and read."""
    return (JSON,) if pyarrow is None else (JSON, ARROW)


def make_requests(kind: str, url: str, workload: Workload, rows: Rows) -> list[bytes]:
    """Return the requests for transfers, ITEMS in each."""
    host = urlsplit(url).netloc
    parts = [rows[start : start + ITEMS] for start in range(0, len(rows), ITEMS)]
    if kind == JSON:
        return [make_bulk(host, workload.spell(part)) for part in parts]
    return [
        make_request("POST", host, "/transfers", _write_arrow(part), media_type=ARROW_STREAM)
        for part in parts
    ]


def _write_arrow(rows: Rows) -> bytes:
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


def send_all(core: int, url: str, connections: int, requests: Sequence[bytes]) -> Course:
    """Send all requests, from a core, and keep their answers. Raises LoadFailed."""
    loop = run_closed_loop(url, connections, iter(requests), deadline_s=DEADLINE_S, is_keeping=True)
    try:
        with run_on(core):
            course = uvloop.run(loop)
    except (OSError, ValueError) as error:
        raise LoadFailed(f"{url}: a connection failed: {error}") from None
    if course.lost:
        raise LoadFailed(f"{url}: a connection failed: the server hung up")
    return course


def check_answers(kind: str, answers: list[bytes]) -> None:
    """See that each answer says ITEMS times that a transfer was applied. Raises LoadFailed."""
    for answer in answers:
        status, body = read_status(answer), split_answer(answer)[1]
        if status != OK:
            raise LoadFailed(f"POST /transfers was answered with {status}: {body[:300]!r}")
        applied = body.count(APPLIED) if kind == JSON else _count_arrow(body)
        if applied != ITEMS:
            raise LoadFailed(f"POST /transfers has applied {applied:,} of {ITEMS:,}")


def _count_arrow(body: bytes) -> int:
    table = pyarrow.ipc.open_stream(body).read_all()
    is_new = pyarrow.compute.invert(table["replayed"])
    is_applied = pyarrow.compute.equal(table["status"], "applied")
    return int(pyarrow.compute.sum(pyarrow.compute.and_(is_new, is_applied)).as_py())
