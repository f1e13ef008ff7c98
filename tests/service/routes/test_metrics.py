"""The metrics over HTTP: members of the JSON, forms by Accept, and what is counted."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ledgercore import Status
from ledgercore.service.routes.metrics import describe_totals
from ledgercore.service.telemetry.observer import Example
from tests.support.keyed import spell
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.servers import check_problem, fund, post_transfer
from tests.support.totals_making import make_histogram, make_measures, make_totals

pytest_plugins = ["tests.support.serving"]

MS = 1_000_000
PERCENTILES = ["p50", "p90", "p99", "p999"]


# -- the members --------------------------------------------------------------------------------


def test_rates_and_percentiles() -> None:
    answers = {
        ("/transfer", 201, "applied"): 990,
        ("/transfer", 429, "quota-exceeded"): 5,
        ("/accounts", 200, "ok"): 5,
    }
    times = [2 * MS] * 900 + [50 * MS] * 95 + [400 * MS] * 5
    told = describe_totals(make_totals(1, answers, {"/transfer": times, "/accounts": [MS] * 5}))
    assert (told["requests_total"], told["success_rate"]) == (1000, 99.5)
    assert told["avg_latency_ms"] == pytest.approx(sum(times) / 1000 / MS, abs=0.001)
    assert list(told["latency_ms"]) == PERCENTILES
    expected = [2, 2, 50, 400]
    assert list(told["latency_ms"].values()) == pytest.approx(expected, rel=1 / 32)
    assert told["answers"] == {
        "/accounts": {"200 ok": 5},
        "/transfer": {"201 applied": 990, "429 quota-exceeded": 5},
    }


def test_nothing_yet_is_no_failure() -> None:
    told = describe_totals(make_totals())
    assert (told["requests_total"], told["success_rate"], told["avg_latency_ms"]) == (0, 100, 0)


def test_parts_of_the_way() -> None:
    measures = make_measures(
        queue=make_histogram([MS]),
        kernel=make_histogram([2 * MS]),
        journal=make_histogram([3 * MS]),
        sync=make_histogram([4 * MS]),
        batches=make_histogram([1, 3]),
        groups=make_histogram([5]),
        outcomes=dict.fromkeys(Status, 0) | {Status.APPLIED: 2},
        replays=9,
        journal_bytes=77,
    )
    told = describe_totals(make_totals(measures=measures))
    for number, name in enumerate(("queue_ms", "kernel_ms", "journal_ms", "sync_ms"), 1):
        assert list(told[name]) == PERCENTILES
        assert told[name]["p99"] == pytest.approx(number, rel=1 / 32)
    assert told["batch_size"] == {"mean": 2.0, "p50": 1, "p90": 3, "p99": 3, "p999": 3}
    assert told["group_size"]["mean"] == 5
    assert told["outcomes"] == {"applied": 2}
    assert (told["replays_total"], told["journal_bytes_total"]) == (9, 77)


# -- a real server --------------------------------------------------------------------------------


def test_json_is_the_form_for_all_who_do_not_ask(client: httpx.Client) -> None:
    html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for accept in ("*/*", "", "application/json", html, "image/png", "nonsense", ";;,"):
        answer = client.get("/metrics", headers={"accept": accept})
        assert answer.headers["content-type"] == "application/json", accept
        assert {"requests_total", "queue_depth", "active_workers", "limits"} <= answer.json().keys()


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("path", "accept", "content_type"),
    [
        ("/metrics", PROMETHEUS, "application/openmetrics-text"),
        ("/metrics", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        ("/metrics", "text/plain", "text/plain"),
        ("/metrics/prometheus", PROMETHEUS, "application/openmetrics-text"),
        ("/metrics/prometheus", "application/json", "text/plain"),
        ("/metrics/prometheus", "*/*", "text/plain"),
        ("/metrics/prometheus", "application/openmetrics-text;version=9.9", "application/open"),
    ],
)
def test_prometheus_gets_text(
    client: httpx.Client, name: str, path: str, accept: str, content_type: str
) -> None:
    fund(client, name)
    answer = client.get(path, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(content_type)
    parse: Any = parse_text if content_type == "text/plain" else parse_open
    samples = [sample for family in parse(answer.text) for sample in family.samples]
    (applied,) = (
        s.value
        for s in samples
        if s.name == "ledgercore_transfers_total" and s.labels["outcome"] == "applied"
    )
    assert applied >= 1
    head = client.head(path, headers={"accept": accept})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith(content_type)


def test_the_ledger_is_counted(client: httpx.Client, name: str) -> None:
    fund(client, name)
    before = client.get("/metrics").json()
    for key in ("x", "y", "y"):
        assert post_transfer(client, f"{name}-{key}", f"{name}:a", f"{name}:b", 1)
    post_transfer(client, f"{name}-z", f"{name}:a", f"{name}:b", 10**9)
    after = client.get("/metrics").json()

    def more(outcome: str) -> int:
        told = after["outcomes"].get(outcome, 0) - before["outcomes"].get(outcome, 0)
        return int(told)

    assert (more("applied"), more("insufficient-funds")) == (2, 1)
    # The reading before has been counted by now as well.
    assert after["requests_total"] == before["requests_total"] + 5
    told = after["answers"]["/transfer"]
    assert told["201 applied"] == before["answers"]["/transfer"]["201 applied"] + 3
    assert told["422 insufficient-funds"] >= 1
    assert 0 < after["latency_ms"]["p50"] <= after["latency_ms"]["p999"]
    assert after["avg_latency_ms"] > 0 and after["success_rate"] < 100
    assert after["replays_total"] == before["replays_total"] + 1
    assert after["journal_bytes_total"] > before["journal_bytes_total"]
    assert after["sync_ms"]["p50"] > 0 and after["group_size"]["mean"] >= 1


def test_exemplars_of_the_observer_are_told(tmp_path: Path) -> None:
    with local_serving(), LocalServer(tmp_path / "l", PROTOCOLS["native"]) as server:
        server.lifecycle.observer.examples[20] = Example("ab" * 16, 0.0009, 1_700_000_000.5)
        line = "Accept: application/openmetrics-text;version=1.0.0"
        body = server.ask(spell("GET", "/metrics/prometheus", line)).body.decode()
        (found,) = (
            sample
            for family in parse_open(body)
            for sample in family.samples
            if sample.exemplar is not None
        )
        assert found.exemplar.labels == {"trace_id": "ab" * 16}
        assert float(found.labels["le"]) == 0.001048576


def test_metrics_are_only_read(client: httpx.Client) -> None:
    check_problem(client.post("/metrics/prometheus"), 405, "method-not-allowed")
