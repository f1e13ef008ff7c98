"""Who may do what, over HTTP: every address with every sort of key, in both ways.

A new address without a guard fails here, since the table is compared with the router.
"""

import json
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ledgercore import Status
from ledgercore.service.access.key_file import FILE_NAME
from ledgercore.service.access.key_ring import Scope
from tests.support.feeding import feed, mask_ids
from tests.support.keyed import END, bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import LocalServer, serve_both_ways
from tests.support.waiting import DEADLINE_S

UNKNOWN = f"lck_00000000_{'A' * 43}"
count_key = count(1)

ITEM = {"idempotency_key": "KEY", "from": "acct-0", "to": "acct-1", "amount": 1}
ROUTES: dict[tuple[str, str], tuple[Scope | None, str, Any]] = {
    ("POST", "transfer"): (Scope.TRANSFER, "/transfer", ITEM),
    ("POST", "transfers"): (Scope.TRANSFER, "/transfers", [ITEM]),
    ("GET", "transfers/<transfer_id:str>"): (Scope.READ, "/transfers/7", None),
    ("GET", "idempotency-keys/<key:path>"): (Scope.READ, "/idempotency-keys/KEY", None),
    ("GET", "idempotency-keys"): (Scope.READ, "/idempotency-keys?key=KEY", None),
    ("POST", "accounts"): (Scope.ADMIN, "/accounts", {"id": "KEY", "asset": "USD/2"}),
    ("GET", "accounts"): (Scope.READ, "/accounts", None),
    ("GET", "accounts/<account_id:path>"): (Scope.READ, "/accounts/acct-0", None),
    ("PATCH", "accounts/<account_id:path>"): (
        Scope.ADMIN,
        "/accounts/acct-0",
        {"frozen": False},
    ),
    ("PATCH", "accounts"): (Scope.ADMIN, "/accounts?id=acct-0", {"frozen": False}),
    ("GET", "audit"): (Scope.READ, "/audit?journal=false", None),
    ("GET", "metrics"): (Scope.READ, "/metrics", None),
    ("GET", "metrics/prometheus"): (Scope.READ, "/metrics/prometheus", None),
    ("GET", "admin/chaos"): (Scope.ADMIN, "/admin/chaos", None),
    ("PUT", "admin/chaos"): (Scope.ADMIN, "/admin/chaos", {}),
    ("GET", "admin/limits"): (Scope.ADMIN, "/admin/limits", None),
    ("PATCH", "admin/limits"): (Scope.ADMIN, "/admin/limits", {}),
    ("GET", "admin/keys"): (Scope.ADMIN, "/admin/keys", None),
    ("POST", "admin/keys"): (Scope.ADMIN, "/admin/keys", {"name": "KEY", "scope": "read"}),
    ("GET", "admin/workers"): (Scope.ADMIN, "/admin/workers", None),
    ("PATCH", "admin/workers"): (Scope.ADMIN, "/admin/workers", {}),
    ("DELETE", "admin/keys/<key_id:str>"): (Scope.ADMIN, "/admin/keys/nobody", None),
    ("GET", "metrics/stream"): (Scope.READ, "/metrics/stream", None),
    ("GET", "live/<file:str>"): (None, "/live/live.css", None),
    ("GET", ""): (None, "/", None),
    ("GET", "debug/pprof"): (Scope.ADMIN, "/debug/pprof", None),
    ("GET", "debug/pprof/"): (Scope.ADMIN, "/debug/pprof/", None),
    ("GET", "debug/pprof/profile"): (Scope.ADMIN, "/debug/pprof/profile?seconds=1", None),
    ("GET", "debug/pprof/heap"): (Scope.ADMIN, "/debug/pprof/heap", None),
    ("GET", "debug/pprof/threads"): (Scope.ADMIN, "/debug/pprof/threads", None),
    ("GET", "debug/pprof/goroutine"): (Scope.ADMIN, "/debug/pprof/goroutine", None),
    ("GET", "debug/pprof/cmdline"): (Scope.ADMIN, "/debug/pprof/cmdline", None),
    ("GET", "healthz"): (None, "/healthz", None),
    ("GET", "readyz"): (None, "/readyz", None),
    ("GET", "docs"): (None, "/docs", None),
    ("GET", "docs/<file:str>"): (None, "/docs/docs.css", None),
    ("GET", "openapi.json"): (None, "/openapi.json", None),
}
"""What each address takes: the scope that it needs, and a request that is fine."""
ROUTES |= {("HEAD", path): row for (method, path), row in ROUTES.items() if method == "GET"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Make keys of all sorts, and name their file."""
    data = tmp_path_factory.mktemp("keys")
    made: dict[str, Any] = {
        "read": make_key(data, "alice", Scope.READ),
        "transfer": make_key(data, "alice", Scope.TRANSFER),
        "again": make_key(data, "alice", Scope.TRANSFER),
        "bob": make_key(data, "bob", Scope.TRANSFER),
        "admin": make_key(data, "root", Scope.ADMIN),
        "signed": make_key(data, "sig", Scope.TRANSFER, is_signed=True),
        "slow": make_key(data, "slow", Scope.TRANSFER, rate=0.001, burst=1),
    }
    return {"file": data / FILE_NAME} | made


@pytest.fixture(scope="module")
def servers(
    keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, LocalServer]]:
    """Serve in both ways with the same keys, from ledgers that are alike."""
    data = tmp_path_factory.mktemp("access")
    options: dict[str, Any] = {"demo_accounts": 3, "durability": "memory", "allow_chaos": 1}
    options["keys_file"] = str(keys["file"])
    with serve_both_ways(data, **options) as servers:
        yield servers


@pytest.fixture(scope="module")
def native(servers: dict[str, LocalServer]) -> LocalServer:
    return servers["native"]


def url_of(server: LocalServer) -> str:
    return "http://{}:{}".format(*server.address)


def header_of(keys: dict[str, Any], who: str) -> str:
    return bearer(keys[who].token)


# -- addresses and scopes --------------------------------------------------------------------------


def test_every_address_is_in_the_table(native: LocalServer) -> None:
    found = {(m, route.path) for route in native.app.router.routes for m in route.methods}
    assert found == set(ROUTES)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@pytest.mark.parametrize("who", [None, "unknown", "read", "transfer", "admin"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("way", ["native", "ordinary"])
def test_what_a_key_allows(
    servers: dict[str, LocalServer],
    keys: dict[str, Any],
    way: str,
    method: str,
    path: str,
    who: str | None,
    header: str,
) -> None:
    scope, target, body = ROUTES[method, path]
    text = json.dumps(body, separators=(",", ":")).replace("KEY", f"key-{next(count_key)}")
    headers = {"content-type": "application/json"} if body is not None else {}
    if who is not None:
        token = UNKNOWN if who == "unknown" else keys[who].token
        headers[header] = f"Bearer {token}" if header == "authorization" else token
    engine = servers[way].lifecycle.engine
    before = engine.statistics()
    content = text if body is not None else None
    with (
        httpx.Client(base_url=url_of(servers[way]), timeout=DEADLINE_S) as client,
        client.stream(method, target, content=content, headers=headers) as answer,
    ):
        # The one that has no end has begun, and that is all that is asked here.
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.read()
    own = 0 if who in (None, "unknown") else keys[str(who)].credential.scope
    if scope is None or own >= scope:
        # There is no such key to revoke, which only who may revoke one is told.
        wanted = (404,) if method == "DELETE" else (200, 201)
        assert answer.status_code in wanted
        assert "www-authenticate" not in answer.headers
        return
    name, status = ("forbidden", 403) if own else ("unauthorized", 401)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    challenge = 'Bearer realm="ledgercore"'
    if own:
        challenge += f', error="insufficient_scope", scope="{scope.label}"'
    elif who == "unknown":
        challenge += ', error="invalid_token"'
    assert answer.headers["www-authenticate"] == challenge
    if method != "HEAD":
        assert answer.json()["type"] == f"urn:ledgercore:problem:{name}"
        assert answer.json()["status"] == status
    # Whoever was turned away has not touched the ledger.
    after = engine.statistics()
    assert (after.lsn_applied, after.accounts, after.keys) == (
        before.lsn_applied,
        before.accounts,
        before.keys,
    )


def test_an_unknown_address_tells_nobody_more(native: LocalServer, keys: dict[str, Any]) -> None:
    for lines in ((), (header_of(keys, "admin"),)):
        assert native.ask(spell("GET", "/nothing", *lines)).status == 404
        assert native.ask(spell("DELETE", "/transfer", *lines)).status == 405


# -- both ways say the same ------------------------------------------------------------------------


def lines_of_tokens(keys: dict[str, Any]) -> dict[str, list[bytes]]:
    good = keys["transfer"].token.encode()
    other = keys["bob"].token.encode()
    auth, x = b"Authorization: ", b"X-API-Key: "
    return {
        "none": [],
        "bearer": [auth + b"Bearer " + good],
        "lower": [b"authorization: bearer " + good],
        "upper": [b"AUTHORIZATION: BEARER " + good],
        "x": [x + good],
        "x-upper": [b"X-API-KEY: " + good],
        "unknown": [auth + b"Bearer " + UNKNOWN.encode()],
        "x-unknown": [x + UNKNOWN.encode()],
        "last-character": [x + good[:-1] + b"!"],
        "read": [x + keys["read"].token.encode()],
        "signed": [x + keys["signed"].token.encode()],
        "twice": [auth + b"Bearer " + good, auth + b"Bearer " + good],
        "twice-x": [x + good, x + other],
        "both": [auth + b"Bearer " + good, x + good],
        "both-other": [x + other, auth + b"Bearer " + good],
        "one-empty": [auth, x + good],
        "basic": [auth + b"Basic YTpi"],
        "no-scheme": [auth + good],
        "scheme-alone": [auth + b"Bearer"],
        "scheme-space": [auth + b"Bearer "],
        "empty": [auth],
        "x-empty": [x],
        "two-spaces": [auth + b"Bearer  " + good],
        "tab": [auth + b"Bearer\t" + good],
        "space-after": [x + good + b" "],
        "no-space": [b"X-API-Key:" + good],
        "spaces-before": [b"X-API-Key:   " + good],
        "quoted": [auth + b'Bearer "' + good + b'"'],
        "comma": [auth + b"Bearer " + good + b", Bearer " + good],
        "within": [auth + b"Bearer " + good[:20] + b" " + good[20:]],
        "x-bearer": [x + b"Bearer " + good],
        "long": [x + b"k" * 255],
        "longer": [x + b"k" * 256],
        "longest": [auth + b"Bearer " + b"k" * 3000],
        "prefix": [x + good + b"k" * 300],
        "not-ascii": [x + "ü".encode()],
        "nul-like": [x + good + b"\x01"],
        "folded": [auth + b"Bearer\r\n " + good],
        "dpop": [auth + b"DPoP " + good],
    }


_ANY = dict.fromkeys(("transfer", "bob", "read", "signed"), SimpleNamespace(token="t"))
TOKEN_NAMES = list(lines_of_tokens(_ANY))
ACCEPTED = {
    "bearer",
    "lower",
    "upper",
    "x",
    "x-upper",
    "two-spaces",
    "space-after",
    "no-space",
    "spaces-before",
}


def send_both(servers: dict[str, LocalServer], data: bytes) -> bytes:
    """Return the answers of both ways to some bytes, which have to be the same."""
    answers = {
        way: mask_ids(server.run(feed(server, [data + END])).written)
        for way, server in servers.items()
    }
    assert answers["native"] == answers["ordinary"]
    return answers["native"]


@pytest.mark.parametrize("name", TOKEN_NAMES)
def test_both_ways_read_tokens_alike(
    servers: dict[str, LocalServer], keys: dict[str, Any], name: str
) -> None:
    lines = lines_of_tokens(keys)[name]
    answers = send_both(servers, spell_transfer(f"both-{next(count_key)}", *lines))
    status = answers.split(b" ", 2)[1]
    assert (status == b"201") == (name in ACCEPTED), answers
    if name == "read":
        assert status == b"403"
    elif status not in (b"201", b"400"):
        assert status == b"401" and b"\r\nwww-authenticate: " in answers


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"1000", 201),
        (b"99999999", 201),
        (b"007", 504),
        (b"100000000", 400),
        (b"0", 400),
        (b"-1", 400),
        (b"+1", 400),
        (b"1e3", 400),
        (b"1.0", 400),
        (b"", 400),
        (b"1 000", 400),
        (b'"5"', 400),
        ("١".encode(), 400),
        (b"1000\r\nX-Request-Timeout-Ms: 1000", 400),
    ],
)
def test_both_ways_read_timeouts_alike(
    servers: dict[str, LocalServer], keys: dict[str, Any], text: bytes, status: int
) -> None:
    key, line = f"timeout-{next(count_key)}", b"X-Request-Timeout-Ms: " + text
    data = spell_transfer(key, header_of(keys, "transfer"), line)
    answers = send_both(servers, data)
    # 7 ms may be enough, and need not be.
    wanted = {201, 504} if status == 504 else {status}
    assert int(answers.split(b" ", 2)[1]) in wanted, answers
    for server in servers.values():
        state = server.lifecycle.engine.find_key(key, "alice").state
        assert (state == "applied") == (answers[9:12] == b"201")


def test_both_ways_tell_the_same_of_what_is_late(
    servers: dict[str, LocalServer], keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in servers.values():
        monkeypatch.setattr(server.lifecycle.admission, "deadline_ns", 1)
    data = spell_transfer("late-1", header_of(keys, "transfer"))
    plain = send_both(servers, data)
    assert plain.startswith(b"HTTP/1.1 504 ")
    assert b'"type":"urn:ledgercore:problem:deadline-passed"' in plain
    assert b'"executed":false' in plain
    # The shorter of the two counts.
    line = "X-Request-Timeout-Ms: 99999999"
    assert send_both(servers, spell_transfer("late-1", header_of(keys, "bob"), line)) == plain
    for server in servers.values():
        assert server.lifecycle.engine.find_key("late-1", "alice").state == "unseen"
        assert server.lifecycle.engine.find_key("late-1", "bob").state == "unseen"
    monkeypatch.undo()
    assert send_both(servers, data).startswith(b"HTTP/1.1 201 ")


def test_both_ways_limit_alike(servers: dict[str, LocalServer], keys: dict[str, Any]) -> None:
    line = header_of(keys, "slow")
    data = spell_transfer("slow-1", line) + spell_transfer("slow-2", line)
    answers = send_both(servers, data)
    assert answers.count(b"HTTP/1.1 201 ") == answers.count(b"HTTP/1.1 429 ") == 1
    again = send_both(servers, spell_transfer("slow-2", line))
    assert again.startswith(b"HTTP/1.1 429 ")
    for server in servers.values():
        assert server.lifecycle.engine.find_key("slow-2", "slow").state == "unseen"


# -- whose keys ------------------------------------------------------------------------------------

WAYS = {
    "native": lambda key, line: spell_transfer(key, line),
    "ordinary": lambda key, line: spell_transfer(key, line, "X-Other: a"),
    "bulk": lambda key, line: spell_bulk(key, lines=(line,)),
}


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_keys_belong_to_a_client(
    native: LocalServer, keys: dict[str, Any], first: str, second: str
) -> None:
    key, ids = f"own-{first}-{second}", []
    for way, who in ((first, "transfer"), (second, "bob"), (second, "again"), (first, "bob")):
        body = json.loads(native.ask(WAYS[way](key, header_of(keys, who))).body)
        ids.append((body[0] if way == "bulk" else body)["id"])
    # Two keys of one name are one client; two names are two.
    assert ids[0] == ids[2] and ids[1] == ids[3] and ids[0] != ids[1]


def test_each_is_told_of_its_own_keys(native: LocalServer, keys: dict[str, Any]) -> None:
    assert native.ask(spell_transfer("told", header_of(keys, "transfer"))).status == 201
    states = {}
    for who in ("transfer", "read", "bob", "admin"):
        answer = native.ask(spell("GET", "/idempotency-keys/told", header_of(keys, who)))
        states[who] = json.loads(answer.body)["state"]
    assert states == {"transfer": "applied", "read": "applied", "bob": "unseen", "admin": "unseen"}


def test_one_connection_may_change_its_client(native: LocalServer, keys: dict[str, Any]) -> None:
    """The native way remembers who sent the last request, and must not take the next for it."""
    whos = ["transfer", "bob", "again", "bob", "admin", "transfer"]
    data = b"".join(spell_transfer("mixed", header_of(keys, who)) for who in whos)
    data += spell_transfer("mixed") + spell_transfer("mixed", header_of(keys, "bob"))
    with native.connect() as connection:
        connection.send(data)
        answers = connection.read_answers(8)
    assert [answer.status for answer in answers] == [201] * 6 + [401, 201]
    ids = [json.loads(answer.body)["id"] for answer in answers[:6]]
    assert ids[0] == ids[2] == ids[5] and ids[1] == ids[3]
    assert len(set(ids)) == 3
    find_key = native.lifecycle.engine.find_key
    found = find_key("mixed", "alice").transfer
    assert found is not None and found.status is Status.APPLIED
    assert find_key("mixed", "").state == "unseen"
