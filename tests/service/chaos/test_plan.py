"""Plans of faults, their random draws, and the proof that no fault breaks a promise."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import httpx
import numpy as np
import pytest

from ledgercore.service.chaos.plan import (
    FAULTS,
    FaultDraws,
    InvalidPlan,
    Plan,
    check_segments,
    describe_plan,
    load_plan,
    read_plan,
)
from tests.support.chaos_load import ACCOUNTS, FLAGS, check_told, send_load
from tests.support.servers import Server, post_transfer, run_command
from tests.support.waiting import wait_until

DELAYS = ("latency", "stall_segment", "slow_sync")
EVERYTHING: dict[str, dict[str, Any]] = {
    "latency": {"probability": 0.1, "ms": [1, 30]},
    "drop_before": {"probability": 0.15},
    "drop_after": {"probability": 0.15},
    "stall_segment": {"probability": 0.1, "ms": [10, 60]},
    "kill_worker": {"probability": 0.3},
    "slow_sync": {"probability": 0.1, "ms": [5, 40]},
}
"""Every fault that a server survives."""


# -- plans --------------------------------------------------------------------------------------


def make_fault(name: str, **members: Any) -> dict[str, Any]:
    return {"probability": 0.5, **({"ms": [5, 50]} if name in DELAYS else {}), **members}


def make_plan(seed: int, **faults: dict[str, Any]) -> Plan:
    return read_plan(json.dumps({"seed": seed, **faults}).encode())


def test_a_plan_of_everything_is_read() -> None:
    plan = make_plan(7, **{name: make_fault(name) for name in FAULTS})
    assert plan.seed == 7 and tuple(plan.faults) == FAULTS
    assert plan.latency is not None and plan.latency.ms == (5, 50)
    assert read_plan(b"{}") == Plan() and Plan().faults == {}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(
    "members", [{"probability": 1.5}, {"probability": -0.1}, {"probability": "1"}, {"extra": 1}]
)
def test_each_fault_is_named_where_it_is_wrong(name: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlan, match=re.escape(f"$.{name}")):
        make_plan(0, **{name: make_fault(name, **members)})


@pytest.mark.parametrize("name", DELAYS)
@pytest.mark.parametrize("ms", [[50, 5], [-1, 5], [0, 60_001], [5], 5, [0.5, 1], None])
def test_each_range_is_checked(name: str, ms: Any) -> None:
    with pytest.raises(InvalidPlan, match=re.escape(f"$.{name}")):
        make_plan(0, **{name: make_fault(name, ms=ms)})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"seed":-1}', b'{"seed":1.5}', b'{"fire":{}}', b"\xff", b"[" * 9999],
)
def test_what_is_no_plan_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(InvalidPlan) as caught:
        read_plan(body)
    assert "\n" not in str(caught.value)


def test_a_plan_is_not_longer_than_it_may_be() -> None:
    with pytest.raises(InvalidPlan, match="16384"):
        read_plan(b" " * 16_385)


def test_a_segment_has_to_be_there() -> None:
    plan = make_plan(0, stall_segment=make_fault("stall_segment", segment=2))
    check_segments(plan, 3)
    check_segments(Plan(), 1)
    with pytest.raises(InvalidPlan, match="segment 2 is not 0 to 1"):
        check_segments(plan, 2)


def test_a_file_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(InvalidPlan, match=f"{path}: No such file"):
        load_plan(path)
    path.write_text('{"latency": 5}')
    with pytest.raises(InvalidPlan, match=re.escape(f"{path}: ")):
        load_plan(path)
    path.write_text('{"drop_after": {"probability": 0.5}}')
    assert describe_plan(load_plan(path)) == "on, with seed 0: drop_after 0.5"


def test_a_plan_is_told_in_one_line() -> None:
    plan = make_plan(
        7,
        latency=make_fault("latency"),
        drop_after={"probability": 0},
        stall_segment=make_fault("stall_segment", segment=1),
    )
    text = "latency 0.5 of 5-50 ms, stall_segment 0.5 of 5-50 ms in segment 1"
    assert describe_plan(plan) == f"on, with seed 7: {text}"
    assert describe_plan(Plan(seed=7)) == "off"


# -- draws ---------------------------------------------------------------------------------------


def throws(plan: Plan, name: str, count: int = 200) -> list[bool]:
    draws = FaultDraws(plan)
    return [draws.draw(name) for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.5, 0.99])
def test_faults_strike_as_often_as_planned(seed: int, probability: float) -> None:
    count = 20_000
    draws = FaultDraws(make_plan(seed, drop_after={"probability": probability}))
    struck = sum(draws.draw("drop_after") for _ in range(count))
    deviation = (count * probability * (1 - probability)) ** 0.5
    assert abs(struck - count * probability) <= 4 * deviation
    assert draws.struck == {"drop_after": struck}


def test_certain_and_impossible() -> None:
    plan = make_plan(1, drop_after={"probability": 1}, drop_before={"probability": 0})
    assert all(throws(plan, "drop_after"))
    assert not any(throws(plan, "drop_before")) and not any(throws(plan, "latency"))


def test_the_same_seed_throws_the_same() -> None:
    plans = [make_plan(seed, latency=make_fault("latency")) for seed in (7, 7, 8)]
    one, same, other = (
        [draws.draw_ms("latency") for _ in range(100)] for draws in map(FaultDraws, plans)
    )
    assert one == same != other
    assert {ms for ms in one if ms is not None} <= set(range(5, 51)) and None in one


def test_a_fault_does_not_depend_on_the_others() -> None:
    alone = make_plan(7, drop_after={"probability": 0.5})
    plan = make_plan(7, **{name: make_fault(name) for name in FAULTS})
    draws = FaultDraws(plan)
    mixed = []
    for _ in range(200):
        draws.draw_ms("latency")
        mixed.append(draws.draw("drop_after"))
        draws.draw("drop_before")
    assert mixed == throws(alone, "drop_after") != throws(plan, "drop_before")


def test_dice_can_be_loaded() -> None:
    class Low(Random):
        def random(self) -> float:
            return 0.49

    draws = FaultDraws(make_plan(0, drop_after={"probability": 0.5}), Low)
    assert all(draws.draw("drop_after") for _ in range(10))
    assert not FaultDraws(make_plan(0, drop_after={"probability": 0.49}), Low).draw("drop_after")


# -- the proof ----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "ledger", "--allow-chaos", "--segments=2", *FLAGS) as server:
        yield server


def put_plan(url: str, plan: dict[str, Any]) -> Any:
    response = httpx.put(f"{url}/admin/chaos", json=plan)
    assert response.status_code == 200, response.text
    return response.json()


def check_stopped(server: Server, data: Path, outcomes: dict[str, int]) -> None:
    """Stop a server, and check that its directory holds these outcomes and is sound."""
    assert server.stop() == 0
    result = run_command("admin", "verify", str(data))
    assert result.returncode == 0 and result.stdout.endswith("ok\n"), result.stdout
    counts = dict(re.findall(r"^(transfers|refusals) +([\d,]+)$", result.stdout, re.M))
    assert int(counts["transfers"]) == outcomes["applied"] + ACCOUNTS
    assert int(counts["refusals"]) == outcomes["refused"]


@pytest.mark.parametrize(
    "names", [*((name,) for name in EVERYTHING), tuple(EVERYTHING)], ids="+".join
)
def test_no_fault_breaks_a_promise(server: Server, tmp_path: Path, names: tuple[str, ...]) -> None:
    url = server.url
    put_plan(url, {"seed": 7, **{name: EVERYTHING[name] for name in names}})
    told = send_load(url, seed=len(names), count=250)
    struck = httpx.get(f"{url}/admin/chaos").json()["struck"]
    assert sorted(struck) == sorted(names) and all(struck.values()), struck
    put_plan(url, {})
    assert told.open_keys == set()
    drops = struck.get("drop_before", 0) + struck.get("drop_after", 0)
    assert told.tries <= told.calls + drops, "an answer was lost that no fault has dropped"
    outcomes = check_told(url, told)
    assert outcomes["applied"] > 0 and outcomes["refused"] > 0 and outcomes["unseen"] == 0
    check_stopped(server, tmp_path / "ledger", outcomes)
    lines = server.complaints
    assert lines[0].startswith("chaos is on, with seed 7: ")
    assert lines[-1] == "chaos is off"


@pytest.mark.parametrize("others", [(), tuple(EVERYTHING)], ids=["alone", "with-all"])
def test_a_failed_sync_ends_the_server_and_loses_nothing(
    tmp_path: Path, others: tuple[str, ...]
) -> None:
    data, path = tmp_path / "ledger", tmp_path / "plan.json"
    faults = {name: EVERYTHING[name] for name in others}
    path.write_text(json.dumps({"seed": 3, "fail_sync": {"probability": 0.02}, **faults}))
    with Server(data, "--allow-chaos", f"--chaos={path}", *FLAGS) as server:
        told = send_load(server.url, seed=1, count=400, deadline_s=1.0)
        assert server.wait() == 1
        assert "the journal cannot be written: Input/output error" in server.stderr
    assert told.results and told.open_keys
    with Server(data, *FLAGS) as server:
        outcomes = check_told(server.url, told)
        assert outcomes["unseen"] > 0
        check_stopped(server, data, outcomes)


def test_other_segments_do_not_notice_one_that_stands_still(tmp_path: Path) -> None:
    flags = ("--segments=2", "--demo-accounts=20", "--demo-funds=1000")
    with Server(tmp_path / "ledger", "--allow-chaos", *flags) as server:
        quiet_s, loud_s = time_other_segment(server.url, [f"acct-{n}" for n in range(20)])
    assert loud_s < max(5 * quiet_s, 0.05), (quiet_s, loud_s)


def time_other_segment(url: str, names: list[str]) -> tuple[float, float]:
    """Return the p99 of transfers before segment 0 is stalled, and of the others meanwhile."""

    def time_transfers(client: httpx.Client, sources: list[str], run: str, rounds: int) -> float:
        times_s = []
        for number in range(rounds):
            source = sources[number % len(sources)]
            start_s = monotonic()
            response = post_transfer(client, f"{run}-{number}", source, "world", 1)
            times_s.append(monotonic() - start_s)
            assert response.status_code == 201, response.text
        return float(np.percentile(times_s, 99))

    with httpx.Client(base_url=url, timeout=30.0) as client, ThreadPoolExecutor(len(names)) as pool:
        quiet_s = time_transfers(client, names, "quiet", 300)
        put_plan(url, {"stall_segment": {"probability": 1, "ms": [60_000, 60_000], "segment": 0}})
        asked = {
            pool.submit(post_transfer, client, f"probe-{name}", name, "world", 1): name
            for name in names
        }
        done, stuck = wait(asked, 0.5)
        assert done and stuck, "all accounts are of one segment"
        loud_s = time_transfers(client, [asked[one] for one in done], "loud", 300)
        (held, free) = httpx.get(f"{url}/metrics").json()["segments"]
        assert held["queue_depth"] == len(stuck) and free["queue_depth"] == 0
        put_plan(url, {})
        assert {one.result(10).status_code for one in asked} == {201}
        audit = client.get("/audit").json()
        assert audit["ok"] and audit["journal_checked"]
    return quiet_s, loud_s


# -- refused, and off ---------------------------------------------------------------------------


def test_refused_without_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    result = run_command("serve", f"--chaos={path}", f"--data={tmp_path / 'ledger'}")
    assert result.returncode == 2 and result.stderr.startswith("Error: --chaos: ")
    assert not (tmp_path / "ledger").exists()


def test_a_wrong_plan_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    for text in ("{", '{"stall_segment": {"probability": 1, "ms": [1, 2], "segment": 1}}'):
        path.write_text(text)
        result = run_command(
            "serve", "--allow-chaos", f"--chaos={path}", f"--data={tmp_path / 'ledger'}"
        )
        assert result.returncode == 2 and result.stderr.startswith("Error: --chaos: ")
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "ledger").exists()


def test_chaos_can_be_allowed_by_the_environment(tmp_path: Path) -> None:
    settings = {"LEDGERCORE_ALLOW_CHAOS": "1"}
    with Server(tmp_path / "ledger", *FLAGS, environment=settings) as server:
        put_plan(server.url, {"drop_before": {"probability": 1}})
        with httpx.Client(base_url=server.url) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                post_transfer(client, "k", "acct-0", "acct-1", 1)
            assert client.get("/idempotency-keys/k").json()["state"] == "unseen"
            put_plan(server.url, {})
            assert post_transfer(client, "k", "acct-0", "acct-1", 1).status_code == 201
        wait_until(
            lambda: server.complaints[-1:] == ["chaos is off"], "the last change to be logged"
        )
        assert server.stop() == 0
