"""Addresses, headers, and posts to a real HTTP server: that answers, refuses, or is silent."""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ledgercore.service.telemetry.collector import (
    ANSWER_BYTES_MAX,
    Collector,
    PostCut,
    PostFailed,
    UnusableCollector,
    parse_address,
    read_headers,
)
from tests.support.exporting import clear_environment
from tests.support.otlp_receiver import Receiver, closed_port
from tests.support.servers import ROOT
from tests.support.waiting import DEADLINE_S


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


@contextmanager
def connect(url: str, **headers: str) -> Iterator[Collector]:
    collector = Collector(parse_address(url), headers)
    try:
        yield collector
    finally:
        collector.close()


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318"),
        ("http://host/", "http://host/v1/traces", "http://host"),
        (" https://[::1]:1 ", "https://[::1]:1/v1/traces", "https://[::1]:1"),
        ("http://host:4318/own/path", "http://host:4318/own/path", "http://host:4318"),
        ("http://host/?key=s3cret", "http://host/v1/traces?key=s3cret", "http://host"),
        ("http://host/s3cret#x", "http://host/s3cret", "http://host"),
        ("http://u:s3cret@host", "http://host/v1/traces", "http://host"),
    ],
)
def test_address(text: str, url: str, name: str) -> None:
    address = parse_address(text)
    assert (str(address.url), address.name) == (url, name)
    assert "s3cret" not in repr(address)


def test_login_of_an_address() -> None:
    assert parse_address("http://user:p%40ss@host").login == ("user", "p@ss")
    assert parse_address("http://host").login is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "collector:4318",
        "//collector",
        "ftp://collector",
        "http://",
        "http://u:s3cret/x@collector",
        "http://collector:port",
        "http://collector:0",
        "http://collector:65536",
        "http://coll\nector",
    ],
)
def test_address_that_makes_no_sense(text: str) -> None:
    with pytest.raises(UnusableCollector) as caught:
        parse_address(text)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_headers_of_the_environment() -> None:
    every = "OTEL_EXPORTER_OTLP_HEADERS"
    traces = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
    assert read_headers({}) == {}
    assert read_headers({every: " "}) == {}
    found = read_headers({every: "Authorization=Bearer%20a=b, x-team = money,"})
    assert found == {"authorization": "Bearer a=b", "x-team": "money"}
    assert read_headers({every: "a=1", traces: "b=2"}) == {"b": "2"}


@pytest.mark.parametrize("entry", ["s3cret", "=s3cret", "a b=s3cret", "a=s3cret%0d%0ab:c", "a=é"])
def test_headers_that_make_no_sense(entry: str) -> None:
    with pytest.raises(UnusableCollector, match="OTEL_EXPORTER_OTLP_HEADERS: entry 2 ") as caught:
        read_headers({"OTEL_EXPORTER_OTLP_HEADERS": f"fine=1,{entry}"})
    assert "s3cret" not in str(caught.value)


def test_post() -> None:
    with Receiver() as receiver:
        receiver.answer = b"taken"
        url = receiver.url.replace("://", "://user:word@")
        with connect(url, **{"x-team": "money", "content-type": "text/plain"}) as collector:
            assert [collector.post(b"", DEADLINE_S) for _ in range(3)] == [b"taken"] * 3
        path, headers = receiver.requests[0]
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["x-team"] == "money"
        assert headers["authorization"] == "Basic dXNlcjp3b3Jk"
        assert receiver.connections == 1


def test_answer_is_read_up_to_a_bound() -> None:
    with Receiver() as receiver, connect(receiver.url) as collector:
        receiver.answer = b"x" * ANSWER_BYTES_MAX
        assert collector.post(b"", DEADLINE_S) == receiver.answer
        receiver.answer += b"x"
        assert collector.post(b"", DEADLINE_S) == b""


