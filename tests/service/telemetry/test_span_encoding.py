"""Spans as the protocol has them, decoded by the package of its messages."""

import sys
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ledgercore.service.telemetry.span_encoding import (
    PIECE_SIZE,
    MissingPackage,
    RequestSpans,
    SpanEncoder,
)
from tests.support.exporting import make_request

BOOT_NS = 1_700_000_000_000_000_000
"""The wall clock of the tests, where the monotonic one is 0."""


class Clocks:
    def __init__(self) -> None:
        self.now_ns = 10_000
        self.ahead_ns = 0

    def wall_ns(self) -> int:
        return BOOT_NS + self.now_ns + self.ahead_ns


def make_encoder(clocks: Clocks) -> SpanEncoder:
    return SpanEncoder("a ledger", lambda: clocks.now_ns, clocks.wall_ns)


def encode(*requests: RequestSpans, clocks: Clocks | None = None) -> list[Span]:
    body, count = make_encoder(clocks or Clocks()).encode(requests)
    assert count == len(requests)
    (group,) = ExportTraceServiceRequest.FromString(body).resource_spans
    (scope,) = group.scope_spans
    assert scope.scope.name == "ledgercore"
    return list(scope.spans)


def read_attributes(message: Any) -> dict[str, str | int]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in message.attributes}


def test_a_request_is_a_span_with_its_phases_below_it() -> None:
    whole, *phases = encode(make_request(7))
    assert whole.trace_id.hex() == "abc" + "0" * 28 + "7"
    assert whole.span_id.hex() == "d" + "0" * 14 + "7"
    assert whole.parent_span_id == b""
    assert (whole.name, whole.kind) == ("POST /transfer", Span.SPAN_KIND_SERVER)
    assert [span.name for span in phases] == ["admission", "queue", "kernel", "journal", "answer"]
    for span in phases:
        assert span.trace_id == whole.trace_id
        assert span.parent_span_id == whole.span_id
        assert span.kind == Span.SPAN_KIND_INTERNAL
        assert span.flags == 0x101
    ids = {span.span_id for span in (whole, *phases)}
    assert len(ids) == 6
    assert {len(span_id) for span_id in ids} == {8}


def test_times_are_of_the_wall_clock() -> None:
    spans = encode(make_request())
    told = [(s.start_time_unix_nano - BOOT_NS, s.end_time_unix_nano - BOOT_NS) for s in spans]
    request = make_request()
    assert told == [(1_000, 9_000), *((start, end) for _, start, end in request.phases)]


def test_wall_clock_that_is_set_anew_is_followed() -> None:
    clocks = Clocks()
    encoder = make_encoder(clocks)
    starts = []
    for ahead_ns in (0, 5_000_000_000):
        clocks.ahead_ns = ahead_ns
        body, _ = encoder.encode([make_request()])
        (group,) = ExportTraceServiceRequest.FromString(body).resource_spans
        starts.append(group.scope_spans[0].spans[0].start_time_unix_nano)
    assert starts[1] - starts[0] == 5_000_000_000


def test_parent_is_the_one_of_the_caller() -> None:
    with_parent, without = encode(
        make_request(1, parent_id=0x1234, phases=()), make_request(2, phases=())
    )
    assert with_parent.parent_span_id.hex() == "0000000000001234"
    assert with_parent.flags == 0x301  # sampled, and the parent is known to be elsewhere
    assert without.flags == 0x101


def test_attributes() -> None:
    (whole,) = encode(make_request(17, phases=()))
    assert read_attributes(whole) == {
        "http.request.method": "POST",
        "http.route": "/transfer",
        "http.response.status_code": 201,
        "ledger.outcome": "applied",
        "ledger.transfer.id": 17,
        "ledger.segment": 0,
        "ledger.batch.size": 12,
    }


@pytest.mark.parametrize(
    ("http_status", "code"),
    [
        (201, Status.STATUS_CODE_UNSET),
        (422, Status.STATUS_CODE_UNSET),
        (500, Status.STATUS_CODE_ERROR),
        (503, Status.STATUS_CODE_ERROR),
    ],
)
def test_only_a_failure_of_the_server_is_an_error(http_status: int, code: int) -> None:
    request = make_request(http_status=http_status, outcome="overloaded")
    whole, *phases = encode(request)
    assert whole.status.code == code
    is_error = code == Status.STATUS_CODE_ERROR
    assert read_attributes(whole).get("error.type") == ("overloaded" if is_error else None)
    assert {span.status.code for span in phases} == {Status.STATUS_CODE_UNSET}


def test_resource_tells_processes_apart() -> None:
    told = []
    for _ in range(2):
        body, _ = make_encoder(Clocks()).encode([make_request()])
        (group,) = ExportTraceServiceRequest.FromString(body).resource_spans
        told.append(read_attributes(group.resource))
    assert told[0]["service.name"] == told[1]["service.name"] == "a ledger"
    assert told[0]["service.instance.id"] != told[1]["service.instance.id"]


@pytest.mark.parametrize(
    "members",
    [
        {"trace_id": 2**128},
        {"span_id": -1},
        {"started_ns": -(2**63)},
        {"phases": (("queue", 1),)},
        {"attributes": (("ledger.transfer.id", 2**63),)},
        {"outcome": "\ud800"},
    ],
)
def test_what_no_message_can_hold_is_left_out_alone(members: dict[str, Any]) -> None:
    body, count = make_encoder(Clocks()).encode(
        [make_request(1), make_request(2, **members), make_request(3)]
    )
    assert count == 2
    (group,) = ExportTraceServiceRequest.FromString(body).resource_spans
    spans = [s for s in group.scope_spans[0].spans if s.kind == Span.SPAN_KIND_SERVER]
    assert [span.span_id[-1] for span in spans] == [1, 3]


def test_other_threads_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr("ledgercore.service.telemetry.span_encoding.time.sleep", turns.append)
    make_encoder(Clocks()).encode([make_request(n) for n in range(1, 3 * PIECE_SIZE + 2)])
    assert turns == [0, 0, 0]


def test_rejected_spans() -> None:
    encoder = make_encoder(Clocks())
    answer = ExportTraceServiceResponse()
    assert encoder.count_rejected(answer.SerializeToString()) == 0
    answer.partial_success.rejected_spans = 4
    assert encoder.count_rejected(answer.SerializeToString()) == 4
    assert encoder.count_rejected(b"<html>no protobuf</html>") == 0


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    with pytest.raises(MissingPackage, match="pip install opentelemetry-proto"):
        SpanEncoder("a ledger")
