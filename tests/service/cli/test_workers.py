"""The commands `ledgercore admin workers`, against a server."""

from pathlib import Path

from ledgercore.service.access.key_ring import Scope, create_key
from tests.support.servers import Server, run_command

ASK = ("admin", "workers")


def read_rows(text: str) -> dict[str, str]:
    """Return the names and values that were printed."""
    pairs = (line.split("  ", 1) for line in text.splitlines())
    return {name: value.strip() for name, value in pairs}


def test_workers_are_shown_and_set(tmp_path: Path) -> None:
    token = create_key(tmp_path / "ledger" / "api-keys.json", "boss", Scope.ADMIN).token
    flags = ("--segments=2", "--workers-max=3")
    with Server(tmp_path / "ledger", *flags) as server:
        url = f"--url={server.url}"
        shown = run_command(*ASK, "show", url, LEDGERCORE_CLIENT_KEY=token)
        assert shown.returncode == 0, shown.stderr
        rows = read_rows(shown.stdout)
        assert (rows["workers_min"], rows["workers_max"]) == ("1", "3")
        assert rows["segment 1"].startswith("queue_depth=0  active_workers=1  busy_seconds")
        done = run_command(
            *ASK, "set", url, "--key-env=MY_KEY", "--workers-min=2", "--workers-max=2",
            MY_KEY=token,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = read_rows(done.stdout)
        assert (rows["workers_min"], rows["workers_max"]) == ("2", "2")
        wrong = run_command(*ASK, "set", url, "--workers-max=4", LEDGERCORE_CLIENT_KEY=token)
        assert wrong.returncode == 1
        assert "2 to 4 is not within 1 to 3" in wrong.stderr
        nobody = run_command(*ASK, "show", url)
        assert nobody.returncode == 1 and "401: " in nobody.stderr
        assert run_command(*ASK, "set", url).returncode == 2
        assert token not in shown.stdout + done.stdout + wrong.stderr + server.stderr
        assert "workers: 1 to 3 -> 2 to 2 a segment (by boss)" in server.stderr
    gone = run_command(*ASK, "show", url)
    assert gone.returncode == 1 and "cannot be asked" in gone.stderr
