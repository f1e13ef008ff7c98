"""A disk that forgets, seen from outside: what is said of rot below a snapshot, and done."""

import signal
from pathlib import Path
from typing import Any

import httpx

import ledgercore
from tests.support.histories import journal_files
from tests.support.making import make_long
from tests.support.servers import Server, check_problem, post_transfer, run_command
from tests.support.waiting import wait_until


def read_scrub(client: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/metrics").json()["scrub"]
    return told


def test_rot_below_a_snapshot_is_told_by_all_who_are_asked(tmp_path: Path) -> None:
    home = tmp_path / "ledger"
    make_long(home)
    ledgercore.compact(home)
    path = journal_files(home)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: 1 << 20] + b"\x5a" * 4096 + whole[(1 << 20) + 4096 :])
    with (
        Server(home, "--scrub-interval-s=1") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        wait_until(lambda: bool(read_scrub(client)["damaged"]), "the damage to be found")
        (fault,) = read_scrub(client)["damaged"]
        assert fault.startswith(f"{path}: offset ")
        for query in ("", "?journal=false"):
            audit = client.get(f"/audit{query}").json()
            assert audit["ok"] is False and f"journal: {fault}" in audit["violations"]
        scraped = client.get("/metrics/prometheus").text
        assert "\nledgercore_damaged_files 1.0\n" in scraped
        assert [line["file"] for line in server.log if line["event"] == "damaged"] == [str(path)]
        # Whoever asks for the past in it is told what it is, and the log has the file.
        lsn = int(fault.partition("LSN ")[2].partition(":")[0])
        answer = client.get(f"/transfers/{lsn}")
        check_problem(answer, 500, "data-damaged")
        assert str(path) not in answer.text
        # The log has a thread of its own, and may come after the answer.
        wait_until(lambda: is_told_of(server, path), "the log to name the file")
        assert client.get(f"/transfers/{lsn - 1}").status_code == 200
        # Its promise for new work is intact, so it keeps it.
        assert client.get("/readyz").status_code == 200
        assert post_transfer(client, "on", "world", "alice", 1).status_code == 201
        path.write_bytes(whole)
        wait_until(lambda: not read_scrub(client)["damaged"], "the restored file to be read")
        audit = client.get("/audit").json()
        assert audit["ok"] and audit["journal_checked"] and audit["journal_from_lsn"] > 1
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert run_command("admin", "verify", str(home)).returncode == 0


def is_told_of(server: Server, path: Path) -> bool:
    """Whether the log says that a request has met a file that cannot be read."""
    return any(str(path) in line["message"] for line in server.log if line["event"] == "unread")


def test_verify_and_repair_say_the_same_of_it(tmp_path: Path) -> None:
    home = tmp_path / "ledger"
    last = make_long(home)
    ledgercore.compact(home)
    path = journal_files(home)[1]
    data = path.read_bytes()
    path.write_bytes(data[: 1 << 20] + b"\x5a" * 4096 + data[(1 << 20) + 4096 :])
    verified = run_command("admin", "verify", str(home))
    assert verified.returncode == 1 and f"{path}: offset " in verified.stderr
    place = verified.stderr.partition(f"{path}: ")[2].partition(":")[0]
    repaired = run_command("admin", "repair", "--yes", str(home))
    assert repaired.returncode == 1 and f"{path}: {place}" in repaired.stderr
    assert "Nothing is cut" in repaired.stderr and f"to {last}" in repaired.stderr
    cut = run_command("admin", "repair", "--yes", "--cut-below-snapshot", str(home))
    assert cut.returncode == 0 and cut.stdout.startswith("truncated\n")
    assert run_command("admin", "verify", str(home)).returncode == 0
    again = run_command("admin", "repair", "--yes", str(home))
    assert (again.returncode, again.stdout) == (0, "nothing to repair\n")
