"""The commands `ledgercore admin limits`, against a server."""

from pathlib import Path

from ledgercore.service.access.key_ring import Scope, create_key
from ledgercore.service.cli.limits import LIMITS
from ledgercore.service.runtime.limits import LIMITS as ROUTE_LIMITS
from tests.support.servers import Server, run_command

ASK = ("admin", "limits")


def test_each_limit_has_a_flag() -> None:
    assert [name.replace("-", "_") for name in LIMITS] == list(ROUTE_LIMITS)


def test_limits_are_shown_and_set(tmp_path: Path) -> None:
    token = create_key(tmp_path / "ledger" / "api-keys.json", "boss", Scope.ADMIN).token
    with Server(tmp_path / "ledger") as server:
        url = f"--url={server.url}"
        shown = run_command(*ASK, "show", url, LEDGERCORE_CLIENT_KEY=token)
        assert shown.returncode == 0, shown.stderr
        assert "target_p99_ms        0\n" in shown.stdout
        done = run_command(
            *ASK, "set", url, "--key-env=MY_KEY", "--target-p99-ms=25", "--client-rate=9",
            MY_KEY=token,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "target_p99_ms        25\n" in done.stdout
        assert "client_rate          9\n" in done.stdout
        wrong = run_command(*ASK, "set", url, "--inflight-min=0", LEDGERCORE_CLIENT_KEY=token)
        assert wrong.returncode == 1
        assert "inflight_min: It is between 1 and" in wrong.stderr
        nobody = run_command(*ASK, "show", url)
        assert nobody.returncode == 1 and "401: " in nobody.stderr
        assert run_command(*ASK, "set", url).returncode == 2
        assert token not in shown.stdout + done.stdout + wrong.stderr + server.stderr
    gone = run_command(*ASK, "show", url)
    assert gone.returncode == 1 and "cannot be asked" in gone.stderr
