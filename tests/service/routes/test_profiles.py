"""The addresses under /debug/pprof, on real servers: under load, hung up on, and without py-spy."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from ledgercore.service.profiling import py_spy
from tests.support.children import list_children
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.pprof_reader import PprofFile
from tests.support.samplers import make_failing
from tests.support.servers import ROOT, Server, check_problem, make_environment
from tests.support.waiting import DEADLINE_S, wait_until

PPROF = "/debug/pprof"
ACCOUNTS = 200
ITEMS = 4000
PYTHON_ONLY = "Python frames only: "
LOAD_S = 60
"""More than any profile here takes; the load is ended with it."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the server puts what it leaves for a while."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def server(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("profiles") / "ledger"
    # Snapshots are made by processes too, which would be taken for a py-spy that is left.
    flags = (f"--demo-accounts={ACCOUNTS}", "--workers-max=1", "--snapshot-every=0")
    with Server(data, *flags, environment={"TMPDIR": str(scratch)}) as server:
        assert server.url
        yield server
        assert list_children(server.process.pid) == set()
        assert list(scratch.iterdir()) == []
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        yield client


def send_batches(url: str, is_over: threading.Event) -> int:
    """Send transfers by thousands until told to stop; return how many batches were taken."""
    taken = 0
    with httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
        while not is_over.is_set():
            items = [
                {
                    "idempotency_key": f"{taken}-{n}",
                    "from": f"acct-{n % ACCOUNTS}",
                    "to": f"acct-{(n + 1) % ACCOUNTS}",
                    "amount": 1,
                }
                for n in range(ITEMS)
            ]
            taken += client.post("/transfers", json=items).status_code == 200
    return taken


@contextmanager
def loading(url: str) -> Iterator[None]:
    """Load a server in the block: single transfers the native way, and thousands at a time."""
    load = [sys.executable, "-m", "bench.load", url, f"--accounts={ACCOUNTS}", "--connections=8"]
    process = subprocess.Popen(
        [*load, f"--seconds={LOAD_S}"], cwd=ROOT, env=make_environment(), stdout=subprocess.DEVNULL
    )
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        batches = pool.submit(send_batches, url, is_over)
        try:
            lsn = int(httpx.get(f"{url}/metrics").json()["lsn_applied"])
            wait_until(
                lambda: httpx.get(f"{url}/metrics").json()["lsn_applied"] > lsn + 2 * ITEMS,
                "the load to begin",
            )
            yield
        finally:
            is_over.set()
            process.terminate()
            process.wait(DEADLINE_S)
    assert batches.result() > 0


def skip_without_native(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    if answer.headers["x-profiler"].startswith(PYTHON_ONLY):
        pytest.skip(answer.headers["x-profiler"])


# -- processor time ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(server: Server) -> dict[str, httpx.Response]:
    """Take profiles of a server under load, in every format."""
    answers = {}
    with loading(server.url):
        for wanted, query in {
            "pprof": "seconds=4&hz=100",
            "svg": "seconds=2&hz=100&format=svg",
            "collapsed": "seconds=2&hz=100&format=collapsed",
            "debug": "seconds=2&hz=100&debug=1",
            "heap": "seconds=1",
        }.items():
            name = "heap" if wanted == "heap" else "profile"
            url = f"{server.url}{PPROF}/{name}?{query}"
            answers[wanted] = httpx.get(url, timeout=2 * DEADLINE_S)
    return answers


def test_a_profile_holds_kernel_and_handler(loaded: dict[str, httpx.Response]) -> None:
    answer = loaded["pprof"]
    skip_without_native(answer)
    assert answer.headers["x-profiler"] == "py-spy at 100 Hz: Python and native frames."
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == 'attachment; filename="cpu-time.pb.gz"'
    read = PprofFile(answer.content)
    assert read.measures == [("samples", "count"), ("cpu", "nanoseconds")]
    assert all(ns == count * 10_000_000 for count, ns in (one.values for one in read.samples))
    files = {file for sample in read.samples for file in sample.files}
    names = {name for sample in read.samples for name in sample.names}
    # The kernel, which holds no interpreter lock; both ways in; and the journal's thread.
    assert "ledgercore/ledger.pyx" in files
    assert any(name.startswith("Ledger.apply") for name in names), sorted(names)
    assert "service/http/connection.pyx" in files
    assert any(
        re.fullmatch(r"service/(routes/transfers|wire/bulk|runtime/batcher)\.py", file)
        for file in files
    )
    assert {"MainThread", "journal"} <= set(read.threads), read.threads
    assert not any("__pyx" in name for name in names)
    assert str(ROOT) not in json.dumps(sorted(files))
    lines = [line for one in read.samples for _, file, line in one.stack if file.endswith(".pyx")]
    assert lines and all(line > 0 for line in lines)


def test_a_profile_is_a_picture_or_text(loaded: dict[str, httpx.Response]) -> None:
    svg = loaded["svg"]
    skip_without_native(svg)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in svg.headers["content-security-policy"]
    titles = [one.text or "" for one in ElementTree.fromstring(svg.content).findall(".//{*}title")]
    assert any("(ledgercore/" in title for title in titles)
    for answer in (loaded["collapsed"], loaded["debug"]):
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        lines = answer.text.splitlines()
        assert lines and all(re.fullmatch(r"[^;]+(;.+)* \d+", line) for line in lines)
        assert any("(ledgercore/" in line or "(service/" in line for line in lines)


def test_a_window_of_the_heap_is_a_profile(loaded: dict[str, httpx.Response]) -> None:
    answer = loaded["heap"]
    if answer.status_code == 501:
        pytest.skip(answer.json()["detail"])
    read = PprofFile(answer.content)
    assert read.measures == [("inuse_objects", "count"), ("inuse_space", "bytes")]
    assert sum(sample.values[1] for sample in read.samples) > 0


# -- one at a time -------------------------------------------------------------------------------


def is_profiling(client: httpx.Client) -> bool:
    return "get_profile (service/routes/profiles.py" in client.get(f"{PPROF}/threads").text


def test_one_profile_is_taken_at_a_time(server: Server, client: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            httpx.get, f"{server.url}{PPROF}/profile?seconds=2", timeout=2 * DEADLINE_S
        )
        wait_until(lambda: is_profiling(client), "the profile to begin")
        for second in ("profile?seconds=1", "heap?seconds=1", "profile?seconds=1&format=svg"):
            check_problem(client.get(f"{PPROF}/{second}"), 409, "profile-running")
        # What costs nothing is told all the same, and the ledger goes on.
        assert client.get(f"{PPROF}/heap").status_code == 200
        assert client.get("/audit?journal=false").json()["ok"]
        dump = client.get(f"{PPROF}/threads").text
        assert first.result().status_code == 200
    # The task that waits for py-spy is told with the way to where it waits.
    task = next(block for block in dump.split("\n\n") if "get_profile (" in block)
    assert task.startswith('task "') and ", waits for " in task.split("\n")[0]
    assert "sample_self (service/profiling/py_spy.py:" in task
    assert client.get(f"{PPROF}/profile?seconds=1").status_code == 200


@pytest.mark.parametrize("name", ["profile", "heap"])
def test_whoever_hangs_up_ends_it(
    server: Server, client: httpx.Client, scratch: Path, name: str
) -> None:
    if name == "profile":
        skip_without_native(client.get(f"{PPROF}/profile?seconds=1"))
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    request = f"GET {PPROF}/{name}?seconds=50 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    has_begun: Callable[[], Any] = lambda: list(scratch.iterdir())  # noqa: E731
    with RawConnection((host, int(port))) as connection:
        connection.send(request)
        wait_until(has_begun, "the profile to begin")
        if name == "profile":
            wait_until(lambda: list_children(server.process.pid), "py-spy to begin")
    wait_until(lambda: list_children(server.process.pid) == set(), "py-spy to be ended and reaped")
    wait_until(lambda: list(scratch.iterdir()) == [], "its files to be gone")
    state = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state in "RS"
    # And somebody else may have one.
    assert client.get(f"{PPROF}/{name}?seconds=1").status_code == 200


# -- what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("profile?seconds=0", "seconds"),
        ("profile?seconds=56", "seconds"),
        ("profile?seconds=-1", "seconds"),
        ("profile?seconds=1.5", "seconds"),
        ("profile?seconds=", "seconds"),
        ("profile?seconds=99999999999", "seconds"),
        ("profile?seconds=1&hz=0", "hz"),
        ("profile?seconds=1&hz=101", "hz"),
        ("profile?seconds=1&hz=a", "hz"),
        ("profile?seconds=1&format=png", "format"),
        ("profile?seconds=1&format=text", "format"),
        ("profile?seconds=1&debug=3", "debug"),
        ("profile?seconds=1&debug=1&format=svg", "debug"),
        ("profile?seconds=1&pid=1", "pid"),
        ("profile?seconds=1&seconds=2", ""),
        ("heap?format=svg", "format"),
        ("heap?seconds=60", "seconds"),
        ("heap?seconds=1&hz=5", "hz"),
        ("threads?format=png", "format"),
        ("threads?seconds=1", "seconds"),
        ("cmdline?a=b", "a"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_cannot_be_is_refused(
    client: httpx.Client, method: str, query: str, parameter: str
) -> None:
    response = client.request(method, f"{PPROF}/{query}")
    assert response.status_code == 400
    if method == "GET":
        problem = check_problem(response, 400, "malformed")
        assert problem["errors"][0]["parameter"] == parameter


def test_nobody_waits_for_a_head(client: httpx.Client, server: Server) -> None:
    for query in ("profile", "profile?seconds=55", "heap?seconds=55"):
        response = client.head(f"{PPROF}/{query}")
        assert response.status_code == 200 and response.content == b""
        assert "content-length" not in response.headers, "it is not known"
        with socket.create_connection((response.url.host, response.url.port or 0)) as old:
            old.sendall(f"HEAD {PPROF}/{query} HTTP/1.0\r\n\r\n".encode())
            assert b"\r\n\r\n" in old.makefile("rb").read()
    assert not [line for line in server.log if line["logger"].startswith("sanic")]
    assert list_children(server.process.pid) == set()
    for query in ("", "heap", "cmdline"):
        head, got = client.head(f"{PPROF}/{query}"), client.get(f"{PPROF}/{query}")
        assert head.headers["content-type"] == got.headers["content-type"]


# -- what costs nothing --------------------------------------------------------------------------


def test_threads_are_told_by_their_names(client: httpx.Client, server: Server) -> None:
    dump = client.get(f"{PPROF}/threads")
    assert dump.headers["content-type"] == "text/plain; charset=utf-8"
    threads = dict(re.findall(r'^thread "([^"]+)", native id (\d+), .*:$', dump.text, re.M))
    assert {"MainThread", "worker-0-0", "journal", "housekeeper"} <= threads.keys()
    assert int(threads["MainThread"]) == server.process.pid
    tasks = Path(f"/proc/{server.process.pid}/task")
    assert all((tasks / native_id).exists() for native_id in threads.values())
    assert client.get(f"{PPROF}/goroutine?debug=2").text.split("\n")[2][:8] == 'thread "'
    read = PprofFile(client.get(f"{PPROF}/goroutine").content)
    assert read.measures == [("stacks", "count")]
    assert {"MainThread", "worker-0-0", "journal", "asyncio tasks"} <= set(read.threads)
    folded = client.get(f"{PPROF}/goroutine?debug=1").text
    assert client.get(f"{PPROF}/threads?format=collapsed").text.splitlines()[0].startswith("MainT")
    assert any(line.startswith("journal;") for line in folded.splitlines())
    svg = client.get(f"{PPROF}/threads?format=svg")
    assert ElementTree.fromstring(svg.content).tag.endswith("svg")


def test_figures_and_arguments_are_told(client: httpx.Client, server: Server) -> None:
    figures = client.get(f"{PPROF}/heap?debug=1").text
    assert figures == client.get(f"{PPROF}/heap").text or "VmRSS" in figures
    assert re.search(rf"^    accounts +{ACCOUNTS + 1} in about ", figures, re.M)
    arguments = client.get(f"{PPROF}/cmdline").content.split(b"\0")
    assert arguments[1:4] == [b"-m", b"ledgercore.service", b"serve"] and arguments[-1] == b""


def test_the_page_is_there_with_and_without_a_slash(client: httpx.Client) -> None:
    pages = [client.get(path) for path in (f"{PPROF}/", PPROF)]
    assert pages[0].text == pages[1].text and "<h1>Profiles</h1>" in pages[0].text
    assert pages[0].headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in pages[0].headers["content-security-policy"]


# -- without py-spy ------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalServer]:
    with (
        local_serving(),
        LocalServer(tmp_path / "ledger", PROTOCOLS["native"], demo_accounts=1000) as server,
    ):
        yield server


@pytest.mark.parametrize("reason", ["missing", "denied"])
def test_without_py_spy_python_samples_itself(
    local: LocalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    sampler = make_failing(tmp_path) if reason == "denied" else (str(tmp_path / "none"),)
    monkeypatch.setattr(py_spy, "find_sampler", lambda: sampler)
    url = "http://{}:{}".format(*local.address)
    heard: list[str] = []
    monkeypatch.setattr(
        "ledgercore.service.routes.profiles.logger.warning",
        lambda *told, extra: heard.append(told[1]),
    )
    with httpx.Client(base_url=url, timeout=DEADLINE_S) as client, ThreadPoolExecutor(1) as pool:
        taken = pool.submit(httpx.get, f"{url}{PPROF}/profile?seconds=1", timeout=DEADLINE_S)
        while not taken.done():
            assert client.get("/accounts?limit=1000").status_code == 200
        answer = taken.result()
    sentence = answer.headers["x-profiler"]
    assert sentence.startswith(f"{PYTHON_ONLY}py-spy ") and sentence.endswith(".")
    assert ("ptrace" if reason == "denied" else "is not installed") in sentence
    assert heard == [sentence]
    read = PprofFile(answer.content)
    assert read.comments == [sentence]
    names = {name for sample in read.samples for name in sample.names}
    # Which of the handler's functions a look meets is chance; that it meets them is not.
    handler = {"get_accounts", "describe_page", "describe_account", "answer_json"}
    assert "connection_task" in names and handler & names, sorted(names)
    assert read.message.period == 10_000_000
