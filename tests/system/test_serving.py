"""A server as a process: how it starts, stops, and what it does when the world does not hold."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.servers import (
    ROOT,
    Server,
    make_environment,
    open_accounts,
    post_transfer,
    run_command,
    try_get,
)
from tests.support.waiting import wait_until


def send_raw(url: str, key: str, source: str, target: str, amount: int) -> socket.socket:
    """Send a transfer and return the connection, from which nothing was read yet."""
    parsed = httpx.URL(url)
    body = f'{{"from":"{source}","to":"{target}","amount":{amount}}}'
    connection = socket.create_connection((parsed.host, parsed.port))
    connection.sendall(
        f"POST /transfer HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


# -- starting -------------------------------------------------------------------------------------


def test_what_is_told_when_ready(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=2") as server:
        url = server.url
        assert server.stdout == (
            "ledgercore: no API keys: everybody on this machine may do everything\n"
            f"ledgercore: serving {url} data={tmp_path / 'ledger'} durability=sync accounts=3\n"
        )
        assert server.complaints == []


def test_environment_reaches_the_server(tmp_path: Path) -> None:
    settings = {"LEDGERCORE_DEMO_ACCOUNTS": "1", "LEDGERCORE_DEMO_FUNDS": "5"}
    with Server(tmp_path / "ledger", environment=settings) as server:
        accounts = httpx.get(f"{server.url}/accounts").json()["accounts"]
        assert [(account["id"], account["balance"]) for account in accounts] == [
            ("world", -5),
            ("acct-0", 5),
        ]


def test_demo_is_made_once(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=2", "--demo-funds=100") as server:
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "k", "acct-0", "acct-1", 100).status_code == 201
        assert server.stop() == 0
    with Server(tmp_path / "ledger", "--demo-accounts=5", "--demo-funds=100") as server:
        accounts = httpx.get(f"{server.url}/accounts").json()["accounts"]
        assert [account["balance"] for account in accounts] == [-200, 0, 200]


def test_demo_leaves_other_ledgers_alone(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server:
        with httpx.Client(base_url=server.url) as client:
            open_accounts(client, ["mine"])
        assert server.stop() == 0
    with Server(tmp_path / "ledger", "--demo-accounts=2") as server:
        accounts = httpx.get(f"{server.url}/accounts").json()["accounts"]
        assert [account["id"] for account in accounts] == ["mine"]


def test_readiness_while_opening(tmp_path: Path) -> None:
    # A demo of this size takes longer than the grace, as the recovery of a large journal does.
    with Server(tmp_path / "ledger", "--demo-accounts=400000") as server:
        port = listening_port(server)
        url = f"http://127.0.0.1:{port}"
        response = wait_until(lambda: try_get(f"{url}/readyz"), "the port to answer")
        if response.status_code == 503:
            assert response.json()["type"] == "urn:ledgercore:problem:recovering"
            assert "retry-after" in response.headers
            assert httpx.get(f"{url}/healthz").status_code == 200
            assert httpx.get(f"{url}/accounts/acct-0").status_code in (503, 200)
        assert server.url == url
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert response.status_code == 503, "the ledger was ready too soon to see it opening"


def listening_port(server: Server) -> int:
    """Return the port of a server that has not told it yet, from the tables of the kernel."""

    def find() -> int | None:
        inodes = set()
        for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(link))
            except OSError:
                continue
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                return int(fields[1].split(":")[1], 16)
        return None

    return wait_until(find, "the server to listen") or 0


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        result = run_command("serve", f"--port={port}", f"--data={tmp_path / 'ledger'}")
    assert result.returncode == 1
    assert result.stderr == f"Error: port {port} of 127.0.0.1 is in use\n"
    assert not (tmp_path / "ledger").exists()


def check_refused(server: Server, *words: str, is_begun: bool = True) -> None:
    """Check that a server ends by itself with one line that says why.

    A server that has not begun has no log yet, and says it as every command does.
    """
    assert server.wait() == 1
    assert server.stdout == ""
    (line,) = server.complaints if is_begun else server.stderr.splitlines()
    assert is_begun or line.startswith("Error: ")
    for word in words:
        assert word in line


def test_two_servers_on_one_directory(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as first:
        url = first.url
        with Server(tmp_path / "ledger") as second:
            check_refused(second, str(tmp_path / "ledger"))
        assert httpx.get(f"{url}/readyz").status_code == 200


def test_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("not a directory")
    with Server(tmp_path / "ledger") as server:
        # The keys are looked for first, so that nothing is opened for a server that may not serve.
        said = f"{tmp_path / 'ledger'}: it is not a directory"
        check_refused(server, said, is_begun=False)


def test_read_only_directory(tmp_path: Path) -> None:
    # Root may write anywhere but here, so this is read-only for every user.
    with Server(tmp_path / "ledger", "--data=/proc/ledgercore") as server:
        check_refused(server, "/proc/ledgercore")


def test_damaged_journal(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    with Server(data, "--demo-accounts=100") as server:
        assert server.url
        assert server.stop() == 0
    # The largest file holds the journal; a flip within its first frames is sealed data that rots.
    journal = max(data.rglob("*"), key=lambda path: path.stat().st_size)
    damage = journal.read_bytes()
    place = len(damage.rstrip(b"\0")) // 2
    with journal.open("r+b") as file:
        file.seek(place)
        file.write(bytes([damage[place] ^ 0x40]))
    with Server(data) as server:
        check_refused(server, journal.name)


def test_full_disk_at_the_start(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", file_bytes_max=1024) as server:
        check_refused(server, str(tmp_path / "ledger"))


def test_journal_that_fails_while_serving(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    with Server(data, "--demo-accounts=100") as server:
        with httpx.Client(base_url=server.url) as client:
            assert post_transfer(client, "before", "acct-0", "acct-1", 1).status_code == 201
            # The journal is longer than this already, so that its next write fails.
            server.limit_files(1024)
            response = post_transfer(client, "during", "acct-0", "acct-1", 1)
            assert response.status_code == 500
            assert response.json()["type"] == "urn:ledgercore:problem:outcome-unknown"
            # Until the process has ended, nothing more is taken.
            check_nothing_is_taken(client)
        assert server.wait() == 1
        (line,) = (line for line in server.log if line["level"] != "info")
        assert (line["event"], line["level"]) == ("failed", "error")
    with Server(data) as server, httpx.Client(base_url=server.url) as client:
        replay = post_transfer(client, "before", "acct-0", "acct-1", 1)
        assert replay.headers["idempotent-replayed"] == "true"
        for _ in range(2):
            assert post_transfer(client, "during", "acct-0", "acct-1", 1).status_code == 201
        assert client.get("/accounts/acct-1").json()["balance"] == 100_000_002


def check_nothing_is_taken(client: httpx.Client) -> None:
    try:
        response = post_transfer(client, "after", "acct-0", "acct-1", 1)
    except httpx.TransportError:
        return
    assert response.status_code == 503
    assert response.json()["type"] == "urn:ledgercore:problem:journal-failed"


def test_sanics_own_command(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sanic = subprocess.Popen(
        [
            *(sys.executable, "-m", "sanic", "ledgercore.service.app:create_app", "--factory"),
            *("--single-process", "--no-motd", f"--port={port}"),
        ],
        cwd=ROOT,
        env=make_environment(
            LEDGERCORE_DATA=str(tmp_path / "ledger"), LEDGERCORE_DEMO_ACCOUNTS="1"
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/accounts/acct-0"
        wait_until(lambda: (got := try_get(url)) and got.status_code == 200, "sanic to serve")
        sanic.send_signal(signal.SIGTERM)
        assert sanic.wait(30) == 0
    finally:
        sanic.kill()
        sanic.wait()


# -- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_answers_what_is_under_way(tmp_path: Path, number: signal.Signals) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=2") as server:
        url = server.url
        with ThreadPoolExecutor(8) as threads:
            senders = [threads.submit(send_until_refused, url, worker) for worker in range(8)]
            wait_until(lambda: count_transfers(url) > 50, "transfers to be under way")
            server.signal(number)
            assert server.wait() == 0
            answered = {key for sender in senders for key in sender.result()}
        assert server.complaints == []
    with Server(tmp_path / "ledger") as server, httpx.Client(base_url=server.url) as client:
        for key in answered:
            assert client.get(f"/idempotency-keys/{key}").json()["state"] == "applied"


def count_transfers(url: str) -> int:
    """Return the last LSN; asked over a connection of its own."""
    lsn: int = httpx.get(f"{url}/audit?journal=false").json()["lsn"]
    return lsn


def send_until_refused(url: str, worker: int) -> list[str]:
    """Send transfers until the server takes no more; return the keys that were answered.

    What is sent is answered, applied or refused with a problem, or its connection is closed before
    it was read.
    """
    answered = []
    with httpx.Client(base_url=url) as client:
        for number in range(1_000_000):
            key = f"{worker}-{number}"
            try:
                response = post_transfer(client, key, "acct-0", "acct-1", 1)
            except httpx.TransportError:
                break
            if response.status_code == 503:
                assert response.json()["type"] == "urn:ledgercore:problem:shutting-down"
                assert response.headers["connection"] == "close"
                break
            assert response.status_code == 201, response.text
            answered.append(key)
    return answered


def test_a_stop_says_what_it_does_and_no_more(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert server.stop() == 0
        # Each line is one of the log: the interpreter, which is taken apart last, has said nothing.
        events = [line["event"] for line in server.log]
        assert (events[0], events[-1]) == ("started", "stopped")


def test_idle_connections_do_not_delay_the_stop(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/healthz").status_code == 200
        server.signal(signal.SIGTERM)
        # Well below the five seconds that a connection may take to finish.
        assert server.process.wait(3) == 0


def test_stop_while_opening(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=400000") as server:
        url = f"http://127.0.0.1:{listening_port(server)}"
        wait_until(lambda: try_get(f"{url}/healthz"), "the server to answer")
        # Sanic ignores signals for a moment after the port has opened. Many answers later, its loop
        # is past that.
        for _ in range(20):
            assert httpx.get(f"{url}/healthz").status_code == 200
        assert server.stop() == 0
    with Server(tmp_path / "ledger", "--demo-accounts=400000") as server:
        assert httpx.get(f"{server.url}/accounts/acct-399999").json()["balance"] == 100_000_000


# -- clients --------------------------------------------------------------------------------------


def test_client_that_hangs_up(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=2") as server:
        url = server.url
        keys = [f"k-{number}" for number in range(50)]
        for key in keys:
            send_raw(url, key, "acct-0", "acct-1", 1).close()
        with httpx.Client(base_url=url) as client:
            wait_until(all_applied(client, keys), "every transfer to be applied")
            balance = client.get("/accounts/acct-1").json()["balance"]
            assert balance == 100_000_000 + len(keys)
            replay = post_transfer(client, keys[0], "acct-0", "acct-1", 1)
            assert replay.headers["idempotent-replayed"] == "true"
        assert server.stop() == 0
        assert server.complaints == []


def all_applied(client: httpx.Client, keys: list[str]) -> Callable[[], bool]:
    def look() -> bool:
        states = (client.get(f"/idempotency-keys/{key}").json()["state"] for key in keys)
        return all(state == "applied" for state in states)

    return look


def test_many_at_once_are_refused_or_answered(tmp_path: Path) -> None:
    flags = ("--demo-accounts=2", "--queue-size=4", "--batch-max=4")
    with Server(tmp_path / "ledger", *flags) as server:
        url = server.url
        connections = [send_raw(url, f"k-{n}", "acct-0", "acct-1", 1) for n in range(200)]
        heads = [connection.recv(4096) for connection in connections]
        for connection in connections:
            connection.close()
        applied = sum(head.startswith(b"HTTP/1.1 201 ") for head in heads)
        full = sum(head.startswith(b"HTTP/1.1 503 ") and b":queue-full" in head for head in heads)
        assert applied + full == len(heads)
        balance = httpx.get(f"{url}/accounts/acct-1").json()["balance"]
        assert balance == 100_000_000 + applied


def test_slow_client_gets_its_answer(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--demo-accounts=2") as server:
        parsed = httpx.URL(server.url)
        body = b'{"from":"acct-0","to":"acct-1","amount":1}'
        head = b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: "
        with socket.create_connection((parsed.host, parsed.port)) as connection:
            for byte in head + str(len(body)).encode() + b"\r\n\r\n" + body:
                connection.sendall(bytes([byte]))
            assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")
