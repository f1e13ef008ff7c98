"""The live page's addresses over real sockets: who may, how many, and how a stream ends."""

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore.service.access.key_file import create_key
from ledgercore.service.access.key_ring import Scope
from ledgercore.service.http import client_timeouts
from ledgercore.service.monitoring import live_stream
from ledgercore.service.monitoring.live_stream import VIEWERS_MAX
from ledgercore.service.routes.documents import POLICY
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.servers import ROOT, Server, check_problem, post_transfer
from tests.support.waiting import wait_until

STREAM = "/metrics/stream"
PAGES = ROOT / "service" / "pages"
FILES = [*PAGES.glob("live*[!l]"), *PAGES.glob("vendor/uPlot*s")]
STOP_S = 2.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("page") / "ledger"
    with Server(data, "--demo-accounts=2", "--segments=2", "--workers-max=1") as server:
        yield server.url
        assert server.stop() == 0
        # A viewer too many is a refusal, which is told; and nothing else is.
        assert all("viewers-full" in complaint for complaint in server.complaints)


def read_events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Yield the events of a stream; comments by the name of `:`."""
    name = ""
    for line in response.iter_lines():
        if line.startswith(":"):
            yield ":", line
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_page_and_its_parts_are_files_of_the_package(url: str) -> None:
    targets = {"/": PAGES / "live.html"} | {f"/live/{path.name}": path for path in FILES}
    assert len(targets) == 12
    for target, path in targets.items():
        got, head = httpx.get(url + target), httpx.head(url + target)
        assert got.status_code == head.status_code == 200, target
        assert got.content == path.read_bytes()
        assert head.content == b"" and head.headers["content-length"] == str(len(got.content))
        assert got.headers["content-security-policy"] == POLICY
        again = httpx.get(url + target, headers={"If-None-Match": got.headers["etag"]})
        assert again.status_code == 304 and again.content == b""


def test_page_loads_nothing_from_elsewhere() -> None:
    for path in [PAGES / "live.html", *FILES]:
        # The first line of a script of others names where it is from.
        foreign = path.read_text().replace("http://www.w3.org/2000/svg", "")
        foreign = re.sub(r"\A/\*! https://github\.com/leeoniya/uPlot .*?\*/", "", foreign)
        assert "http:" not in foreign and "https:" not in foreign and "//cdn" not in foreign, path


def test_there_are_no_other_parts(url: str) -> None:
    for name in ("live.html", "docs.css", "..%2Fapp.py", "vendor%2FREADME.md", "README.md", "x"):
        check_problem(httpx.get(f"{url}/live/{name}"), 404, "not-found")


def test_stream_tells_the_past_and_each_second(url: str) -> None:
    with httpx.Client(base_url=url, timeout=10) as client, client.stream("GET", STREAM) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        events = read_events(stream)
        name, settings = next(events)
        assert name == "settings" and settings["durability"] == "sync" and settings["limits"]
        name, history = next(events)
        assert name == "history" and history["samples_max"] == 300
        assert post_transfer(client, "k-1", "acct-0", "acct-1", 1).status_code == 201
        samples = (sample for name, sample in events if name == "sample")
        first = next(sample for sample in samples if sample["transfers_ps"] > 0)
        assert first["rps"] >= first["ok_ps"] > 0 and first["p50_ms"] > 0
        assert first["journal_bytes_ps"] > 0 and len(first["segments"]) == 2
        second = next(samples)
        assert 0.5 < second["t"] - first["t"] < 10
    with httpx.stream("GET", url + STREAM) as stream:
        events = read_events(stream)
        next(events)
        _, history = next(events)
        assert [sample["t"] for sample in history["samples"]].count(first["t"]) == 1


def test_an_audit_of_anybody_is_told(url: str) -> None:
    with httpx.stream("GET", url + STREAM) as stream:
        events = read_events(stream)
        next(events)
        assert httpx.get(f"{url}/audit?journal=false").json()["ok"]
        told = next(value for name, value in events if name == "audit")
        assert told["ok"] and told["sums"] == {"USD/2": "0"} and told["violations"] == []
        assert abs(told["t"] - time.time()) < 60


def test_head_of_the_stream_ends_at_once(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for _ in range(VIEWERS_MAX + 1):  # It takes no place.
            head = client.head(STREAM)
            assert head.status_code == 200 and head.content == b""
            assert head.headers["content-type"].startswith("text/event-stream")


def watch(client: httpx.Client, stack: ExitStack) -> Iterator[tuple[str, Any]]:
    """Return the events of a stream, once who hung up just now has let go of the place."""

    def try_watch() -> httpx.Response | None:
        with ExitStack() as attempt:
            stream = attempt.enter_context(client.stream("GET", STREAM))
            if stream.status_code != 200:
                return None
            stack.push(attempt.pop_all())
            return stream

    stream = wait_until(try_watch, "a place")
    assert stream is not None
    return read_events(stream)


def test_viewers_are_bounded_and_who_hangs_up_makes_room(url: str) -> None:
    with httpx.Client(base_url=url, limits=httpx.Limits(max_connections=None)) as client:
        with ExitStack() as stack:
            events = [watch(client, stack) for _ in range(VIEWERS_MAX)]
            assert all(next(each)[0] == "settings" for each in events)
            with client.stream("GET", STREAM) as refused:
                assert refused.status_code == 503
                refused.read()
            check_problem(refused, 503, "viewers-full")
        with ExitStack() as stack:
            assert next(watch(client, stack))[0] == "settings"


def test_stream_needs_a_key_that_may_read(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    token = create_key(keys, "screen", Scope.READ).token
    with Server(tmp_path / "ledger", f"--keys-file={keys}") as server:
        assert httpx.get(server.url).status_code == 200  # The page itself holds nothing.
        check_problem(httpx.get(server.url + STREAM), 401, "unauthorized")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.stream("GET", server.url + STREAM, headers=headers) as stream:
            assert stream.status_code == 200 and next(read_events(stream))[0] == "settings"
        assert server.stop() == 0
        assert server.complaints == []


def test_server_with_viewers_stops_at_once(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server, ExitStack() as stack:
        streams = [stack.enter_context(httpx.stream("GET", server.url + STREAM)) for _ in range(3)]
        events = [read_events(stream) for stream in streams]
        assert all(next(each)[0] == "settings" for each in events)
        began_s = time.monotonic()
        server.signal(signal.SIGTERM)
        for each in events:
            list(each)  # Whole to its last byte: httpx raises where a chunked body is cut.
        assert server.wait() == 0
        assert time.monotonic() - began_s < STOP_S
        assert server.complaints == []


def test_server_with_a_viewer_that_does_not_read_stops_too(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ledgercore.service.monitoring.live_stream.EVENTS_MAX", 1_000_000)
    monkeypatch.setattr("ledgercore.service.monitoring.sampler.INTERVAL_S", 0.0001)
    with local.connect(receive_bytes=1024) as viewer:
        viewer.send(f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: is_stuck(local), "the viewer to be stuck")
        began_s = time.monotonic()
        local.run(local.app.ctx.monitor.end())
        wait_until(lambda: not is_stuck(local), "the viewer to be let go")
        assert time.monotonic() - began_s < STOP_S
    assert local.get("/healthz") == {"status": "ok"}
    assert capfd.readouterr().err == ""


def is_stuck(server: LocalServer) -> bool:
    """Return whether a connection has more to send than its client takes."""
    return any(not connection._can_write.is_set() for connection in tuple(server.connections))


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalServer]:
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        yield server


def url_of(server: LocalServer) -> str:
    return "http://{}:{}".format(*server.address)


def test_no_clock_of_a_request_cuts_a_stream(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sanic's own clocks, and ours of slow requests; a stream is there for longer than all of them.
    local.app.config.update(RESPONSE_TIMEOUT=2, KEEP_ALIVE_TIMEOUT=2, REQUEST_TIMEOUT=1)
    for name in ("REQUEST_S", "LOOK_INTERVAL_S"):
        monkeypatch.setattr(client_timeouts, name, 0.5)
    began_s = time.monotonic()
    with httpx.stream("GET", url_of(local) + STREAM) as stream:
        samples = [value for (name, value), _ in zip(read_events(stream), range(8), strict=False)]
    assert len(samples) == 8 and time.monotonic() - began_s > 4


def test_a_silent_stream_says_that_it_lives(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "HEARTBEAT_S", 0.1)
    with httpx.stream("GET", url_of(local) + STREAM) as stream:
        assert ":" in {name for (name, _), _ in zip(read_events(stream), range(8), strict=False)}


def test_viewer_that_does_not_read_is_dropped(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledgercore.service.monitoring.sampler.INTERVAL_S", 0.001)
    with local.connect(receive_bytes=1024) as viewer:
        viewer.send(f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: local.app.ctx.monitor.sampler.is_awake, "the viewer")
        wait_until(lambda: not local.app.ctx.monitor.sampler.is_awake, "the viewer to be dropped")
    assert local.get("/healthz") == {"status": "ok"}
