"""A trace from its caller through the server into a collector; and a collector that is gone."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.exporting import clear_environment
from tests.support.otlp_receiver import Receiver, closed_port
from tests.support.servers import Server
from tests.support.waiting import wait_until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
FLAGS = ("--demo-accounts=3", "--traces-per-million=0")
PHASES = ["admission", "queue", "kernel", "journal", "answer"]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def transfer(client: httpx.Client, key: str, **headers: str) -> httpx.Response:
    body = json.dumps({"from": "acct-0", "to": "acct-1", "amount": 1})
    kind = {"Content-Type": "application/json", "Idempotency-Key": key}
    return client.post("/transfer", content=body, headers=kind | headers)


@pytest.mark.parametrize("line", [{}, {"X-Not-Plain": "1"}], ids=["native", "ordinary"])
def test_trace_goes_from_end_to_end(
    tmp_path: Path, receiver: Receiver, line: dict[str, str]
) -> None:
    flags = (*FLAGS, f"--otlp={receiver.url}")
    with Server(tmp_path / "ledger", *flags) as server:
        with httpx.Client(base_url=server.url) as client:
            assert transfer(client, "k-0").headers["traceparent"].endswith("-00")
            answer = transfer(client, "k-1", traceparent=PARENT, **line)
            # Native or not, one example of its bucket is told to Prometheus.
            openmetrics = {"Accept": "application/openmetrics-text"}
            told = client.get("/metrics", headers=openmetrics).text
            assert client.get("/metrics").json()["breaker"] == "closed"
        wait_until(lambda: len(receiver.spans) >= 6, "the spans to arrive")
        assert server.stop() == 0
        assert server.complaints == []
    assert answer.status_code == 201
    version, trace_id, span_id, flags_told = answer.headers["traceparent"].split("-")
    assert (version, trace_id, flags_told) == ("00", TRACE_ID, "01")
    assert answer.headers["x-request-id"] == TRACE_ID
    whole, *phases = sorted(receiver.spans, key=lambda span: span.kind != 2)
    assert {span.trace_id.hex() for span in (whole, *phases)} == {TRACE_ID}
    assert (whole.span_id.hex(), whole.parent_span_id.hex()) == (span_id, PARENT_ID)
    assert {phase.parent_span_id.hex() for phase in phases} == {span_id}
    phases.sort(key=lambda span: PHASES.index(span.name))
    assert [phase.name for phase in phases] == PHASES
    bounds = [whole.start_time_unix_nano, *(phase.end_time_unix_nano for phase in phases)]
    assert bounds == sorted(bounds) and bounds[-1] == whole.end_time_unix_nano
    assert f'trace_id="{TRACE_ID}"' in told


OTHERS_VARIABLES = {
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_SERVICE_NAME": "another",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=another,no pair",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "no number",
    "OTEL_BSP_SCHEDULE_DELAY": "no number",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "0",
    "OTEL_PYTHON_CONTEXT": "no_context",
}
"""What OpenTelemetry's SDK reads, and what is none of the server's: --otlp says all but headers."""


def test_what_the_environment_says_of_other_exporters_changes_nothing(
    tmp_path: Path, receiver: Receiver
) -> None:
    with Receiver() as elsewhere:
        environment = OTHERS_VARIABLES | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": elsewhere.url,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": elsewhere.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=money",
        }
        flags = (*FLAGS, f"--otlp={receiver.url}")
        with Server(tmp_path / "ledger", *flags, environment=environment) as server:
            with httpx.Client(base_url=server.url) as client:
                answer = transfer(client, "k-1", traceparent=PARENT)
            assert answer.headers["traceparent"].endswith("-01")
            wait_until(lambda: len(receiver.spans) >= 6, "the spans to arrive")
            assert server.stop() == 0
            assert server.complaints == []
        assert elsewhere.requests == []
    ((_, headers),) = receiver.requests
    assert headers["x-team"] == "money" and "content-encoding" not in headers
    (group,) = receiver.messages[0].resource_spans
    told = {member.key: member.value.string_value for member in group.resource.attributes}
    assert told["service.name"] == "ledgercore"


def test_collector_that_is_not_there_costs_nothing_but_spans(tmp_path: Path) -> None:
    with (
        closed_port() as port,
        Server(tmp_path / "ledger", *FLAGS, f"--otlp=http://127.0.0.1:{port}") as server,
    ):
        with httpx.Client(base_url=server.url) as client:
            keys = iter(range(1_000_000))

            def is_open() -> bool:
                answer = transfer(client, f"k-{next(keys)}", traceparent=PARENT)
                assert answer.status_code == 201
                return bool(client.get("/metrics").json()["breaker"] == "open")

            wait_until(is_open, "the breaker to open")
            text = client.get("/metrics/prometheus").text
            assert 'ledgercore_breaker_state{state="open"} 1.0' in text
        assert server.stop() == 0
    assert [line["state"] for line in server.log if line["event"] == "breaker"] == ["open"]
