"""A server's signals and end: drained, hurried, reloaded, and with a log that nobody reads."""

import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.http.test_certificates import make_certificate
from tests.service.process.test_standard_streams import fill
from tests.support.keyed import make_key
from tests.support.servers import SERVE, Server, check_problem, post_transfer, try_get
from tests.support.standing import find_url, read_until, serve_raw
from tests.support.waiting import DEADLINE_S, wait_until

DEMO = "--demo-accounts=2"


# -- draining --------------------------------------------------------------------------------------


def list_ends(server: Server) -> list[str]:
    """Return the events of the log that are about the end."""
    ends = ("draining", "stopping", "stopped")
    return [line["event"] for line in server.log if line["event"] in ends]


def test_balancers_see_the_stop_coming_while_requests_are_taken(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", DEMO, "--drain-s=3600") as server:
        url = server.url
        with httpx.Client(base_url=url) as client:
            assert post_transfer(client, "before", "acct-0", "acct-1", 1).status_code == 201
            server.signal(signal.SIGTERM)

            def ask_until_unready() -> httpx.Response | None:
                got = client.get("/readyz")
                return got if got.status_code == 503 else None

            response = wait_until(ask_until_unready, "to be unready")
            check_problem(response, 503, "shutting-down")
            assert client.get("/healthz").status_code == 200
            # On connections that are there, and on new ones.
            assert post_transfer(client, "during", "acct-0", "acct-1", 1).status_code == 201
            with httpx.Client(base_url=url) as other:
                assert post_transfer(other, "too", "acct-0", "acct-1", 1).status_code == 201
        # A second signal ends the wait.
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert list_ends(server) == ["draining", "stopping", "stopped"]


def test_the_wait_has_an_end_of_its_own(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", DEMO, "--drain-s=1") as server:
        assert server.url
        assert server.stop() == 0
        assert list_ends(server) == ["draining", "stopping", "stopped"]
    with Server(tmp_path / "ledger") as server:
        assert server.url
        assert server.stop() == 0
        assert list_ends(server) == ["stopping", "stopped"]


def test_many_signals_are_one_stop(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", DEMO) as server:
        url = server.url
        with httpx.Client(base_url=url) as client:
            assert post_transfer(client, "k", "acct-0", "acct-1", 1).status_code == 201
        while server.process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                server.signal(number)
        assert server.wait() == 0 and server.complaints == []
    with Server(tmp_path / "ledger") as server:
        assert httpx.get(f"{server.url}/idempotency-keys/k").json()["state"] == "applied"


# -- SIGHUP ----------------------------------------------------------------------------------------


def read_name(url: str, certificates: list[Path]) -> str:
    """Return the name in the certificate that a server shows now."""
    context = ssl.create_default_context()
    for path in certificates:
        context.load_verify_locations(path)
    with httpx.Client(verify=context) as client:
        response = client.get(f"{url}/healthz")
        assert response.status_code == 200
        stream = response.extensions["network_stream"]
        subject = stream.get_extra_info("ssl_object").getpeercert()["subject"]
    return str(dict(pair for part in subject for pair in part)["commonName"])


def test_certificates_and_keys_are_read_again(tmp_path: Path) -> None:
    first, second = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "two")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(first[0].read_bytes())
    key.write_bytes(first[1].read_bytes())
    roots = [first[0], second[0]]
    with Server(tmp_path / "ledger", f"--tls-cert={cert}", f"--tls-key={key}", DEMO) as server:
        url = server.url
        assert read_name(url, roots) == "one"
        # Half of what belongs together changes nothing, and is told.
        cert.write_bytes(second[0].read_bytes())
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.complaints, "the fault to be told")
        assert "--tls-cert" in server.complaints[0]
        assert read_name(url, roots) == "one"
        key.write_bytes(second[1].read_bytes())
        server.signal(signal.SIGHUP)
        wait_until(lambda: read_name(url, roots) == "two", "the new certificate")
        events = [line["event"] for line in server.log]
        assert events.count("reloaded") == events.count("reload-failed") == 1
        assert server.stop() == 0


def test_keys_hold_as_soon_as_they_are_read_again(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    make_key(data, "alice")
    with Server(data, DEMO) as server:
        url = server.url
        assert httpx.get(f"{url}/accounts").status_code == 401
        token = make_key(data, "bob").token
        server.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in [line["event"] for line in server.log], "it to be read")
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/accounts", headers=headers).status_code == 200
        assert server.stop() == 0


# -- a log that nobody reads -----------------------------------------------------------------------

WAITING_BYTES = 20_000
"""As much as a hundred lines or so: what may wait otherwise takes a test long to say."""


def send_many(client: httpx.Client, count: int, name: str) -> None:
    """Move money so many times."""
    for number in range(count):
        assert post_transfer(client, f"{name}-{number}", "acct-0", "acct-1", 1).status_code == 201


def make_noise(client: httpx.Client, lines: int) -> None:
    """Let the server write so many lines of its log."""
    for number in range(lines):
        changes = {"client_rate": 1_000_000 + number}
        assert client.patch("/admin/limits", json=changes).status_code == 200


@pytest.mark.parametrize("is_blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_pipe_that_nobody_reads_stops_nothing(tmp_path: Path, is_blocking: bool) -> None:
    log_reading, log_writing = os.pipe()
    reading, writing = os.pipe()
    filled = fill(log_writing)
    os.set_blocking(log_writing, is_blocking)
    program = (
        "from ledgercore.service.process import standard_streams\n"
        f"standard_streams.BYTES_MAX = {WAITING_BYTES}\n"
        "from ledgercore.service.cli.start import main; main()\n"
    )
    with serve_raw(
        tmp_path / "ledger",
        DEMO,
        stdout=writing,
        stderr=log_writing,
        command=(sys.executable, "-c", program, *SERVE[3:]),
    ) as process:
        url = find_url(read_until(reading, b"serving"))
        with httpx.Client(base_url=url, timeout=5) as client:
            make_noise(client, 200)
            send_many(client, 20, "full")
            dropped = client.get("/metrics").json()["log_lines_dropped_total"]
            assert dropped > 50
            text = client.get("/metrics/prometheus").text
            assert f"ledgercore_log_lines_dropped_total {float(dropped)}" in text
            # Somebody reads again: what waited comes, and then how much did not.
            while filled > 0:
                filled -= len(os.read(log_reading, min(filled, 1 << 16)))
            told = b""
            while b"log-dropped" not in told:
                told = told[-9999:] + read_until(log_reading, b"\n")
                make_noise(client, 1)
            assert f"{dropped} lines of the log were dropped".encode() in told
            fill(log_writing)
            os.set_blocking(log_writing, is_blocking)
            make_noise(client, 100)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    for end in (log_reading, log_writing, reading, writing):
        os.close(end)
    check_sealed(tmp_path / "ledger")


def check_sealed(data: Path) -> None:
    """Check that the next start finds a ledger that was closed, with all that was answered."""
    with Server(data) as server:
        assert httpx.get(f"{server.url}/idempotency-keys/full-19").json()["state"] == "applied"
        assert httpx.get(f"{server.url}/audit").json()["ok"]
        assert server.stop() == 0


@pytest.mark.parametrize("end", ["full-disk", "no-reader", "full-pipe"])
def test_what_becomes_of_stdout_does_not_stop_the_stop(tmp_path: Path, end: str) -> None:
    """Sealed and ended with 0, wherever the two standard descriptors lead."""
    reading, writing = os.pipe()
    if end == "full-pipe":
        fill(writing)
    elif end == "no-reader":
        os.close(reading)
    file = os.open("/dev/full", os.O_WRONLY) if end == "full-disk" else writing
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = (DEMO, f"--port={port}")
    with serve_raw(tmp_path / "ledger", *flags, stdout=file, stderr=file) as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
            url = f"http://127.0.0.1:{port}/readyz"
            wait_until(lambda: (got := try_get(url)) and got.is_success, "the server to be ready")
            send_many(client, 20, "full")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    check_sealed(tmp_path / "ledger")
