"""The grammar of addresses: ids and keys in the path, pages and switches in the query."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ledgercore import AMOUNT_MAX
from ledgercore.service.wire import problems
from ledgercore.service.wire.paths import (
    decode_cursor,
    encode_cursor,
    read_page,
    read_path_account,
    read_path_key,
    read_switch,
    read_transfer_id,
)
from ledgercore.service.wire.problems import Problem
from tests.service.access.test_access import ROUTES
from tests.support.keyed import spell
from tests.support.local import Answer, LocalServer, serve_both_ways
from tests.support.openapi import OPERATIONS


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        (str(AMOUNT_MAX), AMOUNT_MAX),
        ("0", None),
        ("01", None),
        ("-1", None),
        ("1.0", None),
        ("x", None),
        ("١", None),
        (str(2**63), None),
        ("9" * 30, None),
    ],
)
def test_transfer_id(text: str, number: int | None) -> None:
    assert read_transfer_id(text) == number


def test_path_parts_are_unquoted_once() -> None:
    assert read_path_account("a%2Fb") == "a/b"
    assert read_path_key("a%2525b") == "a%25b"


@pytest.mark.parametrize("text", ["", "a%20b", "a" * 65, "%ff"])
def test_bad_path_account(text: str) -> None:
    with pytest.raises(Problem) as caught:
        read_path_account(text)
    assert caught.value.kind is problems.ACCOUNT_NOT_FOUND


@pytest.mark.parametrize("text", ["", "a%20b", "k" * 256])
def test_bad_path_key(text: str) -> None:
    with pytest.raises(Problem) as caught:
        read_path_key(text)
    assert caught.value.kind is problems.MALFORMED


def test_page() -> None:
    page = read_page("")
    assert (page.start, page.limit) == (0, 100)
    page = read_page(f"limit=1000&cursor={encode_cursor(77)}")
    assert (page.start, page.limit) == (77, 1000)


@pytest.mark.parametrize("slot", [0, 1, 2**32 - 1])
def test_cursor_round_trip(slot: int) -> None:
    assert decode_cursor(encode_cursor(slot)) == slot


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=",
        "limit=ten",
        "limit=1&limit=2",
        "cursor=",
        "cursor=AAAA",
        "cursor=________",
        "cursor=AAAAAAA!",
        "cursor=ä",
        "page=2",
    ],
)
def test_bad_page(query: str) -> None:
    with pytest.raises(Problem) as caught:
        read_page(query)
    assert caught.value.kind is problems.MALFORMED
    assert caught.value.errors


def test_switch() -> None:
    assert read_switch("", "journal") is True
    assert read_switch("journal=false", "journal") is False
    with pytest.raises(Problem):
        read_switch("journal=no", "journal")


# -- what an address does not take -----------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    options: dict[str, Any] = {"demo_accounts": 3, "durability": "memory", "allow_chaos": 1}
    with serve_both_ways(tmp_path_factory.mktemp("addresses"), **options) as servers:
        yield servers


def ask_everywhere(server: LocalServer, more: str) -> Iterator[tuple[str, str, Answer]]:
    """Ask for what is fine at each address, and for more in its target; HEAD is as GET."""
    for (method, path), (_, target, body) in sorted(ROUTES.items()):
        if method != "HEAD":
            content = b"" if body is None else json.dumps(body).encode()
            asked = target.partition("?")[0] + more
            yield method, path, server.ask(spell(method, asked, body=content))


@pytest.mark.parametrize("way", ["native", "ordinary"])
@pytest.mark.parametrize(
    "query", ["dry_run=true", "dryRun", "x=1&x=1", "%64ry_run=1", "=", "LIMIT=1"]
)
def test_no_address_takes_what_it_does_not_know(
    servers: dict[str, LocalServer], way: str, query: str
) -> None:
    server, lsn = servers[way], servers[way].lsn
    for method, path, answer in ask_everywhere(server, f"?{query}"):
        assert (answer.status, answer.problem) == (400, "malformed"), (method, path)
        assert json.loads(answer.body)["errors"][0]["code"] == "unknown"
    assert server.lsn == lsn and server.lifecycle.admission.is_open
    assert len(server.get("/accounts")["accounts"]) == 4


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_no_address_takes_a_parameter_twice(servers: dict[str, LocalServer], way: str) -> None:
    for path, name in (
        ("/accounts", "limit=1"),
        ("/audit", "journal=false"),
        ("/debug/pprof/threads", "format=text"),
    ):
        assert servers[way].ask(spell("GET", f"{path}?{name}")).status == 200
        answer = servers[way].ask(spell("GET", f"{path}?{name}&{name}"))
        assert (answer.status, answer.problem) == (400, "malformed")


@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_a_slash_at_the_end_is_another_address(servers: dict[str, LocalServer], way: str) -> None:
    """And there is nothing, but where an id or a key may end in one."""
    server, lsn = servers[way], servers[way].lsn
    for slashes in ("/", "//"):
        for method, path, answer in ask_everywhere(server, slashes):
            # Behind that of accounts stands an id: none is empty, and none here is a slash.
            is_id = path.startswith("accounts") and method in ("GET", "PATCH")
            name = "account-not-found" if is_id else "not-found"
            is_there = path == "debug/pprof" and slashes == "/"
            if path.startswith("idempotency-keys"):
                assert answer.status in (200, 400)  # A key may be a slash, and end in some.
            elif not is_there:
                assert answer.problem == name, (method, path)
    assert server.get("/idempotency-keys/k/")["key"] == "k/"
    assert server.lsn == lsn


def test_what_an_address_takes_is_described(servers: dict[str, LocalServer]) -> None:
    described = {
        (operation.method, operation.path.strip("/")): {
            part["name"] for part in operation.parameters if part["in"] == "query"
        }
        for operation in OPERATIONS
    }
    for route in servers["native"].app.router.routes:
        for method in route.methods:
            path = re.sub(r"<(\w+):\w+>", r"{\1}", route.path).strip("/")
            taken = set(getattr(route.handler, "parameters", ()))
            assert taken == described[method.lower(), path], (method, path)
