"""The measurements measure what they say: sound workloads, an honest load, a plain yardstick."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

import ledgercore
from bench.__main__ import COMMANDS, main
from bench.load.generators import run_load_process
from bench.load.http1 import measure_answer
from bench.load.loops import CPU_SHARE_MAX, make_random_transfers, run_closed_loop
from bench.machine import describe_machine, make_scratch, pick_cores, read_process_cpu, run_on
from bench.measure import Round, make_figure, make_rate
from bench.plain import ANSWER
from bench.processes import PLAIN, Server
from bench.report import format_report
from bench.workloads import Workload
from ledgercore.service.wire.transfer_answer import encode_body
from tests.support.histories import wait_readable

WORKLOAD = Workload(accounts=50, seed=7)
REQUESTS = 200


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("plain") / "log"
    with Server(pick_cores()[0], *PLAIN, log=log) as server:
        yield server


# -- workloads ------------------------------------------------------------------------------------


def test_a_workload_is_the_same_twice() -> None:
    again = Workload(accounts=50, seed=7)
    assert WORKLOAD.transfers(500).tobytes() == again.transfers(500).tobytes()
    assert WORKLOAD.calls(20) == again.calls(20)
    other = Workload(accounts=50, seed=8)
    assert WORKLOAD.transfers(500).tobytes() != other.transfers(500).tobytes()


def test_streams_share_no_keys() -> None:
    keys = [WORKLOAD.transfers(500, stream)["key"] for stream in range(3)]
    assert len(np.unique(np.concatenate(keys))) == 1_500


def test_a_workload_is_applied_wholly() -> None:
    with ledgercore.open(durability="memory") as engine:
        WORKLOAD.open_accounts(engine)
        rows = WORKLOAD.transfers(2_000)
        assert not engine.transfer_batch(rows)["status"].any()
        for source, target, amount, key in WORKLOAD.calls(50, stream=1):
            outcome = engine.transfer(source, target, amount, key=key)
            assert outcome.status is ledgercore.Status.APPLIED
        assert set(rows["from"]) | set(rows["to"]) == set(range(WORKLOAD.accounts))
        assert engine.audit().ok


# -- the yardstick and the load -------------------------------------------------------------------


def test_the_yardstick_answers_as_much_as_the_service(plain: Server) -> None:
    response = httpx.post(f"{plain.url}/transfer", json={"from": "a", "to": "b", "amount": 1})
    assert (response.status_code, response.content) == (201, ANSWER)
    assert response.headers["content-type"] == "application/json"
    with ledgercore.open(durability="memory") as engine:
        engine.open_accounts(["acct-1234", "acct-5678"], asset="USD/2", floor=-100)
        submission = engine.new_submission()
        submission.add("", "k", "acct-1234", "acct-5678", 50)
        engine.submit(submission)
        wait_readable(engine)
        assert engine.completed() == [submission]
    real, yardstick = json.loads(encode_body(submission, 0)), json.loads(ANSWER)
    assert list(real) == list(yardstick)
    assert real | {"id": 1_000_000, "created_at": yardstick["created_at"]} == yardstick
    assert len(real["created_at"]) == len(yardstick["created_at"])
    assert httpx.post(f"{plain.url}/transfer", content=b"{").status_code == 400


def test_the_load_counts_what_it_asks(plain: Server) -> None:
    cpu_s = plain.cpu_s
    flags = (f"--requests={REQUESTS}", "--connections=8")
    result = run_load_process(pick_cores()[1], plain.url, *flags)
    counts = {"requests": REQUESTS, "statuses": {"201": REQUESTS}, "lost": 0}
    assert result | counts == result
    assert 0 < result["p50_ms"] <= result["p90_ms"] <= result["p99_ms"] <= result["seconds"] * 1000
    assert result["rate"] == pytest.approx(REQUESTS / result["seconds"], rel=0.1)
    assert 0 < result["cpu_share"] <= 1.1
    assert result["is_bottleneck"] == (result["cpu_share"] > CPU_SHARE_MAX)
    assert plain.cpu_s >= cpu_s


async def test_the_load_ends_with_its_time(plain: Server) -> None:
    course = await run_closed_loop(plain.url, 4, make_random_transfers(plain.url, 50), seconds=0.1)
    assert course.seconds >= 0.1
    assert course.statuses == {201: len(course.latencies_s)}


async def test_the_load_counts_what_is_lost() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        course = await run_closed_loop(url, 3, islice(make_random_transfers(url, 50), 9))
    assert (len(course.latencies_s), course.lost) == (0, 3)


async def test_the_load_ends_when_it_cannot_read_an_answer() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        closed.set()

    closed = asyncio.Event()
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ValueError, match="Content-Length"):
            await run_closed_loop(url, 1, make_random_transfers(url, 50))
        await closed.wait()


def test_a_load_without_a_server_says_so() -> None:
    with pytest.raises(RuntimeError, match="the load generator failed"):
        run_load_process(pick_cores()[1], "http://127.0.0.1:1", "--requests=1")


def test_a_server_that_does_not_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-flag"):
        Server(pick_cores()[0], *PLAIN, "--no-such-flag", log=tmp_path / "log")


def test_an_answer_is_measured_from_its_head() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nconnection: keep-alive\r\n\r\nbody"
    assert measure_answer(whole) == len(whole)
    assert measure_answer(whole[:-2]) == len(whole)
    assert measure_answer(whole[:30]) > 30


# -- figures and the machine ----------------------------------------------------------------------


def test_a_figure_is_the_median_of_its_rounds() -> None:
    rounds = [Round(100, 1.0, 0.5), Round(100, 2.0, 0.0), Round(100, 4.0, 1.0)]
    figure = make_rate("name", "transfers/s", rounds, goal=60)
    assert (figure.low, figure.median, figure.high, figure.per_cpu_s) == (25, 50, 100, 150)
    assert not figure.is_reached
    assert make_rate("name", "transfers/s", rounds, goal=50).is_reached


def test_the_report_shows_figures_beside_goals() -> None:
    rate = make_figure("rate", "transfers/s", [2e6, 3e6, 4e6], goal=4e6, note="on a slow day")
    ratio = make_figure("ratio", "", [0.8], goal=0.75)
    machine, _, head, first, second, *rest = format_report([rate, ratio], describe_machine())
    assert "cores of" in machine
    assert head.split()[:2] == ["figure", "median"]
    assert " ".join(first.split()) == "rate 3.00 M/s 2.00 M/s 4.00 M/s 4.00 M/s MISSED"
    assert second.split() == ["ratio", "0.80", "0.80", "0.80", "0.75", "reached"]
    assert rest == ["", "rate: on a slow day"]


def test_the_machine_is_left_as_it_was() -> None:
    before = os.sched_getaffinity(0)
    core = pick_cores()[1]
    with run_on(core):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
    with make_scratch() as directory:
        (directory / "file").touch()
    assert not directory.exists()
    assert read_process_cpu(os.getpid()) > 0


# -- the commands ---------------------------------------------------------------------------------


def test_a_command_that_lacks_a_library_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(COMMANDS, "compare", "absent_library")
    ended = CliRunner().invoke(main, ["compare"])
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: compare needs absent_library, which is not installed")
