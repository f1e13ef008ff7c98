"""The watch: work is seen without anybody looking, and what is slow or refused is in the log."""

import json
from pathlib import Path

import httpx

from ledgercore.service.access.key_ring import Scope
from tests.support.keyed import make_key
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.servers import Server, post_transfer
from tests.support.waiting import wait_until


def test_log_tells_of_work_of_refusals_and_of_what_was_slow(tmp_path: Path) -> None:
    flags = ("--demo-accounts=2", "--log-interval-s=1", "--client-rate=1", "--client-burst=3")
    # A target of one millisecond is beyond any sync that chaos makes slow.
    chaos = tmp_path / "chaos.json"
    chaos.write_text(json.dumps({"slow_sync": {"probability": 1.0, "ms": [80, 90]}}))
    slow = ("--slow-request-ms=50", "--allow-chaos", f"--chaos={chaos}")
    with Server(tmp_path / "ledger", *flags, *slow) as server:
        with httpx.Client(base_url=server.url) as client:
            statuses = [
                post_transfer(client, f"k-{number}", "acct-0", "acct-1", 1).status_code
                for number in range(8)
            ]
        assert statuses.count(429) >= 4
        wait_until(
            lambda: {"load", "refusals", "slow-request"} <= {line["event"] for line in server.log},
            "the lines of the log",
        )
        lines = {line["event"]: line for line in server.log}
        assert lines["started"]["address"] == server.url
        assert server.stop() == 0
    assert lines["load"]["segments"][0]["workers"] == 1 and lines["load"]["requests_per_s"] > 0
    assert lines["refusals"]["refusals"] == {"quota-exceeded": statuses.count(429)}
    phases = lines["slow-request"]["phases_ms"]
    assert list(phases) == ["admission", "queue", "kernel", "journal", "answer"]
    # What was made slow is what is told to be slow.
    assert phases["journal"] >= 50 > phases["kernel"]
    assert len(lines["slow-request"]["trace_id"]) == 32


def test_who_is_refused_at_the_door_is_in_the_log(tmp_path: Path) -> None:
    make_key(tmp_path / "ledger", "alice", Scope.TRANSFER)
    with Server(tmp_path / "ledger", "--log-interval-s=1") as server:
        with httpx.Client(base_url=server.url) as client:

            def is_told() -> bool:
                assert client.get("/accounts").status_code == 401
                return any(line["event"] == "refusals" for line in server.log)

            wait_until(is_told, "the refusals to be told")
        assert server.stop() == 0
    told = [line["refusals"] for line in server.log if line["event"] == "refusals"]
    assert all(set(refusals) == {"unauthorized"} for refusals in told)


def test_server_without_instruments_is_not_watched(tmp_path: Path) -> None:
    flags = ("--demo-accounts=2", "--log-interval-s=1", "--instruments=0")
    with Server(tmp_path / "ledger", *flags) as server:
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "k-1", "acct-0", "acct-1", 1).status_code == 201
            told = client.get("/metrics").json()
        assert server.stop() == 0
    assert told["requests_total"] == 0
    assert {line["event"] for line in server.log} == {"started", "stopping", "stopped"}


def test_what_wakes_the_sampler_is_in_its_sample(tmp_path: Path) -> None:
    with (
        local_serving(),
        LocalServer(tmp_path / "l", PROTOCOLS["native"], demo_accounts=2) as server,
    ):
        sampler = server.app.ctx.monitor.sampler
        wait_until(lambda: not sampler.is_awake, "the server to rest")
        sampler.samples.clear()
        url = "http://{}:{}".format(*server.address)
        with httpx.Client(base_url=url) as client:
            assert post_transfer(client, "k-1", "acct-0", "acct-1", 1).status_code == 201
        wait_until(lambda: sampler.samples and not sampler.is_awake, "the server to rest again")
        assert sum(sample["transfers_ps"] for sample in sampler.samples) == 1
