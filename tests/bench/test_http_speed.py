"""`python -m bench http` measures what it says: loads are strict, ratios are of one round."""

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.http_speed import command, profile
from bench.http_speed.bulk import (
    ARROW,
    ITEMS,
    JSON,
    check_answers,
    list_formats,
    make_requests,
    send_all,
)
from bench.http_speed.latency import LatencyRow, compare_runs, run_open_loop
from bench.http_speed.subjects import DURABLE, GO_LOG, PLAIN_NAME, Setting, Subject
from bench.http_speed.throughput import (
    Turn,
    Turns,
    compare,
    find_peak,
    make_ratio,
    make_rows,
)
from bench.load import generators
from bench.load.generators import RATE_MAX, SCRIPT, Load, LoadFailed, run_command, run_wrk
from bench.machine import (
    CpuTimes,
    pick_cores,
    read_cpu_times,
    read_process_cpu,
    read_thread_times,
)
from bench.processes import PLAIN, SERVICE, Server
from bench.report import format_markdown
from bench.workloads import Workload

CORE, LOAD_CORE = pick_cores()
ACCOUNTS = 50
WORKLOAD = Workload(ACCOUNTS)

# It is not the sketch in Go, and no measure of it: it takes its flags and answers with success.
STAND_IN = f"""#!{sys.executable}
import asyncio, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert set(flags) - {{"-wal"}} == {{"-addr", "-accounts", "-funds", "-procs"}}, flags
host, port = flags["-addr"].split(":")
async def answer(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            length = head.lower().partition(b"content-length:")[2].partition(b"\\r")[0]
            await reader.readexactly(int(length or 0))
            writer.write(b"HTTP/1.1 201 Created\\r\\nContent-Length: 0\\r\\n\\r\\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def serve():
    await (await asyncio.start_server(answer, host, int(port))).serve_forever()
asyncio.run(serve())
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("plain") / "log"
    with Server(CORE, *PLAIN, log=log) as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    flags = (f"--demo-accounts={ACCOUNTS}", f"--data={folder / 'data'}")
    with Server(CORE, *SERVICE, *flags, log=folder / "log") as server:
        yield server


def make_turn(rate: float, cpu_us: float, *, seconds: float = 2.0, share: float = 0.5) -> Turn:
    """Return a turn of so many requests a second, each of which took a server so long."""
    requests = int(rate * seconds)
    cpu_s = cpu_us * requests / 1e6
    return Turn(Load(requests, seconds, 1.0, 2.0, share), CpuTimes(cpu_s / 4, cpu_s * 3 / 4))


# -- ratios and goals -----------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    # By the medians of each server alone it would be 300 / 100.
    upper = [make_turn(rate, 10) for rate in (200, 300, 900)]
    lower = [make_turn(rate, 50) for rate in (100, 50, 300)]
    turns: Turns = {("a", 64): upper, ("b", 64): lower}
    ratio = make_ratio(("a", "b"), 64, turns, goal=4.0)
    assert (ratio.by_wall.low, ratio.by_wall.median, ratio.by_wall.high) == (2, 3, 6)
    assert ratio.by_cpu is not None and ratio.by_cpu.median == pytest.approx(5)
    assert ratio.verdict == "MISSED by the wall, reached by CPU"
    assert make_ratio(("a", "b"), 64, turns, goal=3.0).verdict == "reached"
    assert make_ratio(("a", "b"), 64, turns, goal=9.0).verdict == "MISSED"
    assert make_ratio(("a", "b"), 64, turns, goal=None).verdict == ""
    assert not ratio.is_load_limit
    busy = [*upper[1:], make_turn(200, 10, share=0.95)]
    assert make_ratio(("a", "b"), 64, {**turns, ("a", 64): busy}, goal=4.0).is_load_limit


def test_a_clock_that_stood_still_gives_no_ratio() -> None:
    turns: Turns = {("a", 8): [make_turn(8, 0)], ("b", 8): [make_turn(2, 5)]}
    ratio = make_ratio(("a", "b"), 8, turns, goal=4.0)
    assert (ratio.by_wall.median, ratio.by_cpu, ratio.verdict) == (4, None, "reached")


def test_only_what_was_measured_is_compared_each_with_its_goal() -> None:
    turns = {(name, count): [make_turn(400, 10)] for name in ("durable", "plain", "go-log")
             for count in (8, 64, 256)}  # fmt: skip
    goals = {(ratio.name, ratio.connections): ratio.by_wall.goal for ratio in compare(turns)}
    assert goals == {
        ("durable : plain", 8): None,
        ("durable : plain", 64): 4.0,
        ("durable : plain", 256): 4.0,
        ("durable : go-log", 8): None,
        ("durable : go-log", 64): 4.0,
        ("durable : go-log", 256): 3.0,
    }


def test_rows_and_the_peak_are_medians_of_the_rounds() -> None:
    rates = {8: (100, 300, 200), 64: (600, 100, 500)}
    turns = {(DURABLE, n): [make_turn(rate, 8) for rate in some] for n, some in rates.items()}
    eight, many = make_rows({DURABLE: Subject(DURABLE, "", "", 0)}, turns)
    assert (eight.rate.low, eight.rate.median, many.rate.median) == (100, 200, 500)
    assert (eight.user_us, eight.system_us, eight.cpu_us) == pytest.approx((2, 6, 8))
    assert eight.core_share == pytest.approx(200 * 8e-6)
    assert not eight.is_load_limit
    assert find_peak(turns, DURABLE) == 500


@pytest.mark.parametrize(("ours_ms", "is_reached"), [((1, 5, 2), True), ((1, 5, 3), False)])
def test_the_p99_is_compared_round_by_round(ours_ms: tuple[float, ...], is_reached: bool) -> None:
    ours, theirs = (
        [LatencyRow("", name, 70.0, 0.5, p99_ms, 0.1, 0.4) for p99_ms in some]
        for name, some in ((DURABLE, ours_ms), (GO_LOG, (4, 5, 4)))
    )
    latency = compare_runs(ours, theirs)
    assert (latency.rival, latency.p99_share.name) == (GO_LOG, "p99 durable : go-log")
    assert latency.p99_share.low == 0.25 and latency.p99_share.high == 1
    assert latency.is_reached is is_reached
    assert latency.rows[0].p99_ms == sorted(ours_ms)[1]


# -- wrk ------------------------------------------------------------------------------------------


@contextmanager
def without_a_server() -> Iterator[str]:
    """Yield an address that nobody listens at while the block lasts."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@needs_wrk
