"""The ceiling of the workers: its rule by scripted windows, and a server that follows it."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.scaling.workers_ceiling import BAD_WINDOWS, GOOD_WINDOWS, WorkersCeiling
from tests.support.servers import Server, wait_until

TARGET_NS = 20_000_000
GOOD, BAD = TARGET_NS // 2, 2 * TARGET_NS
BUSY, UNCLEAR, WAITING = 0.9, 0.5, 0.1


def learn(ceiling: WorkersCeiling, p99_ns: int, utilisation: float, times: int) -> list[int]:
    """Return what held after each of so many windows that were alike."""
    return [ceiling.learn(p99_ns, TARGET_NS, utilisation) for _ in range(times)]


def test_slow_answers_of_workers_that_wait_lower_it_to_the_lowest() -> None:
    ceiling = WorkersCeiling(1, 3)
    expected = [3] * (BAD_WINDOWS - 1) + [2] * BAD_WINDOWS + [1] * 2 * BAD_WINDOWS
    assert learn(ceiling, BAD, WAITING, len(expected)) == expected


def test_slow_answers_of_busy_workers_raise_it_again_and_never_beyond() -> None:
    ceiling = WorkersCeiling(1, 3)
    learn(ceiling, BAD, WAITING, 2 * BAD_WINDOWS)
    expected = [1] * (BAD_WINDOWS - 1) + [2] * BAD_WINDOWS + [3] * 2 * BAD_WINDOWS
    assert learn(ceiling, BAD, BUSY, len(expected)) == expected


def test_good_windows_let_it_return_more_slowly() -> None:
    ceiling = WorkersCeiling(1, 3)
    learn(ceiling, BAD, WAITING, 2 * BAD_WINDOWS)
    expected = [1] * (GOOD_WINDOWS - 1) + [2] * GOOD_WINDOWS + [3] * 2 * GOOD_WINDOWS
    # However busy they are: it is the answers that are good.
    assert learn(ceiling, GOOD, BUSY, len(expected)) == expected
    assert GOOD_WINDOWS > BAD_WINDOWS


@pytest.mark.parametrize(
    ("p99_ns", "utilisation"), [(GOOD, WAITING), (BAD, BUSY), (BAD, UNCLEAR), (TARGET_NS, WAITING)]
)
def test_only_what_is_alike_in_a_row_moves_it(p99_ns: int, utilisation: float) -> None:
    ceiling = WorkersCeiling(1, 3)
    for _ in range(5):
        learn(ceiling, BAD, WAITING, BAD_WINDOWS - 1)
        ceiling.learn(p99_ns, TARGET_NS, utilisation)
    assert ceiling.limit == 3
    learn(ceiling, BAD, WAITING, 1)
    assert learn(ceiling, p99_ns, utilisation, BAD_WINDOWS - 1)[-1] == 3


def test_where_it_is_not_clear_nothing_moves() -> None:
    ceiling = WorkersCeiling(1, 3)
    learn(ceiling, BAD, WAITING, BAD_WINDOWS)
    assert set(learn(ceiling, BAD, UNCLEAR, 100)) == {2}


def test_what_is_configured_counts_at_once() -> None:
    ceiling = WorkersCeiling(1, 3)
    learn(ceiling, BAD, WAITING, BAD_WINDOWS)
    ceiling.lift()
    assert ceiling.limit == 3
    learn(ceiling, BAD, WAITING, BAD_WINDOWS)
    ceiling.configure(2, 2)
    assert ceiling.limit == 2 and ceiling.is_fixed
    assert set(learn(ceiling, BAD, WAITING, 50)) == {2}


@given(
    st.integers(1, 4),
    st.integers(0, 4),
    st.lists(st.tuples(st.integers(0, 3 * TARGET_NS), st.floats(0, 1)), max_size=300),
)
def test_it_stays_in_its_bounds_and_moves_by_one(
    lowest: int, more: int, windows: list[tuple[int, float]]
) -> None:
    ceiling = WorkersCeiling(lowest, lowest + more)
    seen, moved_at = ceiling.limit, -BAD_WINDOWS
    for number, (p99_ns, utilisation) in enumerate(windows):
        now = ceiling.learn(p99_ns, TARGET_NS, utilisation)
        assert lowest <= now <= lowest + more and abs(now - seen) <= 1
        if now != seen:
            assert number - moved_at >= BAD_WINDOWS
            moved_at = number
        seen = now


# -- a server -------------------------------------------------------------------------------------

SLOW_DISK = {"slow_sync": {"probability": 1, "ms": [25, 25]}}


def test_a_server_whose_disk_is_slow_holds_its_workers_down(tmp_path: Path) -> None:
    flags = ("--workers-max=2", "--target-p99-ms=5", "--allow-chaos", "--demo-accounts=2")
    with (
        Server(tmp_path / "ledger", *flags) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        number = 0

        def read_ceiling() -> Any:
            nonlocal number
            for _ in range(5):
                number += 1
                body = {"from": "acct-0", "to": "acct-1", "amount": 1}
                key = {"Idempotency-Key": f"k-{number}"}
                assert client.post("/transfer", json=body, headers=key).status_code == 201
            return client.get("/metrics").json()["workers_ceiling"]

        assert read_ceiling() == 2
        client.put("/admin/chaos", json=SLOW_DISK).raise_for_status()
        wait_until(lambda: read_ceiling() == 1, "the ceiling to fall")
        told = client.get("/admin/workers").json()
        assert (told["workers_max"], told["workers_ceiling"]) == (2, 1)
        assert "workers' ceiling: 2 -> 1 a segment (p99 " in server.stderr
        client.patch("/admin/limits", json={"target_p99_ms": 0}).raise_for_status()
        assert client.get("/admin/workers").json()["workers_ceiling"] == 2
