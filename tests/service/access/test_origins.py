"""Whose pages change something, and which names are answered to: at every address."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.access.key_file import FILE_NAME
from ledgercore.service.access.key_ring import Scope
from tests.service.access.test_access import ROUTES
from tests.support.keyed import bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import (
    PROTOCOLS,
    Answer,
    LocalServer,
    RawConnection,
    local_serving,
    serve_both_ways,
)
from tests.support.servers import Server

STRANGE = "ledger.example"
PAGES = (
    "Origin: http://localhost:1",
    "Origin: http://ledger.example",
    "Origin: null",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
)
CHANGES = sorted({(m, path) for m, path in ROUTES if m not in ("GET", "HEAD")})


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    """Serve in both ways without keys."""
    options: dict[str, Any] = {"demo_accounts": 3, "durability": "memory", "allow_chaos": 1}
    options["allow_host"] = "allowed.example"
    with serve_both_ways(tmp_path_factory.mktemp("origins"), **options) as servers:
        yield servers


def ask(server: LocalServer, method: str, path: str, *lines: str, host: str) -> Answer:
    """Ask for what is fine at an address, in a body that says what it is."""
    _, target, body = ROUTES[method, path]
    content = b"" if body is None else json.dumps(body).encode()
    data = spell(method, target, *lines, "Connection: close", body=content, host=host)
    if method != "HEAD":
        return server.ask(data)
    with server.connect() as connection:  # Its answer tells the length of a body that it has not.
        connection.send(data)
        head = connection.read_to_end().decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return Answer(int(head[0].split(" ")[1]), headers, b"")


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES), ids=str)
def test_without_keys_a_strange_name_is_answered_nowhere(
    servers: dict[str, LocalServer], method: str, path: str
) -> None:
    for server in servers.values():
        lsn = server.lsn
        for host in (STRANGE, f"{STRANGE}:8000", "[::]", "localhost.example"):
            answer = ask(server, method, path, host=host)
            assert answer.status == 421
            assert method == "HEAD" or answer.problem == "misdirected-request"
        assert server.lsn == lsn


def test_there_is_no_strange_name_at_what_is_no_address(servers: dict[str, LocalServer]) -> None:
    for server in servers.values():
        assert server.ask(spell("GET", "/nothing", host=STRANGE)).status == 421
        assert server.ask(spell("OPTIONS", "/transfer", host=STRANGE)).status == 421
        assert server.ask(spell("GET", f"http://{STRANGE}/", host="localhost")).status == 421


def test_allowed_names_are_answered_to_beside_those_of_this_machine(
    servers: dict[str, LocalServer],
) -> None:
    for way, server in servers.items():
        for number, host in enumerate(
            ("allowed.example:1", "Allowed.Example", "localhost", "[::1]")
        ):
            data = spell_transfer(f"allowed-{way}-{number}")
            data = data.replace(b"Host: localhost", b"Host: " + host.encode())
            assert server.ask(data).status == 201
            data = data.replace(b"allowed.example", b"not-allowed.example").replace(
                b"Allowed.Example", b"Not-Allowed.Example"
            )
            assert server.ask(data).status == (421 if number < 2 else 201)


def test_a_connection_that_changes_its_name_is_looked_at_again(
    servers: dict[str, LocalServer],
) -> None:
    """The native way looks at a name once, and then only at whether it is the same."""
    for way, server in servers.items():
        lsn = server.lsn
        with server.connect() as connection:
            statuses = []
            for number, host in enumerate(["localhost", STRANGE, "localhost", "localhosu"]):
                data = spell_transfer(f"change-{way}-{number}")
                connection.send(data.replace(b"Host: localhost", b"Host: " + host.encode()))
                statuses += [answer.status for answer in connection.read_answers(1)]
            # And all of them at once, which is one piece of bytes for the server.
            connection.send(
                b"".join(
                    spell_transfer(f"change-{way}-a{number}").replace(
                        b"Host: localhost", b"Host: " + host.encode()
                    )
                    for number, host in enumerate(["localhost", STRANGE, "localhost"])
                )
            )
            statuses += [answer.status for answer in connection.read_answers(3)]
        assert statuses == [201, 421, 201, 421, 201, 421, 201]
        assert server.lsn == lsn + 4


@pytest.mark.parametrize(("method", "path"), CHANGES, ids=str)
def test_the_page_of_another_origin_changes_nothing(
    servers: dict[str, LocalServer], method: str, path: str
) -> None:
    for server in servers.values():
        lsn = server.lsn
        for line in PAGES:
            answer = ask(server, method, path, line, host="localhost")
            assert (answer.status, answer.problem) == (403, "foreign-origin")
        assert server.lsn == lsn


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    ["audit", "metrics/stream", "debug/pprof/profile", "debug/pprof/heap", "debug/pprof/threads"],
)
def test_what_costs_much_is_done_for_no_other_page(
    servers: dict[str, LocalServer], method: str, path: str
) -> None:
    """It cannot read the answer, but it could ask again and again, or take all viewers' places."""
    for server in servers.values():
        for line in PAGES:
            answer = ask(server, method, path, line, host="localhost")
            assert answer.status == 403
            assert method == "HEAD" or answer.problem == "foreign-origin"
        # The server's own page and people who type the address are answered.
        if path != "metrics/stream" or method == "HEAD":  # The stream has no end.
            for line in ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none", "Accept: */*"):
                assert ask(server, method, path, line, host="localhost").status == 200


def test_what_changes_nothing_is_answered_to_any_page(servers: dict[str, LocalServer]) -> None:
    """A link to the live page is fine, and what it shows no other page can read."""
    for server in servers.values():
        for line in PAGES:
            for method, path in (("GET", ""), ("GET", "accounts"), ("HEAD", "docs")):
                answer = ask(server, method, path, line, host="localhost")
                assert answer.status == 200
                assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("target", ["/transfer", "/transfers", "/accounts", "/admin/keys"])
def test_a_preflight_does_not_succeed(servers: dict[str, LocalServer], target: str) -> None:
    lines = ("Origin: http://localhost:1", "Access-Control-Request-Method: POST")
    for server in servers.values():
        answer = server.ask(spell("OPTIONS", target, *lines))
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("method", "path"), CHANGES, ids=str)
@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x"])
def test_a_body_says_its_type_at_every_address(
    servers: dict[str, LocalServer], method: str, path: str, kind: str
) -> None:
    _, target, body = ROUTES[method, path]
    content = json.dumps({} if body is None else body).encode()
    data = spell(method, target, f"Content-Type: {kind}", body=content)
    data = data if kind else data.replace(b"Content-Type: \r\n", b"")
    if b"Content-Length" not in data:
        data = data.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(content))
    for server in servers.values():
        lsn = server.lsn
        answer = server.ask(data)
        assert (answer.status, answer.problem) == (415, "unsupported-media-type")
        assert server.lsn == lsn


# -- with keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_with_keys_any_name_is_answered_to_and_no_foreign_page(tmp_path: Path, way: str) -> None:
    key = make_key(tmp_path, "shop", Scope.ADMIN)
    options = {"demo_accounts": 2, "keys_file": str(tmp_path / FILE_NAME)}
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS[way], **options) as server:
        line = bearer(key.token)
        data = spell_transfer("k-1", line)
        assert server.ask(data).status == 201
        strange = data.replace(b"Host: localhost", b"Host: ledger.example")
        assert server.ask(strange).status == 201
        for page in PAGES:
            assert server.ask(spell_transfer("k-2", line, page)).status == 403
            assert server.ask(spell_bulk("k-3", lines=(line, page))).status == 403
            body = b'{"name":"x","scope":"admin"}'
            answer = server.ask(spell("POST", "/admin/keys", line, page, body=body))
            assert (answer.status, answer.problem) == (403, "foreign-origin")
        own = strange.replace(b"k-1", b"k-4").replace(
            b"\r\n\r\n", b"\r\nOrigin: http://ledger.example\r\n\r\n"
        )
        assert server.ask(own).status == 201
        # Behind a proxy that ends TLS a page is of https; only its browser can say that it is ours.
        secure = own.replace(b"Origin: http:", b"Origin: https:").replace(b"k-4", b"k-5")
        assert server.ask(secure).status == 403
        for site, status in ((b"same-site", 403), (b"none", 403), (b"same-origin", 201)):
            told = b"\r\nSec-Fetch-Site: " + site + b"\r\n\r\n"
            assert server.ask(secure.replace(b"\r\n\r\n", told)).status == status


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_with_keys_and_allowed_names_only_those_are_answered_to(tmp_path: Path, way: str) -> None:
    key = make_key(tmp_path, "shop", Scope.ADMIN)
    options = {"demo_accounts": 2, "keys_file": str(tmp_path / FILE_NAME)}
    options["allow_host"] = "a.example,b.example"
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS[way], **options) as server:
        data = spell_transfer("k", bearer(key.token))
        for host, status in (("a.example", 201), ("b.example:1", 201), (STRANGE, 421)):
            told = data.replace(b"Host: localhost", b"Host: " + host.encode())
            assert server.ask(told).status == status
        # What watches over it knows its address alone, and must not take it for dead.
        for target in ("/healthz", "/readyz"):
            assert server.ask(spell("GET", target, host="10.0.0.7:8000")).status == 200


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_the_first_key_opens_the_names(tmp_path: Path, way: str) -> None:
    """Once there are keys they are what counts, on connections that are open already, too."""
    with (
        local_serving(),
        LocalServer(tmp_path / "ledger", PROTOCOLS[way], demo_accounts=2) as server,
        server.connect() as connection,
    ):
        data = spell_transfer("k").replace(b"Host: localhost", b"Host: ledger.example")
        connection.send(data)
        assert connection.read_answers(1)[0].status == 421
        token = make_key(tmp_path / "ledger", "shop", Scope.TRANSFER).token
        server.run(_reload(server))
        connection.send(data.replace(b"\r\n\r\n", f"\r\n{bearer(token)}\r\n\r\n".encode()))
        assert connection.read_answers(1)[0].status == 201


async def _reload(server: LocalServer) -> None:
    server.lifecycle.admission.reload()


# -- the command -----------------------------------------------------------------------------------


def test_names_are_given_one_by_one_or_in_a_list(tmp_path: Path) -> None:
    flags = ("--allow-host=a.example,b.example", "--allow-host=c.example", "--demo-accounts=2")
    with Server(tmp_path / "ledger", *flags) as server:
        host, port = server.url.removeprefix("http://").split(":")
        statuses = [
            ask_raw((host, int(port)), spell("GET", "/accounts", host=name))
            for name in ("a.example", "b.example", "c.example", "d.example")
        ]
        assert statuses == [200, 200, 200, 421]


def ask_raw(address: tuple[str, int], data: bytes) -> int:
    with RawConnection(address) as connection:
        connection.send(data)
        (answer,) = connection.read_answers(1)
    return answer.status