@pytest.mark.parametrize("http_status", [307, 400, 401, 404, 429, 503])
def test_any_status_but_2xx_has_failed(http_status: int) -> None:
    with Receiver() as receiver, connect(receiver.url) as collector:
        receiver.http_status = http_status
        with pytest.raises(PostFailed, match=f"^HTTP {http_status}$"):
            collector.post(b"", DEADLINE_S)
        assert len(receiver.requests) == 1
        receiver.http_status = 200
        collector.post(b"", DEADLINE_S)


def test_nobody_there_and_then_somebody() -> None:
    with closed_port() as port, connect(f"http://127.0.0.1:{port}") as collector:
        with pytest.raises(PostFailed, match=r"^no connection: "):
            collector.post(b"", DEADLINE_S)
        with Receiver(port) as receiver:
            collector.post(b"", DEADLINE_S)
        with pytest.raises(PostFailed):
            collector.post(b"", DEADLINE_S)
        with Receiver(port) as receiver:
            collector.post(b"", DEADLINE_S)
            assert len(receiver.requests) == 1


@pytest.mark.parametrize("dribble", [b"", b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_whole_post_has_its_time(dribble: bytes) -> None:
    with Receiver() as receiver, connect(receiver.url) as collector:
        receiver.is_silent, receiver.dribble = True, dribble
        started_s = time.monotonic()
        with pytest.raises(PostFailed, match=r"^no answer within 0\.3 s$"):
            collector.post(b"", 0.3)
        assert time.monotonic() - started_s < 2


def test_hastened_post_is_cut() -> None:
    with Receiver() as receiver, connect(receiver.url) as collector:
        receiver.is_silent = True
        failures: list[PostFailed] = []

        def post() -> None:
            with pytest.raises(PostCut) as caught:
                collector.post(b"", DEADLINE_S)
            failures.append(caught.value)

        thread = threading.Thread(target=post)
        thread.start()
        receiver.wait_for(1)
        started_s = time.monotonic()
        collector.hasten(0.1)
        thread.join(DEADLINE_S)
        assert time.monotonic() - started_s < 2
        assert len(failures) == 1
        # So is one that begins afterwards.
        with pytest.raises(PostCut):
            collector.post(b"", DEADLINE_S)


def test_first_post_loads_nothing_once_that_is_prepared() -> None:
    script = """
import sys
from ledgercore.service.telemetry.collector import Collector, PostFailed, parse_address
collector = Collector(parse_address(sys.argv[1]))
collector.prepare()
before = set(sys.modules)
collector.post(b"", 10)
sys.stdout.write(" ".join(set(sys.modules) - before))
"""
    with Receiver() as receiver:
        command = [sys.executable, "-c", script, receiver.url]
        assert subprocess.check_output(command, cwd=ROOT, text=True, timeout=DEADLINE_S) == ""


async def test_collector_may_be_made_where_another_loop_runs() -> None:
    collector = Collector(parse_address("http://127.0.0.1:1"))
    await asyncio.to_thread(collector.close)


def test_hastening_what_is_closed_is_nothing() -> None:
    collector = Collector(parse_address("http://127.0.0.1:1"))
    collector.close()
    collector.hasten(1)


def test_name_server_that_is_silent_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over, threads = threading.Event(), []

    def look_up(*_: object, **__: object) -> None:
        threads.append(threading.current_thread())
        is_over.wait(DEADLINE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        started_s = time.monotonic()
        with (
            connect("http://collector.invalid") as collector,
            pytest.raises(PostFailed, match="no answer within"),
        ):
            collector.post(b"", 0.1)
        assert time.monotonic() - started_s < 2
        assert [thread.daemon for thread in threads] == [True]
        is_over.set()
        threads[0].join(DEADLINE_S)


@pytest.mark.parametrize("host", ["collector.invalid", "a" * 64, "a..b"])
def test_host_that_has_no_address(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        with connect(f"http://{host}") as collector, pytest.raises(PostFailed):
            collector.post(b"", DEADLINE_S)


def test_library_writes_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Receiver() as receiver, connect(receiver.url) as collector:
        collector.post(b"", DEADLINE_S)
    assert caplog.messages == []