def test_wrk_sends_each_transfer_once(service: Server) -> None:
    with_journal = read_lsn(service)
    load = run_wrk(LOAD_CORE, ACCOUNTS, service.url, 4, 0.5)
    # What was on its way when wrk stopped was applied too, but not counted: one a connection.
    assert 0 <= read_lsn(service) - with_journal - load.requests <= 4
    assert load.requests > 100 and 0.9 < load.seconds < 2
    assert 0 < load.p50_ms <= load.p99_ms and 0 < load.cpu_share <= 1.1


@needs_wrk
def test_wrk_that_runs_out_of_requests_has_measured_nothing(plain: Server) -> None:
    with pytest.raises(LoadFailed, match="the 50 requests that were got ready did not last"):
        run_script(plain.url, SCRIPT, 50)


@needs_wrk
def test_wrk_that_is_refused_has_measured_nothing(plain: Server, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.lua"
    elsewhere.write_text(SCRIPT.read_text().replace("POST /transfer ", "POST /nowhere "))
    with pytest.raises(LoadFailed, match=r"'status': [1-9]"):
        run_script(plain.url, elsewhere, RATE_MAX)
    with without_a_server() as url, pytest.raises(LoadFailed, match="wrk failed"):
        run_wrk(LOAD_CORE, ACCOUNTS, url, 1, 0.5)


def run_script(url: str, script: Path, count: int) -> None:
    """Run wrk for a second with a script and so many requests."""
    command = ("wrk", "-t1", "-c2", "-d1s", f"--script={script}", url, "--", str(count), "10")
    run_command(LOAD_CORE, (*command, "0123456789abcdef"), count, 30.0)


def read_lsn(server: Server) -> int:
    """Return how many records the ledger of a server has."""
    answer = httpx.get(f"{server.url}/audit", params={"journal": "false"})
    return int(answer.json()["lsn"])


# -- bulk -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "stream"), [(JSON, 1), (ARROW, 2)])
def test_bulk_requests_are_applied_wholly(kind: str, stream: int, service: Server) -> None:
    if kind not in list_formats():
        pytest.skip("pyarrow is not installed")
    rows = WORKLOAD.transfers(3 * ITEMS, stream)
    requests = make_requests(kind, service.url, WORKLOAD, rows)
    before = read_lsn(service)
    sent = send_all(LOAD_CORE, service.url, 2, requests)
    assert read_lsn(service) == before + 3 * ITEMS
    assert len(sent.answers) == 3
    assert sent.seconds > 0 and sent.cpu_share > 0
    check_answers(kind, sent.answers)
    # Sent again, they are replays in Arrow, which tells them apart.
    again = send_all(LOAD_CORE, service.url, 1, requests[:1])
    assert read_lsn(service) == before + 3 * ITEMS
    if kind == ARROW:
        with pytest.raises(LoadFailed, match="has applied 0 of 8,192"):
            check_answers(kind, again.answers)


def test_bulk_answers_that_are_no_success_fail(service: Server, plain: Server) -> None:
    few = make_requests(JSON, service.url, WORKLOAD, WORKLOAD.transfers(10, stream=3))
    with pytest.raises(LoadFailed, match="has applied 10 of 8,192"):
        check_answers(JSON, send_all(LOAD_CORE, service.url, 1, few).answers)
    with pytest.raises(LoadFailed, match="answered with 404"):
        check_answers(JSON, send_all(LOAD_CORE, plain.url, 1, few).answers)


def test_an_answer_that_is_cut_off_fails() -> None:
    def hang_up(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(LoadFailed, match="hung up"):
            send_all(LOAD_CORE, url, 1, [b"POST"])
        thread.join()


# -- the open loop, the machine, the words --------------------------------------------------------


def test_the_open_loop_offers_what_it_is_told(
    plain: Server, service: Server, tmp_path: Path
) -> None:
    setting = Setting(
        CORE,
        LOAD_CORE,
        tmp_path,
        ACCOUNTS,
        keys=0,
        generator=generators.make_generator("own", LOAD_CORE, ACCOUNTS),
        rounds=1,
        seconds=1.0,
        tell=lambda _: None,
    )
    cpu_s = plain.cpu_s
    subject = Subject(PLAIN_NAME, "plain", plain.url, plain.pid)
    run = run_open_loop(subject, setting, 400.0, 8)
    assert plain.cpu_s > cpu_s
    assert run.offered == 400.0
    assert 0 < run.p50_ms <= run.p99_ms
    assert 0 < run.late_p99_ms < 1000
    assert 0 < run.load_share < 1.1
    elsewhere = replace(setting, accounts=10 * ACCOUNTS, seconds=0.2)
    with pytest.raises(LoadFailed, match="of 8 were applied"):
        run_open_loop(replace(subject, url=service.url), elsewhere, 50.0, 2)
    with without_a_server() as url, pytest.raises(LoadFailed, match="the open loop failed"):
        run_open_loop(replace(subject, url=url), elsewhere, 50.0, 2)


def test_the_times_of_threads_add_up_to_those_of_the_process() -> None:
    threads, whole, told = read_thread_times(os.getpid()), read_cpu_times(os.getpid()), os.times()
    assert threading.get_native_id() in threads
    assert (whole.user_s, whole.system_s) == pytest.approx((told.user, told.system), abs=0.05)
    assert whole.user_s > 0 and whole.system_s > 0
    assert sum(one.user_s for one in threads.values()) <= whole.user_s + 0.05
    assert whole.user_s + whole.system_s == pytest.approx(read_process_cpu(os.getpid()), abs=0.05)


def test_a_table_is_markdown_that_can_be_read() -> None:
    head, rule, row = format_markdown([("name", "n"), ("a", "1,000")])
    assert (head, rule, row) == ("| name |     n |", "| ---- | ----: |", "| a    | 1,000 |")


# -- the command ----------------------------------------------------------------------------------


def run_http(*flags: str) -> Result:
    return CliRunner().invoke(main, ["http", f"--accounts={ACCOUNTS}", *flags])


def test_the_command_measures_all_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    monkeypatch.setattr(command, "PROFILE_S", 0.5)
    flags = ("--rounds=1", "--seconds=0.3", "--connections=8", "--generator=own")
    told = run_http(*flags, f"--go={stand_in}", f"--json={tmp_path / 'http.json'}")
    assert told.exit_code == 0, told.output
    data: Mapping[str, Any] = json.loads((tmp_path / "http.json").read_text())
    assert [row["name"] for row in data["rows"]] == [
        "plain", "memory", "durable", "go-memory", "go-log",
    ]  # fmt: skip
    for row in data["rows"]:
        assert row["connections"] == 8 and row["rate"]["median"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert [ratio["name"] for ratio in data["ratios"]] == [
        "durable : plain", "memory : plain", "durable : go-log", "memory : go-memory",
    ]  # fmt: skip
    assert data["latency"]["rival"] == "go-log"
    offered = {row["offered"] for row in data["latency"]["rows"]}
    assert offered == {0.7 * data["rows"][-1]["rate"]["median"]}
    assert {(row["kind"], row["connections"]) for row in data["bulk"]} == {
        (kind, count) for kind in list_formats() for count in (1, 4)
    }
    profile = data["profile"]
    assert any(thread["name"].startswith("event loop") for thread in profile["threads"])
    assert bool(profile["kinds"]) != profile["note"].startswith("No profile")
    for words in ("the service, durable", "open loop", "POST /transfers, durable", "event loop"):
        assert words in told.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--connections=64,none"], "is not like 64,256"),
        (["--connections=0"], "is not like 64,256"),
        (["--only=speed"], "is none of throughput, latency, bulk, profile"),
        (["--rounds=100", "--seconds=30"], "transfers, of at most"),
    ],
)
def test_a_flag_that_is_wrong_is_told(flags: list[str], said: str) -> None:
    told = run_http(*flags)
    assert told.exit_code == 2
    assert said in told.stderr


def test_generators_are_picked_by_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert generators.pick_generator(None) == "own"
    told = run_http("--generator=wrk")
    assert told.exit_code == 1
    assert "wrk is not installed" in told.stderr
    (tmp_path / "wrk").write_text("#!/bin/sh\n")
    (tmp_path / "wrk").chmod(0o755)
    assert generators.pick_generator(None) == "wrk"


def test_the_own_generator_takes_no_refusal(plain: Server, service: Server) -> None:
    assert generators.run_own(LOAD_CORE, ACCOUNTS, plain.url, 2, 0.2).requests > 0
    with pytest.raises(LoadFailed, match=r"did not apply all: {'201': .*'404'"):
        generators.run_own(LOAD_CORE, 2 * ACCOUNTS, service.url, 2, 0.2)
    with without_a_server() as url, pytest.raises(LoadFailed, match="the load generator failed"):
        generators.run_own(LOAD_CORE, ACCOUNTS, url, 1, 0.2)


def test_perf_that_is_missing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(profile.PerfRefused, match="No profile: perf is not installed"):
        profile.record(LOAD_CORE, os.getpid(), 0.1, tmp_path)
    (tmp_path / "perf").write_text("#!/bin/sh\necho 'No permission to see events' >&2\nexit 255\n")
    (tmp_path / "perf").chmod(0o755)
    with pytest.raises(profile.PerfRefused, match="perf failed: No permission to see events"):
        profile.record(LOAD_CORE, os.getpid(), 0.1, tmp_path)
