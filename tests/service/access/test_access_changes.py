"""Keys that are made and revoked while a server runs, and what it says when it starts."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ledgercore.service.access.key_file import FILE_NAME
from ledgercore.service.access.key_ring import NewKey, Scope, revoke_key
from tests.support.feeding import FedTransport, feed
from tests.support.keyed import END, bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.servers import Server, run_command
from tests.support.waiting import wait_until

DEMO = ("--demo-accounts=3", "--durability=memory")


@pytest.fixture(params=["native", "ordinary"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalServer]:
    """Serve in one way without a key, yet."""
    with (
        local_serving(),
        # Its keys are in its directory, which is that of the test.
        LocalServer(tmp_path, PROTOCOLS[request.param], demo_accounts=3) as server,
    ):
        yield server


def status_of(connection: RawConnection, data: bytes) -> int:
    connection.send(data)
    (answer,) = connection.read_answers(1)
    return answer.status


def test_a_revoked_key_stops_and_a_new_one_begins(server: LocalServer, tmp_path: Path) -> None:
    """On connections that are open, and have used it."""
    assert server.lifecycle.admission.is_open
    with server.connect() as connection:
        # Nobody is asked, and what somebody brings is not looked at.
        assert status_of(connection, spell_transfer("open-1")) == 201
        assert status_of(connection, spell_transfer("open-2", bearer("nonsense"))) == 201
        key = make_key(tmp_path, "alice")
        # The first key closes the open mode.
        wait_until(lambda: status_of(connection, spell_transfer("open-1")) == 401, "keys")
        assert status_of(connection, spell("GET", "/accounts/acct-0")) == 401
        own = bearer(key.token)
        assert status_of(connection, spell_transfer("own-1", own)) == 201
        other = make_key(tmp_path, "alice")
        wait_until(
            lambda: status_of(connection, spell_transfer("own-2", bearer(other.token))) == 201,
            "the second key",
        )
        assert status_of(connection, spell_transfer("own-1", own)) == 201
        revoke_key(tmp_path / FILE_NAME, key.credential.id)
        wait_until(lambda: status_of(connection, spell_transfer("own-1", own)) == 401, "revoked")
        # The other one goes on, and is the same client.
        connection.send(spell_transfer("own-1", bearer(other.token)))
        (answer,) = connection.read_answers(1)
        assert answer.status == 201 and answer.headers["idempotent-replayed"] == "true"
        revoke_key(tmp_path / FILE_NAME, "alice")
        last = spell_transfer("own-1", bearer(other.token))
        wait_until(lambda: status_of(connection, last) == 401, "the last key")
        assert status_of(connection, spell_transfer("own-3", bearer(other.token))) == 401
        # No key is left, and that is not the open mode.
        assert status_of(connection, spell_transfer("open-3")) == 401
    engine = server.lifecycle.engine
    assert engine.find_key("open-1", "").state == "applied"
    assert [engine.find_key(k, "alice").state for k in ("open-1", "own-3")] == ["unseen"] * 2


def test_a_file_that_goes_or_breaks_opens_nothing(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    key = make_key(tmp_path, "alice")
    sound = path.read_bytes()
    with server.connect() as connection:
        wait_until(lambda: status_of(connection, spell_transfer("a")) == 401, "keys")
        assert status_of(connection, spell_transfer("b", bearer(key.token))) == 201
        path.write_bytes(b"{")
        generation = server.lifecycle.admission.generation
        # The last good keys stay, which takes a look to be seen.
        for _ in range(3):
            assert status_of(connection, spell_transfer("b", bearer(key.token))) == 201
            assert status_of(connection, spell_transfer("b")) == 401
        path.unlink()
        wait_until(lambda: status_of(connection, spell_transfer("b", bearer(key.token))) == 401, "")
        assert status_of(connection, spell_transfer("b")) == 401
        path.write_bytes(sound)
        path.chmod(0o600)
        wait_until(lambda: status_of(connection, spell_transfer("b", bearer(key.token))) == 201, "")
        assert server.lifecycle.admission.generation > generation


def test_a_new_limit_of_a_key_counts_at_once(server: LocalServer, tmp_path: Path) -> None:
    free = make_key(tmp_path, "alice")
    with server.connect() as connection:
        wait_until(lambda: status_of(connection, spell_transfer("a")) == 401, "keys")
        for n in range(5):
            assert status_of(connection, spell_transfer(f"a-{n}", bearer(free.token))) == 201
        slow = make_key(tmp_path, "alice", rate=0.001, burst=1)
        wait_until(
            lambda: status_of(connection, spell_transfer("a-0", bearer(slow.token))) == 429,
            "limits",
        )
        # It is the client that has the limit, whichever of its keys it brings.
        assert status_of(connection, spell_transfer("a-0", bearer(free.token))) == 429
        revoke_key(tmp_path / FILE_NAME, slow.credential.id)
        wait_until(
            lambda: status_of(connection, spell_transfer("a-0", bearer(free.token))) == 201, "none"
        )


def test_the_open_mode_is_for_this_machine(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever command has opened the port, such as Sanic's own with --host."""
    assert b" 201 " in server.run(feed(server, [spell_transfer("near") + END])).written
    names = dict.fromkeys(("peername", "sockname"), ("203.0.113.9", 4711))
    monkeypatch.setattr(FedTransport, "get_extra_info", lambda self, *name: names.get(name[0]))
    for data in (spell_transfer("far"), spell("GET", "/accounts/acct-0")):
        answers = server.run(feed(server, [data + END])).written
        assert answers.split(b" ", 2)[1] in (b"401", b"403"), answers
    assert server.lifecycle.engine.find_key("far", "").state == "unseen"
    # With a key it is served, wherever it is.
    key = make_key(tmp_path, "alice")
    wait_until(lambda: not try_identify(server), "keys")
    data = spell_transfer("far", bearer(key.token)) + END
    assert server.run(feed(server, [data])).written.startswith(b"HTTP/1.1 201 ")


