"""The lifecycle log: what it tells of a server's life, and that a real one tells it."""

import json
import logging
import os
from pathlib import Path

import httpx
import pytest

import ledgercore
from ledgercore.service.settings import Settings
from ledgercore.service.telemetry.lifecycle_log import log_clock, log_recovered, log_started
from ledgercore.service.telemetry.logs import JsonLines
from tests.support.servers import Server, post_transfer


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    # An app that was made in this process before has taken the logger for itself.
    monkeypatch.setattr(logging.getLogger("ledgercore"), "propagate", True)


def test_start_says_what_runs_and_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ledgercore"):
        log_started(Settings(data="/d", segments=3, workers_max=5), "http://127.0.0.1:8000")
    (record,) = caplog.records
    line = json.loads(JsonLines().format(record))
    assert line["event"] == "started" and line["version"] == ledgercore.__version__
    assert (line["data"], line["durability"]) == ("/d", "sync")
    assert (line["address"], line["pid"]) == ("http://127.0.0.1:8000", os.getpid())
    assert (line["segments"], line["workers_min"], line["workers_max"]) == (3, 1, 5)


def test_empty_journal_is_no_recovery(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ledgercore"):
        engine = ledgercore.open(durability="memory")
        log_recovered(engine.statistics())
        engine.close()
    assert caplog.records == []


def test_life_of_a_server_is_told(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    with Server(data, "--demo-accounts=2") as server:
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "k", "acct-0", "acct-1", 1).status_code == 201
        server.kill()
    with Server(data) as server:
        records = httpx.get(f"{server.url}/metrics").json()["recovered_records"]
        assert server.stop() == 0
        events = {line["event"]: line for line in server.log}
        assert list(events)[-2:] == ["stopping", "stopped"]
        assert events["recovered"]["records"] == records > 0
        assert events["recovered"]["seconds"] > 0
        assert server.complaints == []


@pytest.mark.parametrize(("lead_ns", "text"), [(90 * 10**9, "ahead of"), (-5 * 10**9, "behind")])
def test_clock_that_is_off_is_told(
    caplog: pytest.LogCaptureFixture, lead_ns: int, text: str
) -> None:
    with caplog.at_level(logging.INFO, "ledgercore"):
        log_clock(lead_ns)
    (record,) = caplog.records
    line = json.loads(JsonLines().format(record))
    assert line["lead_seconds"] == lead_ns / 10**9 and text in line["message"]
    assert ("nine tenths" in line["message"]) == (lead_ns > 0)
