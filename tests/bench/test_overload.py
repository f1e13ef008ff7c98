"""The bench of an overload: its arithmetic, and one short run on the real server."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.overload.command import look, make_key
from bench.overload.figures import Overload, find_percentile, make_overload, read_latencies_ms
from tests.support.servers import ROOT, Server, make_environment, post_transfer
from tests.support.waiting import wait_until

SOUND = Overload(
    clients=400, peak=1000, offered=5000, sent=1600, goodput=900, p99_ms=40, server_p99_ms=19,
    server_p99_max_ms=35, load_share=0.5, target_ms=20, refused=70, lost=0, given_up=3,
    transfers=9000, before_mb=100, after_mb=110, is_audited=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"goodput": 799}, "80% of the peak"),
        ({"p99_ms": 101}, "p99 of 101.0 ms is"),
        ({"server_p99_ms": 31}, "p99 of 31.0 ms in the server"),
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


def test_a_turn_is_what_little_says() -> None:
    assert SOUND.turn_ms == 250
    assert replace(SOUND, sent=0).turn_ms == 0


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
    checks = {"mismatches": 1, "unasked": 2, "open_keys": 4, "balances": "as answered"}
    loaded = {
        "accounting": {"sent": 800}, "checks": checks, "seconds": 2.0,
        "statuses": {"201": 600, "422": 9}, "refusals": {"overloaded": 7}, "ok": True,
        "cpu_shares": [0.2, 0.9],
    }  # fmt: skip
    row = {"sent_s": "0.5", "answered_s": "0.75", "status": "201", "retries": "0"}
    rows = [row, row | {"answered_s": "1.5"}, row | {"answered_s": "", "status": ""}]
    sizes: dict[str, Any] = {
        "clients": 8, "target_ms": 5,
        "before_mb": 1, "after_mb": 2, "server_p99s_ms": [4.0, 9.0, 3.0],
    }  # fmt: skip
    made = make_overload(peak, loaded, rows, seconds=1.0, **sizes)
    assert (made.peak, made.offered, made.sent, made.goodput) == (900, 3, 800, 1)
    assert (made.p99_ms, made.refused, made.lost, made.transfers) == (1000, 7, 3, 600)
    assert (made.server_p99_ms, made.server_p99_max_ms, made.load_share) == (4, 9, 0.9)
    assert made.given_up == 4 and made.is_audited
    unknown = checks | {"balances": "not compared: it is not known what became of 4 keys"}
    for unsound in (None, unknown):
        other = make_overload(peak, loaded | {"checks": unsound}, [], seconds=1.0, **sizes)
        assert not other.is_audited
    silent = make_overload(peak, loaded, [], seconds=1.0, **sizes | {"server_p99s_ms": []})
    assert (silent.server_p99_ms, silent.server_p99_max_ms) == (0, 0)


@pytest.mark.parametrize("is_signed", [True, False])
def test_the_server_is_asked_what_it_has_measured(is_signed: bool, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    key = make_key(ledger) if is_signed else {}
    with (
        Server(ledger, "--demo-accounts=2", "--target-p99-ms=20") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        assert look(client, key) == []  # It was answered, and there is none yet.
        if not is_signed:
            # A window ends after a second, however few answers it has.
            number = count()

            def send_and_look() -> list[float]:
                transfer = (f"k-{next(number)}", "acct-0", "acct-1", 1)
                assert post_transfer(client, *transfer).status_code == 201
                return look(client, key)

            assert wait_until(send_and_look, "a window to end")[0] > 0
        else:
            # It is not answered, which is no failure of the run.
            assert look(client, key | {"LEDGERCORE_CLIENT_SECRET": "another"}) == []


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
    assert made.server_p99_ms <= made.server_p99_max_ms and made.load_share > 0
    assert made.transfers > 0 and 0 < made.goodput <= made.sent
    assert made.after_mb - made.before_mb < made.allowed_mb