def try_identify(server: LocalServer) -> bool:
    with server.connect() as connection:
        return status_of(connection, spell_transfer("near")) == 201


# -- starts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_nobody_else_is_served_without_keys(tmp_path: Path, host: str) -> None:
    done = run_command("serve", f"--host={host}", "--port=0", f"--data={tmp_path / 'ledger'}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: --host: {host} ") and "API keys" in line
    assert done.stdout == "" and not (tmp_path / "ledger").exists()


def test_others_are_served_with_keys(tmp_path: Path) -> None:
    key = make_key(tmp_path / "ledger", "alice", Scope.ADMIN)
    with Server(tmp_path / "ledger", "--host=0.0.0.0", *DEMO) as server:
        port = server.url.rsplit(":", 1)[1]
        url = f"http://127.0.0.1:{port}/accounts/acct-0"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"x-api-key": key.token}).status_code == 200
        assert "no API keys" not in server.stdout
        assert server.stop() == 0


def test_the_open_mode_is_named(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", *DEMO) as server:
        assert httpx.get(f"{server.url}/accounts/acct-0").status_code == 200
        assert "no API keys" in server.stdout
        assert server.stop() == 0


@pytest.mark.parametrize("fault", ["damaged", "readable", "other-version"])
def test_a_bad_file_of_keys_stops_the_start(tmp_path: Path, fault: str) -> None:
    data = tmp_path / "ledger"
    key = make_key(data, "alice")
    path = data / FILE_NAME
    if fault == "damaged":
        path.write_bytes(path.read_bytes()[:-5])
    elif fault == "readable":
        path.chmod(0o644)
    else:
        path.write_text(re.sub(r'"version": *2', '"version": 3', path.read_text()))
        assert '"version": 3' in path.read_text()
    done = run_command("serve", "--port=0", f"--data={data}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ") and str(path) in line
    assert key.token not in line and done.stdout == ""


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for this machine that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, private = certificate
    key = make_key(tmp_path / "ledger", "alice")
    flags = (f"--tls-cert={cert}", f"--tls-key={private}", *DEMO)
    with Server(tmp_path / "ledger", *flags) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        headers = {"authorization": f"Bearer {key.token}"}
        with httpx.Client(base_url=server.url, verify=context, headers=headers) as client:
            for n in range(50):
                body = {"from": "acct-0", "to": "acct-1", "amount": 1}
                answer = client.post("/transfer", json=body, headers={"idempotency-key": f"k-{n}"})
                assert answer.status_code == 201
            assert client.get("/accounts/acct-1").json()["balance"] == 100_000_050
            assert client.get("/metrics").json()["lsn_applied"] >= 50
            # A page of this server is one that came over TLS, and no other.
            for scheme, status in (("https", 201), ("http", 403)):
                page = {"idempotency-key": scheme, "origin": server.url.replace("https", scheme)}
                assert client.post("/transfer", json=body, headers=page).status_code == status
        with httpx.Client(base_url=server.url, verify=context) as client:
            assert client.get("/accounts/acct-1").status_code == 401
        # Who speaks no TLS is told nothing, and the server goes on.
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https", "http") + "/healthz")
        assert httpx.get(f"{server.url}/healthz", verify=context).status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize("fault", ["absent", "not-pem", "of-another-key"])
def test_a_bad_certificate_stops_the_start(
    tmp_path: Path, certificate: tuple[Path, Path], fault: str
) -> None:
    cert, private = certificate
    if fault == "absent":
        cert = tmp_path / "absent"
    elif fault == "not-pem":
        cert = tmp_path / "cert"
        cert.write_text("nonsense")
    else:
        private = tmp_path / "key"
        making = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]
        subprocess.run([*making, private], check=True, capture_output=True)
    flags = (f"--tls-cert={cert}", f"--tls-key={private}")
    done = run_command("serve", "--port=0", f"--data={tmp_path / 'ledger'}", *flags)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: --tls-cert: ")


