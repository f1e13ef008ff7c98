"""Signed requests over HTTP: what passes once, and never again, not even after a kill."""

import socket
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ledgercore.client import LedgerClient, TransferIntent
from ledgercore.client.signing import sign
from ledgercore.service.access.key_ring import NewKey, Scope
from ledgercore.service.wire.arrow import MEDIA_TYPE
from tests.support.clients import KINDS, make_client
from tests.support.keyed import TRANSFER, bearer, make_key, spell
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.servers import Server
from tests.support.tables import make_table, write_table

count_nonce = count(1)
FLAGS = ("--demo-accounts=3",)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalServer, NewKey]]:
    """Serve the native way with a key that signs."""
    data = tmp_path_factory.mktemp("signed") / "ledger"
    key = make_key(data, "sig", Scope.ADMIN, is_signed=True)
    with (
        local_serving(),
        LocalServer(data, PROTOCOLS["native"], demo_accounts=3, durability="memory") as server,
    ):
        yield server, key


def spell_signed(
    key: NewKey,
    method: str,
    target: str,
    *lines: str,
    body: bytes = b"",
    signed_body: bytes | None = None,
    lead_s: int = 0,
    nonce: str = "",
) -> bytes:
    """Return a request that is signed, as any client would."""
    assert key.secret is not None
    header = sign(
        key.secret,
        method,
        target,
        body if signed_body is None else signed_body,
        timestamp=int(time.time()) + lead_s,
        nonce=nonce or f"n-{next(count_nonce)}",
    )
    return spell(method, target, bearer(key.token), f"X-Signature: {header}", *lines, body=body)


def spell_signed_transfer(key: NewKey, name: str, **options: Any) -> bytes:
    options = {"body": TRANSFER} | options
    return spell_signed(key, "POST", "/transfer", f"Idempotency-Key: {name}", **options)


ROUTES: dict[str, tuple[str, str, bytes, tuple[str, ...]]] = {
    "get": ("GET", "/accounts?limit=2", b"", ()),
    "path": ("GET", "/accounts/acct-0", b"", ()),
    "transfer": ("POST", "/transfer", TRANSFER, ("Idempotency-Key: r-1",)),
    "open": ("POST", "/accounts", b'{"id":"new","asset":"USD/2"}', ()),
    "change": ("PATCH", "/accounts/acct-0", b'{"frozen":false}', ()),
    "bulk": (
        "POST",
        "/transfers",
        b'[{"idempotency_key":"r-2","from":"acct-0","to":"acct-1","amount":1}]',
        (),
    ),
    "arrow": (
        "POST",
        "/transfers",
        write_table(make_table([("r-3", "acct-0", "acct-1", 1)])),
        (f"Content-Type: {MEDIA_TYPE}",),
    ),
}


@pytest.mark.parametrize("name", ROUTES)
def test_every_sort_of_request_is_signed(signed: tuple[LocalServer, NewKey], name: str) -> None:
    server, key = signed
    method, target, body, lines = ROUTES[name]
    unsigned = spell(method, target, bearer(key.token), *lines, body=body)
    answer = server.ask(unsigned)
    assert (answer.status, answer.problem) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].lower().startswith("signature ")
    data = spell_signed(key, method, target, *lines, body=body)
    assert server.ask(data).status in (200, 201)
    # A replay of the captured bytes, and a good signature of nearly the same request.
    before = server.lifecycle.engine.statistics()
    assert server.ask(data).status == 401
    fresh = spell_signed(key, method, target, *lines, body=body)
    more = b"&" if "?" in target else b"?"
    start = f"{method} {target} HTTP/1.1".encode()
    changed = fresh.replace(start, start.replace(b" HTTP", more + b"x=y HTTP"), 1)
    assert changed != fresh and server.ask(changed).status == 401
    if body:
        other = spell_signed(key, method, target, *lines, body=body, signed_body=body[:-1] + b" ")
        assert server.ask(other).status == 401
    assert server.lifecycle.engine.statistics().lsn_applied == before.lsn_applied
    # What was altered on the way has not used up the nonce of the right one.
    assert server.ask(fresh).status in (200, 201)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"lead_s": 290}, 201),
        ({"lead_s": -290}, 201),
        ({"lead_s": 310}, 401),
        ({"lead_s": -310}, 401),
        ({"signed_body": b"{}"}, 401),
    ],
)
def test_the_window(
    signed: tuple[LocalServer, NewKey], options: dict[str, Any], status: int
) -> None:
    server, key = signed
    name = f"w-{next(count_nonce)}"
    assert server.ask(spell_signed_transfer(key, name, **options)).status == status
    state = server.lifecycle.engine.find_key(name, "sig").state
    assert state == ("applied" if status == 201 else "unseen")


