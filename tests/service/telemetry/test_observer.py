"""The observer: headers of the trace on every answer, counts of every route, and what is kept."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.telemetry.span_encoding import RequestSpans
from tests.support.local import PROTOCOLS, Answer, LocalServer, local_serving
from tests.support.waiting import wait_until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
PHASES = ["admission", "queue", "kernel", "journal", "answer"]
WAYS = ("native", "ordinary")


class Kept(list[RequestSpans]):
    """An exporter that keeps what it is offered."""

    def offer(self, request: RequestSpans) -> bool:
        self.append(request)
        return True

    def describe(self) -> dict[str, Any]:
        return {"breaker": "closed"}

    def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture(scope="module", params=WAYS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    data: Path = tmp_path_factory.mktemp("observer")
    options = {"demo_accounts": 3, "slow_request_ms": 0, "traces_per_million": 0}
    protocol = PROTOCOLS[request.param]
    with local_serving(), LocalServer(data / "l", protocol, **options) as server:
        yield server


@pytest.fixture
def kept(server: LocalServer) -> Iterator[Kept]:
    """Keep traces while a test runs."""
    exporter = Kept()
    observer, meters = server.lifecycle.observer, server.lifecycle.meters
    observer.export(exporter)  # type: ignore[arg-type]
    # There is a look a millisecond at most, and the last test may have had one just now.
    wait_until(lambda: time.monotonic_ns() >= meters.next_look_ns, "the time of the next look")
    yield exporter
    observer.exporter = meters.observer = None
    meters.is_tracing = False
    meters.sample(0)


def ask(server: LocalServer, text: str, *lines: str, body: str = "") -> Answer:
    head = "".join(f"{line}\r\n" for line in (text + " HTTP/1.1", "Host: localhost", *lines))
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return server.ask(f"{head}\r\n{body}".encode())


def transfer(server: LocalServer, key: str, *lines: str, amount: int = 1) -> Answer:
    body = f'{{"from":"acct-0","to":"acct-1","amount":{amount}}}'
    return ask(server, "POST /transfer", f"Idempotency-Key: {key}", *lines, body=body)


def read_trace(answer: Answer) -> tuple[str, str, str]:
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])", answer.headers["traceparent"])
    assert found and answer.headers["x-request-id"] == found[1]
    return found[1], found[2], found[3]


def test_every_answer_names_its_trace(server: LocalServer) -> None:
    answers = [
        transfer(server, "trace-1"),
        transfer(server, "trace-1"),
        transfer(server, "trace-2", amount=10**12),
        transfer(server, "trace-1", amount=2),
        ask(server, "POST /transfer", body="{}"),
        ask(server, "GET /nowhere"),
        ask(server, "GET /accounts/acct-0"),
        ask(server, "GET /healthz"),
    ]
    assert [answer.status for answer in answers] == [201, 201, 422, 422, 400, 404, 200, 200]
    traces = [read_trace(answer) for answer in answers]
    assert len({trace[0] for trace in traces}) == len({trace[1] for trace in traces}) == 8
    assert {trace[2] for trace in traces} == {"00"}  # None is kept.


@pytest.mark.parametrize("text", ["POST /transfer", "GET /healthz"])
def test_trace_of_the_caller_goes_on(server: LocalServer, text: str) -> None:
    if text.startswith("POST"):
        answer = transfer(server, "goes-on", f"Traceparent: {PARENT}")
    else:
        answer = ask(server, text, f"traceparent: {PARENT}")
    trace_id, span_id, _ = read_trace(answer)
    assert trace_id == TRACE_ID and span_id not in PARENT


@pytest.mark.parametrize("lines", [(f"traceparent: {PARENT}",) * 2, ("traceparent: x",)])
def test_trace_that_cannot_be_believed_begins_anew(
    server: LocalServer, lines: tuple[str, ...]
) -> None:
    answer = transfer(server, f"anew-{len(lines)}", *lines)
    assert answer.status == 201 and read_trace(answer)[0] != TRACE_ID


def test_requests_are_counted_by_route_and_outcome(server: LocalServer) -> None:
    before = server.lifecycle.meters.read_answers()
    transfer(server, "count-1")
    transfer(server, "count-2", amount=10**12)
    ask(server, "POST /transfer", body="{}")
    for account in ("acct-0", "acct-1"):
        ask(server, f"GET /accounts/{account}")
    ask(server, "GET /accounts/no-one")
    for path in ("/a", "/b", "/c"):
        ask(server, f"GET {path}")
    after = server.lifecycle.meters.read_answers()
    added = {answer: after[answer] - before.get(answer, 0) for answer in after}
    assert {answer: count for answer, count in added.items() if count} == {
        ("/transfer", 201, "applied"): 1,
        ("/transfer", 422, "insufficient-funds"): 1,
        ("/transfer", 400, "malformed"): 1,
        ("/accounts/{account_id}", 200, "ok"): 2,
        ("/accounts/{account_id}", 404, "account-not-found"): 1,
        ("other", 404, "not-found"): 3,
    }


def test_transfer_of_a_sampled_caller_is_kept_with_its_phases(
    server: LocalServer, kept: Kept
) -> None:
    answer = transfer(server, "kept", f"traceparent: {PARENT}")
    (spans,) = kept
    assert read_trace(answer) == (TRACE_ID, f"{spans.span_id:016x}", "01")
    assert (spans.trace_id, spans.parent_id) == (int(TRACE_ID, 16), 0xB7AD6B7169203331)
    assert (spans.method, spans.route, spans.http_status, spans.outcome) == (
        "POST",
        "/transfer",
        201,
        "applied",
    )
    assert [name for name, _, _ in spans.phases] == PHASES
    bounds = [spans.started_ns, *(end for _, _, end in spans.phases)]
    assert bounds == sorted(bounds) and bounds[-1] == spans.ended_ns
    assert [start for _, start, _ in spans.phases] == bounds[:-1]
    assert dict(spans.attributes)["ledger.transfer.id"] > 0  # type: ignore[operator]
    (example,) = server.lifecycle.observer.examples.values()
    assert example.trace_id == TRACE_ID and 0 < example.seconds < 60


def test_share_of_the_requests_is_kept(server: LocalServer, kept: Kept) -> None:
    server.lifecycle.meters.sample(1_000_000)
    answer = ask(server, "GET /accounts/acct-0")
    (spans,) = kept
    assert read_trace(answer)[2] == "01"
    assert (spans.route, spans.phases, spans.parent_id) == ("/accounts/{account_id}", (), 0)


def test_slow_request_is_told_with_its_phases(server: LocalServer, kept: Kept) -> None:
    told: list[RequestSpans] = []
    lifecycle = server.lifecycle
    lifecycle.observer.on_slow = told.append
    lifecycle.meters.slow_ns = 1
    try:
        transfer(server, "slow")
    finally:
        lifecycle.observer.on_slow = None
        lifecycle.meters.slow_ns = 0
    assert [name for name, _, _ in told[0].phases] == PHASES


def test_fault_of_the_server_is_logged_with_its_trace(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def fail(body: bytes) -> None:
        raise RuntimeError("a bug")

    def note(*_: object, extra: dict[str, Any], **__: object) -> None:
        told.update(extra)

    monkeypatch.setattr("ledgercore.service.routes.transfers.read_account", fail)
    monkeypatch.setattr("ledgercore.service.http.error_handlers.logger.error", note)
    answer = ask(server, "POST /accounts", body="{}")
    assert answer.status == 500 and told["event"] == "bug"
    assert told["trace_id"] == read_trace(answer)[0]


def test_meters_that_are_off_name_no_trace(tmp_path: Path) -> None:
    options = {"demo_accounts": 3, "instruments": 0}
    with local_serving():
        for way in WAYS:
            with LocalServer(tmp_path / way, PROTOCOLS[way], **options) as server:
                answer = transfer(server, "off")
                assert answer.status == 201 and "traceparent" not in answer.headers
                assert server.lifecycle.meters.read_answers() == {}
