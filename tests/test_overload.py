"""The bench of an overload: its arithmetic, and one short run on the real server."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from bench.overload.figures import Overload, find_percentile, make_overload, read_latencies_ms
from tests.support import ROOT, make_environment

SOUND = Overload(
    peak=1000, offered=5000, sent=1500, goodput=900, p99_ms=40, target_ms=20, refused=70, lost=0,
    transfers=9000, before_mb=100, after_mb=110, is_audited=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"goodput": 799}, "80% of the peak"),
        ({"p99_ms": 101}, "p99"),
        ({"after_mb": 160}, "memory"),
        ({"lost": 1}, "answered"),
        ({"is_audited": False}, "checks"),
    ],
)
def test_each_bound_is_a_bound(changes: dict[str, Any], fault: str) -> None:
    assert SOUND.faults() == []
    (found,) = replace(SOUND, **changes).faults()
    assert fault in found


def test_shares_are_of_the_peak() -> None:
    assert (SOUND.share, SOUND.factor) == (0.9, 5)


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([], 99, 0), ([3], 99, 3), ([2, 1], 50, 1), (list(range(1, 101)), 99, 99)],
)
def test_percentiles(values: list[float], percent: float, found: float) -> None:
    assert find_percentile(values, percent) == found


def test_only_what_was_admitted_at_once_tells_a_latency() -> None:
    row = {"sent_s": "1.0", "answered_s": "1.25", "status": "201", "retries": "0"}
    rows = [row, row | {"retries": "1"}, row | {"status": "503"}, row | {"answered_s": ""}]
    assert read_latencies_ms(rows) == [250.0]


def test_figures_are_made_of_two_summaries() -> None:
    peak = {"answered_per_s": 1000.0, "success": 0.9}
    checks = {"mismatches": 1, "unasked": 2, "open_keys": 4}
    loaded = {
        "accounting": {"sent": 800}, "checks": checks, "seconds": 2.0,
        "statuses": {"201": 600, "422": 9}, "refusals": {"overloaded": 7}, "ok": True,
    }  # fmt: skip
    row = {"sent_s": "0.5", "answered_s": "0.75", "status": "201", "retries": "0"}
    rows = [row, row | {"answered_s": "1.5"}, row | {"answered_s": "", "status": ""}]
    sizes = {"target_ms": 5, "before_mb": 1, "after_mb": 2}
    made = make_overload(peak, loaded, rows, seconds=1.0, **sizes)
    assert (made.peak, made.offered, made.sent, made.goodput) == (900, 3, 800, 1)
    assert (made.p99_ms, made.refused, made.lost, made.transfers) == (1000, 7, 7, 600)
    assert made.is_audited
    unchecked = make_overload(peak, loaded | {"checks": None}, [], seconds=1.0, **sizes)
    assert not unchecked.is_audited


def test_a_short_run_loses_nothing() -> None:
    """Rates and latencies are for the bench, where nothing else has the cores."""
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "overload", "--seconds=1", "--clients=100", "--json"],
        cwd=ROOT,
        env=make_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout, ended.stderr
    made = Overload(**json.loads(ended.stdout))
    assert made.lost == 0 and made.is_audited
    assert made.transfers > 0 and 0 < made.goodput <= made.sent
    assert made.after_mb - made.before_mb < made.allowed_mb
