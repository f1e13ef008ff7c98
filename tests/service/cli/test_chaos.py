"""The commands `ledgercore admin chaos`, against servers that allow it and that do not."""

import json
from pathlib import Path

import httpx

from tests.support.servers import Server, post_transfer, run_command

ASK = ("admin", "chaos")


def test_chaos_is_shown_set_and_ended(tmp_path: Path) -> None:
    plan, wrong = tmp_path / "plan.json", tmp_path / "wrong.json"
    plan.write_text(json.dumps({"seed": 7, "latency": {"probability": 1, "ms": [1, 2]}}))
    wrong.write_text('{"latency": {"probability": 2, "ms": [1, 2]}}')
    with Server(tmp_path / "ledger", "--allow-chaos", "--demo-accounts=2") as server:
        url = f"--url={server.url}"
        shown = run_command(*ASK, "show", url)
        assert (shown.returncode, shown.stdout) == (0, "chaos  off\n"), shown.stderr
        done = run_command(*ASK, "set", url, str(plan))
        assert done.returncode == 0, done.stderr
        assert done.stdout == "seed     7\nlatency  probability=1.0  ms=[1, 2]  struck=0\n"
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "k-1", "acct-0", "acct-1", 1).status_code == 201
        assert "struck=1" in run_command(*ASK, "show", url).stdout
        refused = run_command(*ASK, "set", url, str(wrong))
        assert refused.returncode == 1
        assert f"{wrong}: " in refused.stderr and "$.latency.probability" in refused.stderr
        nothing = run_command(*ASK, "set", url, str(tmp_path / "none"))
        assert nothing.returncode == 1 and "No such file" in nothing.stderr
        assert "struck=1" in run_command(*ASK, "show", url).stdout  # The plan was not touched.
        ended = run_command(*ASK, "set", "off", url)
        assert (ended.returncode, ended.stdout) == (0, "chaos  off\n")
        assert run_command(*ASK, "set", url).returncode == 2


def test_the_server_says_what_it_does_not_allow(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"stall_segment": {"probability": 1, "ms": [1, 2], "segment": 9}}')
    with Server(tmp_path / "allowing", "--allow-chaos") as server:
        beyond = run_command(*ASK, "set", f"--url={server.url}", str(plan))
        assert beyond.returncode == 1 and "segment 9 is not 0 to 0" in beyond.stderr
    with Server(tmp_path / "refusing") as server:
        refused = run_command(*ASK, "set", f"--url={server.url}", "off")
        assert refused.returncode == 1 and "--allow-chaos" in refused.stderr
