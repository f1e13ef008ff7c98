"""An exporter and a collector that refuses, is silent or is gone: the breaker, the log, the end."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from ledgercore.service.telemetry.span_exporter import SpanExporter
from tests.support.exporting import (
    NEVER_S,
    OPEN_S,
    clear_environment,
    export,
    make_breaker,
    make_request,
    servers,
    wait_for_counts,
)
from tests.support.otlp_receiver import Receiver, closed_port
from tests.support.servers import ROOT
from tests.support.waiting import DEADLINE_S


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


def fail_by_refusing(receiver: Receiver) -> None:
    receiver.http_status = 503


def fail_by_silence(receiver: Receiver) -> None:
    receiver.is_silent = True


@pytest.mark.parametrize(
    ("fail", "timeout_s", "reason"),
    [
        (fail_by_refusing, DEADLINE_S, "HTTP 503"),
        (fail_by_silence, 1.0, "no answer within 1 s"),
    ],
)
def test_breaker_leaves_a_failing_collector_alone(
    fail: Callable[[Receiver], None],
    timeout_s: float,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    breaker, clock = make_breaker()
    with (
        caplog.at_level(logging.INFO),
        Receiver() as receiver,
        export(receiver.url, breaker=breaker, timeout_s=timeout_s) as exporter,
    ):
        fail(receiver)
        for number in range(1, 4):
            exporter.offer(make_request(number))
            wait_for_counts(exporter, failed_total=number)
        wait_for_counts(exporter, breaker="open")
        for number in range(1, 51):
            exporter.offer(make_request(number))
            wait_for_counts(exporter, dropped_total=number)
        assert receiver.connections <= len(receiver.requests) == 3

        clock.now_s += OPEN_S  # A probe, in vain.
        assert exporter.describe()["breaker"] == "half-open"
        exporter.offer(make_request())
        wait_for_counts(exporter, failed_total=4, breaker="open")
        exporter.offer(make_request())
        wait_for_counts(exporter, dropped_total=51)
        assert len(receiver.requests) == 4

        clock.now_s += OPEN_S  # A probe, when it is back.
        receiver.http_status, receiver.is_silent = 200, False
        exporter.offer(make_request(9))
        wait_for_counts(exporter, exported_total=1, breaker="closed")
        assert servers(receiver.spans) == [9]

    names = ("event", "breaker", "state", "reason")
    told = [tuple(vars(record)[name] for name in names) for record in caplog.records]
    assert told == [
        ("breaker", "traces", "open", reason),
        ("breaker", "traces", "half-open", "a probe is made"),
        ("breaker", "traces", "open", reason),
        ("breaker", "traces", "half-open", "a probe is made"),
        ("breaker", "traces", "closed", "the probe succeeded"),
    ]
    assert caplog.messages[0] == (
        f"breaker of the traces: closed -> open ({receiver.url}: {reason})"
    )


def test_breaker_around_a_collector_that_is_gone() -> None:
    breaker, clock = make_breaker()
    with closed_port() as port, export(f"http://127.0.0.1:{port}", breaker=breaker) as exporter:
        for number in range(1, 4):
            exporter.offer(make_request(number))
            wait_for_counts(exporter, failed_total=number)
        wait_for_counts(exporter, breaker="open")
        with Receiver(port) as receiver:
            exporter.offer(make_request(4))
            wait_for_counts(exporter, dropped_total=1)
            assert receiver.connections == 0
            clock.now_s += OPEN_S
            exporter.offer(make_request(5))
            wait_for_counts(exporter, exported_total=1, breaker="closed")
            assert servers(receiver.spans) == [5]


def test_secrets_of_the_address_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    breaker, _ = make_breaker(failures_max=1)
    with caplog.at_level(logging.DEBUG), closed_port() as port:
        url = f"http://user:s3cret@127.0.0.1:{port}/s3cret?s3cret=1"
        with export(url, breaker=breaker) as exporter:
            exporter.offer(make_request())
            wait_for_counts(exporter, failed_total=1, breaker="open")
            assert "s3cret" not in repr(exporter.describe())
    assert "s3cret" not in caplog.text
    assert f"http://127.0.0.1:{port}:" in caplog.messages[-1]


# -- the end --------------------------------------------------------------------------------------


def close_in_time(exporter: SpanExporter, timeout_s: float) -> None:
    started_s = time.monotonic()
    exporter.close(timeout_s)
    # What the machine may take to switch between threads is no business of the exporter.
    assert time.monotonic() - started_s < timeout_s + 1
    exporter._thread.join(DEADLINE_S)
    assert not exporter._thread.is_alive()


def test_closing_sends_what_is_queued() -> None:
    options = {"batch_max": 10, "interval_s": NEVER_S}
    with Receiver() as receiver, export(receiver.url, **options) as exporter:
        for number in range(1, 6):
            exporter.offer(make_request(number))
        close_in_time(exporter, DEADLINE_S)
        assert servers(receiver.spans) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_under_way", [True, False])
def test_closing_with_a_silent_collector(
    is_under_way: bool, caplog: pytest.LogCaptureFixture
) -> None:
    breaker, _ = make_breaker(failures_max=1)
    options = {"batch_max": 2, "timeout_s": NEVER_S, "breaker": breaker}
    with Receiver() as receiver, export(receiver.url, **options) as exporter:
        receiver.is_silent = True
        for number in range(1, 6 if is_under_way else 2):
            exporter.offer(make_request(number))
        if is_under_way:
            receiver.wait_for(1)
        close_in_time(exporter, 0.2)
        counts = exporter.describe()
        # What was under way has failed, and what was left did not go anywhere.
        told = counts["failed_total"], counts["dropped_total"]
        assert told == ((2, 3) if is_under_way else (1, 0))
        # That we had no time left says nothing about it.
        assert counts["breaker"] == "closed"
        assert caplog.messages == []


def test_closing_with_a_collector_that_refuses() -> None:
    with Receiver() as receiver, export(receiver.url, batch_max=100, queue_max=100) as exporter:
        receiver.http_status = 503
        for number in range(1, 51):
            exporter.offer(make_request(number))
        close_in_time(exporter, 2.0)
        assert exporter.describe()["failed_total"] == 50


def test_closing_with_a_collector_that_is_gone() -> None:
    with closed_port() as port, export(f"http://127.0.0.1:{port}", batch_max=100) as exporter:
        exporter.offer(make_request())
        close_in_time(exporter, 2.0)
        assert exporter.describe()["failed_total"] == 1


# -- the log ---------------------------------------------------------------------------------------


SCRIPT = """
import logging, sys
from ledgercore.client.breaker import CircuitBreaker
from ledgercore.service.telemetry.span_exporter import SpanExporter
from tests.support.exporting import make_request
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
options = {"batch_max": 1, "interval_s": 0.0, "timeout_s": float(sys.argv[2])}
exporter = SpanExporter(sys.argv[1], breaker=CircuitBreaker(2, 3600), **options)
for number in range(1, 101):
    exporter.offer(make_request(number))
exporter.close(30.0)
sys.stdout.write(repr(exporter.describe()))
"""


def run_script(url: str, timeout_s: float = DEADLINE_S) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", SCRIPT, url, str(timeout_s)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def test_dead_collector_is_one_line() -> None:
    with closed_port() as port:
        run = run_script(f"http://127.0.0.1:{port}")
    (line,) = run.stderr.splitlines()
    assert line.startswith("ledgercore: breaker of the traces: closed -> open (http://127.0.0.1:")
    assert "'dropped_total': 98" in run.stdout
    assert run.returncode == 0


def test_silent_collector_is_one_line() -> None:
    with Receiver() as receiver:
        receiver.is_silent = True
        run = run_script(receiver.url, 0.2)
    (line,) = run.stderr.splitlines()
    assert line.endswith("no answer within 0.2 s)")
    assert run.returncode == 0


def test_collector_at_work_is_no_line() -> None:
    with Receiver() as receiver:
        run = run_script(receiver.url)
        assert (run.stderr, run.returncode) == ("", 0)
        assert servers(receiver.spans) == list(range(1, 101))