# -- secrets ---------------------------------------------------------------------------------------


def test_no_secret_is_told_or_logged(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    keys: list[NewKey] = [
        make_key(data, "alice", Scope.ADMIN),
        make_key(data, "slow", rate=0.001, burst=1),
        make_key(data, "signed", is_signed=True),
    ]
    with Server(data, *DEMO) as server:
        host, port = server.url.removeprefix("http://").split(":")
        told = b""
        for line in [bearer(key.token) for key in keys] + [f"X-API-Key: {keys[0].token}"]:
            for data_sent in (
                spell_transfer("k", line),
                spell_transfer("k", line, "X-Other: a"),
                spell_transfer("k", line, line),
                spell_transfer("k", line + "x"),
                spell_bulk("b-1", "b-2", lines=(line,)),
                spell("GET", "/accounts", line),
                spell("GET", f"/accounts/{keys[0].token}", line),
                spell("POST", "/accounts", line, body=b"{"),
                spell_transfer("k", line, "X-Signature: t=1,n=a,v1=" + "0" * 64),
                spell_transfer("k", line).replace(b"HTTP/1.1", b"HTTP/1.1\x00"),
            ):
                with RawConnection((host, int(port))) as connection:
                    connection.send(data_sent)
                    answer = connection.read_answer()
                    told += b"" if answer is None else answer.body + str(answer.headers).encode()
        (data / FILE_NAME).write_bytes(b"{")
        with RawConnection((host, int(port))) as connection:
            wait_until(
                lambda: status_of(connection, spell("GET", "/accounts")) and server.complaints,
                "the warning",
            )
        assert server.stop() == 0
        everything = server.stdout + server.stderr + told.decode("latin-1")
    for key in keys:
        # The path of an account is the client's own text, and is the one thing that comes back.
        assert key.token not in everything
        assert key.token.split("_", 2)[2] not in everything
        assert key.credential.digest.hex() not in everything
        assert key.secret is None or key.secret not in everything
