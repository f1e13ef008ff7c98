"""What the simulator writes: a table that adds up to the summary, and a picture of the run."""

import csv
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from bench.simulator.output import write_table
from bench.simulator.plot import draw_run
from tests.support.simulator_runs import refuse_once, simulate
from tests.support.simulator_stub import StubLedger, problem


async def test_the_table_adds_up_to_the_summary(tmp_path: Path) -> None:
    async with StubLedger() as stub:
        stub.delay_s = 0.002
        stub.before = partial(refuse_once, stub)
        run, summary = await simulate(
            stub,
            clients=10,
            rate=400.0,
            transfers=150,
            queue_max=10,
            processes=2,
            mix={"hammer": 0.5, "reuse": 0.2, "disconnect": 0.2, "nonsense": 0.1},
        )
    write_table(run, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    counts = summary.accounting
    ends = Counter(row["end"] for row in rows)
    assert len(rows) == counts["offered"] == 150
    assert ends.pop("answered") == counts["answered"]
    assert ends.pop("dropped", 0) == counts["dropped"]
    assert ends == summary.failures
    assert sum(int(row["retries"]) for row in rows) == counts["retries"] > 0
    answered = [row for row in rows if row["end"] == "answered"]
    assert Counter(row["status"] for row in answered) == summary.statuses
    latencies_ms = [
        (float(row["answered_s"]) - float(row["scheduled_s"])) * 1000 for row in answered
    ]
    assert sum(latencies_ms) / len(latencies_ms) == pytest.approx(
        summary.latency_ms["avg"], abs=0.01
    )
    assert max(latencies_ms) == pytest.approx(summary.latency_ms["max"], abs=0.01)
    kinds = Counter(row["client"] for row in rows if row["client"])
    assert kinds == {kind: told["intents"] for kind, told in summary.kinds.items()}
    assert all((row["key"] == "") == (row["end"] == "dropped") for row in rows)
    assert {row["key"] for row in answered if row["status"] == "201"} <= stub.stored.keys()
    assert summary.ok


async def test_the_metrics_of_the_server_are_drawn(tmp_path: Path) -> None:
    async with StubLedger() as stub:
        stub.metrics = {"queue_depth": 17, "active_workers": 6, "other": [1]}
        run, summary = await simulate(stub, seconds=0.6, pattern="ramp", clients=8)
    assert (summary.max_workers, summary.max_queue_depth) == (6, 17)
    assert len(run.board.readings) >= 2
    draw_run(run, summary, tmp_path / "run.svg")
    content = (tmp_path / "run.svg").read_bytes()
    assert content.startswith(b"<?xml")
    for text in (b"Latency over time", b"Latency by percentile", b"Throughput", b"workers"):
        assert text in content


async def test_a_run_in_which_nothing_is_answered_is_drawn_too(tmp_path: Path) -> None:
    async with StubLedger() as stub:
        stub.before = lambda request: problem(503, "queue-full")
        run, summary = await simulate(stub, transfers=5, attempts_max=1, is_checking=False)
    assert summary.latency_ms["p50"] is None
    draw_run(run, summary, tmp_path / "run.svg")
    assert (tmp_path / "run.svg").stat().st_size > 1000
