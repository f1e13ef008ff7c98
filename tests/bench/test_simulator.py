"""The command `python -m bench simulate` as people run it, on the real server."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from bench.simulator.command import main
from tests.support.servers import ROOT, Server, make_environment
from tests.support.waiting import DEADLINE_S, wait_until

SIMULATE = (sys.executable, "-m", "bench", "simulate")
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("simulator") / "ledger"
    with Server(data, "--demo-accounts=100", "--demo-funds=100000") as server:
        yield server.url
        assert server.stop() == 0


def simulate(url: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SIMULATE, url, "--accounts=100", "--quiet", *flags],
        cwd=ROOT,
        env=make_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def find_workers(parent: int) -> list[int]:
    """Return the load processes of a simulator."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                line = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent and "simulator.worker" in line:
                found.append(int(entry.name))
    return found


# -- the whole command ----------------------------------------------------------------------------


def test_the_command_from_end_to_end(url: str, tmp_path: Path) -> None:
    table, plot = tmp_path / "all.csv", tmp_path / "deep" / "run.png"
    ended = simulate(
        url, "--clients=8", "--transfers=300", "--json", f"--csv={table}", f"--plot={plot}"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    told: dict[str, Any] = json.loads(ended.stdout)
    assert told["ok"]
    assert told["accounting"] == {
        "offered": 300, "sent": 300, "retries": 0, "dropped": 0, "answered": 300, "failed": 0,
    }  # fmt: skip
    assert told["statuses"] == {"201": 300}
    assert told["checks"]["asked"] == 300
    assert (told["checks"]["audit"], told["checks"]["balances"]) == ("ok", "as answered")
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p99"] <= told["latency_ms"]["max"]
    with table.open() as file:
        assert len({row["key"] for row in csv.DictReader(file)}) == 300
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_impolite_clients_and_an_open_loop(url: str) -> None:
    ended = simulate(
        url,
        "--clients=20",
        "--rate=600",
        "--seconds=1",
        "--impolite=0.6",
        "--pattern=overload",
        "--processes=2",
        "--zipf=1.1",
        "--json",
    )
    told = json.loads(ended.stdout)
    assert told["ok"], told["checks"]
    assert ended.returncode == 0
    assert told["kinds"].keys() == {"polite", "hammer", "reuse", "disconnect", "nonsense"}
    assert told["failures"]["hung-up"] == told["kinds"]["disconnect"]["intents"]
    assert told["refusals"]["idempotency-key-reused"] > 0
    assert told["statuses"]["400"] > 0
    # The rate is 1.4 of what was said, since two tenths of the time it is three times that.
    assert told["transfers"] == pytest.approx(840, rel=0.2)


def test_the_summary_begins_as_it_always_does(url: str) -> None:
    ended = simulate(url, "--clients=3", "--transfers=1000", "--no-check")
    first, second, *rest = ended.stdout.splitlines()
    assert first == "Load test: 3 clients, 1,000 txns"
    figures = [part.partition(": ") for part in second.split("   ")]
    names = ["Success", "RateLimited", "Avg Latency", "p50/p90/p99 Latency", "Max Workers"]
    assert [name for name, _, _ in figures] == names
    values = dict(zip(names, (value for _, _, value in figures), strict=True))
    assert (values["Success"], values["RateLimited"]) == ("100.0%", "0.0%")
    assert [part[-2:] for part in values["p50/p90/p99 Latency"].split("/")] == ["ms"] * 3
    assert any(line.startswith("accounting:") and "offered 1,000" in line for line in rest)
    assert "checks:      none were made" in rest


def test_accounts_are_opened_and_funded_where_there_are_none(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server:
        ended = simulate(server.url, "--transfers=100", "--json")
        assert json.loads(ended.stdout)["statuses"] == {"201": 100}, ended.stderr
        again = simulate(server.url, "--transfers=100", "--json")
        assert json.loads(again.stdout)["ok"]


# -- what goes wrong ------------------------------------------------------------------------------


def test_a_server_that_dies_fails_the_checks(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    with Server(data, "--demo-accounts=100") as server:
        command = [*SIMULATE, server.url, "--accounts=100", "--clients=4", "--json"]
        with subprocess.Popen(
            [*command, "--seconds=1.5", "--think-ms=5", "--patience-s=0.5"],
            cwd=ROOT, env=make_environment(), stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            wait_for_load(server.url)
            server.kill()
            told = json.loads(process.communicate(timeout=DEADLINE_S)[0])
    assert process.returncode == 1
    assert told["mishaps"]["no-connection"] > 0
    assert told["accounting"]["answered"] > 0
    assert any("no answer" in fault for fault in told["checks"]["faults"])


def wait_for_load(url: str) -> None:
    """Wait until the server has had more requests than the preparation of a run makes."""

    def count() -> int:
        told: int = httpx.get(f"{url}/audit?journal=false").json()["lsn"]
        return told

    before = count()
    wait_until(lambda: count() > before + 20, "the load to begin")


def test_an_interrupt_stops_and_still_summarises(url: str) -> None:
    with subprocess.Popen(
        [*SIMULATE, url, "--accounts=100", "--seconds=60", "--clients=2", "--think-ms=5"],
        cwd=ROOT, env=make_environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        (worker,) = wait_until(lambda: find_workers(process.pid), "the load process")
        wait_for_load(url)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert stdout.startswith("Load test: 2 clients, ")
    assert "interrupted: this is what had happened by then" in stdout
    assert not Path(f"/proc/{worker}").exists()


def test_a_load_process_that_dies_is_told(url: str) -> None:
    with subprocess.Popen(
        [*SIMULATE, url, "--accounts=100", "--seconds=60", "--clients=2", "--processes=2"],
        cwd=ROOT, env=make_environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def find_both() -> list[int]:
            found = find_workers(process.pid)
            return found if len(found) == 2 else []

        workers = wait_until(find_both, "both load processes")
        os.kill(workers[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "was ended by signal 9" in stderr
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_nobody_at_the_address_is_told_in_one_line() -> None:
    ended = simulate(NOBODY)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"Error: nobody listens at {NOBODY}: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--clients=0"], "--clients"),
        (["--pattern=flat"], "--pattern"),
        (["--mix=rude=1"], "no kind of client"),
        (["--mix=polite=1", "--impolite=0.1"], "give one of them"),
        (["--seconds=1", "--transfers=1"], "not both"),
        (["--processes=3", "--clients=2"], "more --processes than"),
        (["--plot=run.gif"], "ends in .png or .svg"),
        (["--arrivals=even"], "goes with --rate"),
        (["--rate=10", "--think-ms=5"], "closed loop"),
        (["--rate=1e9", "--seconds=1000"], "more than 20,000,000 arrivals"),
    ],
)
def test_a_wrong_flag_is_told(flags: list[str], fault: str) -> None:
    result = CliRunner().invoke(main, [NOBODY, *flags])
    assert result.exit_code == 2
    assert fault in result.output


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "127.0.0.1:8000", "http://h/path", "http://h:x"]
)
def test_a_wrong_address_is_told(url: str) -> None:
    result = CliRunner().invoke(main, [url])
    assert result.exit_code == 2
    assert "URL" in result.output