def test_two_signatures_are_none(signed: tuple[LocalServer, NewKey]) -> None:
    server, key = signed
    data = spell_signed_transfer(key, "two")
    (line,) = [line for line in data.split(b"\r\n") if line.startswith(b"X-Signature")]
    assert server.ask(data.replace(line, line + b"\r\n" + line)).status == 401
    # It was refused before the nonce was looked at, which is still good.
    assert server.ask(data).status == 201


def test_a_wrong_signature_burns_no_nonce(signed: tuple[LocalServer, NewKey]) -> None:
    server, key = signed
    wrong = spell_signed_transfer(key, "burn", nonce="burn", signed_body=b"{}")
    assert server.ask(wrong).status == 401
    assert server.ask(spell_signed_transfer(key, "burn", nonce="burn")).status == 201


def test_many_at_once_pass_once(signed: tuple[LocalServer, NewKey]) -> None:
    """The same bytes on many connections at the same moment."""
    server, key = signed
    data = spell_signed_transfer(key, "race")
    connections = [server.connect() for _ in range(16)]
    for connection in connections:
        connection.send(data[:-1])
    for connection in connections:
        connection.send(data[-1:])
    answers = [connection.read_answers(1)[0].status for connection in connections]
    for connection in connections:
        connection.close()
    assert sorted(answers) == [201] + [401] * 15


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_signs(signed: tuple[LocalServer, NewKey], kind: str) -> None:
    server, key = signed
    url = "http://{}:{}".format(*server.address)
    with make_client(kind, url, key.token, key.secret) as client:
        assert client.transfer("acct-0", "acct-1", 5, key=f"c-{kind}").is_applied
        assert client.transfer("acct-0", "acct-1", 5, key=f"c-{kind}").replayed
        intents = [TransferIntent("acct-0", "acct-1", 1, None, f"cb-{kind}-{n}") for n in range(3)]
        assert all(result.is_applied for result in client.transfers(intents))
        assert client.find_key(f"c-{kind}").state == "applied"
        assert len(list(client.accounts())) >= 4


# -- over a kill -----------------------------------------------------------------------------------


class Tap:
    """A way to a server that keeps the bytes which go to it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.captured = b""
        self._address = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        with near, socket.create_connection(self._address) as far:
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            while data := near.recv(65536):
                self.captured += data
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
            back.join(10)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            target.sendall(data)

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


def address_of(server: Server) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def replay(server: Server, data: bytes) -> int:
    with RawConnection(address_of(server)) as connection:
        connection.send(data)
        (answer,) = connection.read_answers(1)
    return answer.status


def test_a_captured_request_is_refused_for_good(tmp_path: Path) -> None:
    """What the client library has sent, taken off the wire, sent again before and after a kill."""
    data = tmp_path / "ledger"
    key = make_key(data, "sig", is_signed=True)
    with Server(data, *FLAGS) as server:
        tap = Tap(address_of(server))
        with LedgerClient(tap.url, key.token, key.secret) as client:
            assert client.transfer("acct-0", "acct-1", 5, key="first").is_applied
        tap.close()
        assert tap.captured.startswith(b"POST /transfer HTTP/1.1\r\n")
        assert replay(server, tap.captured) == 401
        fresh = spell_signed_transfer(key, "second")
        server.kill()
    with Server(data, *FLAGS) as server:
        assert replay(server, tap.captured) == 401
        # One that was signed before the kill, and never arrived, is as good as before.
        assert replay(server, fresh) == 201
        assert replay(server, fresh) == 401
        assert server.stop() == 0
        assert key.secret is not None
        assert key.secret not in server.stdout + server.stderr
        assert key.token not in server.stdout + server.stderr
    with Server(data, *FLAGS) as server:
        assert replay(server, tap.captured) == replay(server, fresh) == 401


UNSIGNED = {
    "get": spell("GET", "/accounts?limit=2"),
    "transfer": spell("POST", "/transfer", "Idempotency-Key: u-1", body=b"{"),
    "bulk": spell("POST", "/transfers", body=b"["),
    "type": spell("POST", "/transfers", "Content-Type: text/plain", body=b"[]"),
    "key": spell("POST", "/transfers", "Idempotency-Key: u-2", body=b"[]"),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_is_not_signed_is_charged_to_nobody(
    signed: tuple[LocalServer, NewKey], name: str
) -> None:
    """A token that somebody else has found may not use up what its client may send."""
    server, key = signed
    limiter = server.lifecycle.admission.limiter
    limiter.configure(client_rate=0.001, client_burst=1)
    try:
        line = f"\r\n{bearer(key.token)}\r\n".encode()
        for _ in range(2):
            answer = server.ask(UNSIGNED[name].replace(b"\r\n", line, 1))
            assert answer.problem in ("unauthorized", "malformed", "unsupported-media-type")
        assert server.ask(spell_signed(key, "GET", "/accounts/acct-0")).status == 200
    finally:
        limiter.configure(client_rate=0, client_burst=0)
