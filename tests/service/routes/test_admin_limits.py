"""Limits and keys of a running server, over real HTTP."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore.service.access.key_ring import Scope, create_key
from ledgercore.service.runtime.limits import LIMITS
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.servers import Server, check_problem, post_transfer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    data = tmp_path_factory.mktemp("limits") / "ledger"
    path = data / "api-keys.json"
    tokens = {
        scope.label: create_key(path, f"a-{scope.label}", scope).token
        for scope in Scope
    }  # fmt: skip
    with Server(data) as server:
        assert server.url
        yield server, tokens
        assert server.stop() == 0
        for token in tokens.values():
            assert token not in server.stderr + server.stdout


@pytest.fixture
def server(served: tuple[Server, dict[str, str]]) -> Server:
    return served[0]


@pytest.fixture
def admin(served: tuple[Server, dict[str, str]]) -> Iterator[httpx.Client]:
    server, tokens = served
    headers = {"authorization": f"Bearer {tokens['admin']}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        yield client


ROUTES = [
    ("GET", "/admin/limits"),
    ("PATCH", "/admin/limits"),
    ("GET", "/admin/workers"),
    ("PATCH", "/admin/workers"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("DELETE", "/admin/keys/00000000"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_an_admin_may(
    served: tuple[Server, dict[str, str]], method: str, path: str
) -> None:  # fmt: skip
    server, tokens = served
    check_problem(httpx.request(method, server.url + path), 401, "unauthorized")
    for scope in ("read", "transfer"):
        headers = {"x-api-key": tokens[scope]}
        answer = httpx.request(method, server.url + path, headers=headers, json={})
        check_problem(answer, 403, "forbidden")


# -- limits ---------------------------------------------------------------------------------------


def test_limits_are_told_changed_and_logged(server: Server, admin: httpx.Client) -> None:
    before = admin.get("/admin/limits").json()
    assert list(before) == list(LIMITS)
    assert (before["client_rate"], before["target_p99_ms"], before["inflight_min"]) == (0, 0, 64)
    wanted = {name: 1000 + number for number, name in enumerate(LIMITS)}
    answer = admin.patch("/admin/limits", json=wanted)
    assert (answer.status_code, answer.json()) == (200, wanted)
    assert admin.get("/admin/limits").json() == wanted
    told = admin.get("/metrics").json()
    assert told["limits"] == wanted
    assert told["inflight_limit"] == wanted["inflight_max"]
    assert told["inflight"] == 0
    assert "limit client_rate: 0 -> 1000 (by a-admin)" in server.told
    admin.patch("/admin/limits", json=before)
    assert admin.get("/metrics").json()["inflight_limit"] is None


def test_a_changed_rate_holds_at_once(admin: httpx.Client) -> None:
    admin.patch("/admin/limits", json={"client_rate": 1, "client_burst": 2})
    statuses = [admin.get("/audit?journal=false").status_code for _ in range(4)]
    assert statuses.count(429) >= 2
    answer = admin.patch("/admin/limits", json={"client_rate": 0, "client_burst": 0})
    while answer.status_code == 429:  # The way back has the same limit.
        answer = admin.patch("/admin/limits", json={"client_rate": 0, "client_burst": 0})
    assert admin.get("/audit?journal=false").status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"client_rate": -1}, "/client_rate"),
        ({"client_rate": 1.5}, "/client_rate"),
        ({"client_rate": True}, "/client_rate"),
        ({"quota_window_s": 0}, "/quota_window_s"),
        ({"port": 1}, "/port"),
        ({"global_rate": 7, "inflight_min": 9, "inflight_max": 8}, ""),
    ],
)
def test_what_is_no_limit_changes_nothing(
    admin: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    check_refused(admin, "PATCH", "/admin/limits", body, pointer)


def check_refused(
    admin: httpx.Client, method: str, path: str, body: dict[str, Any], pointer: str
) -> None:
    """Check that a change is malformed, where, and that nothing has changed."""
    before = admin.get(path).json()
    told = check_problem(admin.request(method, path, json=body), 400, "malformed")
    assert told["errors"][0]["pointer"] == pointer
    assert admin.get(path).json() == before


# -- workers --------------------------------------------------------------------------------------


def test_workers_follow_their_bounds(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "ledger", "--segments=2", "--workers-max=3") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        told = client.get("/admin/workers").json()
        assert (told["workers_min"], told["workers_max"]) == (1, 3)
        assert [segment["active_workers"] for segment in told["segments"]] == [1, 1]
        answer = client.patch("/admin/workers", json={"workers_min": 2})
        assert (answer.status_code, answer.json()["workers_min"]) == (200, 2)
        wait_until(lambda: client.get("/metrics").json()["active_workers"] == 4, "two each")
        for wrong in ({"workers_max": 4}, {"workers_max": 1}, {"workers_min": 0}, {"x": 1}):
            check_problem(client.patch("/admin/workers", json=wrong), 400, "malformed")
        assert client.get("/admin/workers").json()["workers_max"] == 3
        line = "workers: 1 to 3 -> 2 to 3 a segment (by an open server's client)"
        assert line in server.told


# -- keys -----------------------------------------------------------------------------------------


def test_a_key_from_its_making_to_its_end(server: Server, admin: httpx.Client) -> None:
    wanted = {"name": "shop", "scope": "read", "signed": False, "rate": 50, "burst": 9}
    answer = admin.post("/admin/keys", json=wanted)
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/admin/keys/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    token = made.pop("token")
    assert made == {**wanted, "id": made["id"], "quota": None, "created_at": made["created_at"]}
    listing = admin.get("/admin/keys")
    assert listing.json()["keys"][-1] == made
    assert token not in listing.text and "digest" not in listing.text
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=server.url, headers=headers) as shop:
        assert shop.get("/accounts").status_code == 200
        assert admin.delete(f"/admin/keys/{made['id']}").status_code == 204
        # At once, on a connection that was let in before.
        check_problem(shop.get("/accounts"), 401, "unauthorized")
    check_problem(admin.delete(f"/admin/keys/{made['id']}"), 404, "api-key-not-found")
    check_problem(admin.delete("/admin/keys/a-admin"), 404, "api-key-not-found")
    assert f"API key {made['id']} of shop created, scope read (by a-admin)" in server.stderr
    assert f"API key {made['id']} revoked (by a-admin)" in server.stderr
    assert token not in server.stderr


def test_a_signed_key_has_a_secret_that_is_told_once(server: Server, admin: httpx.Client) -> None:
    made = admin.post("/admin/keys", json={"name": "s", "scope": "read", "signed": True}).json()
    assert made["secret"].startswith("lcs_")
    assert made["secret"] not in admin.get("/admin/keys").text + server.stderr


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x"}, "/scope"),
        ({"name": "x", "scope": "root"}, "/scope"),
        ({"name": "a b", "scope": "read"}, "/name"),
        ({"name": "x", "scope": "read", "burst": 0}, "/burst"),
        ({"name": "x", "scope": "read", "signed": 1}, "/signed"),
    ],
)
def test_what_can_be_no_key_is_refused(
    admin: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    check_refused(admin, "POST", "/admin/keys", body, pointer)


def test_the_first_key_ends_the_open_mode(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server, httpx.Client(base_url=server.url) as client:
        token = client.post("/admin/keys", json={"name": "x", "scope": "admin"}).json()["token"]
        check_problem(client.get("/admin/keys"), 401, "unauthorized")
        assert client.get("/admin/keys", headers={"x-api-key": token}).status_code == 200
        assert "(by an open server's client)" in server.stderr


# -- a full room, by both ways --------------------------------------------------------------------


def test_both_ways_refuse_with_the_same_bytes(tmp_path: Path) -> None:
    answers = {}
    with local_serving():
        for way in ("native", "ordinary"):
            with LocalServer(tmp_path / way, PROTOCOLS[way], demo_accounts=2) as server:
                in_flight = server.lifecycle.admission.in_flight
                lsn = server.lsn
                in_flight.limit = 0
                with server.connect() as connection:
                    connection.send(TRANSFER)
                    (refused,) = connection.read_answers(1)
                    assert refused.status == 503 and refused.problem == "overloaded"
                    connection.send(BULK)
                    (bulk,) = connection.read_answers(1)
                    assert bulk.body == refused.body
                    assert in_flight.refused == 2
                    assert (server.lsn, in_flight.count) == (lsn, 0)
                    in_flight.limit = 1
                    connection.send(TRANSFER)
                    (taken,) = connection.read_answers(1)
                    assert taken.status == 201
                assert in_flight.count == 0
                for name in ("traceparent", "x-request-id"):  # No two answers have these alike.
                    del refused.headers[name]
                answers[way] = refused
    assert answers["native"] == answers["ordinary"]
    assert answers["native"].headers["retry-after"] == "1"


BODY = b'{"from":"acct-0","to":"acct-1","amount":1}'
HEAD = (
    b"POST %s HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n"
)
TRANSFER = HEAD % (b"/transfer", len(BODY)) + b"Idempotency-Key: k\r\n\r\n" + BODY
ITEMS = b'[{"from":"acct-0","to":"acct-1","amount":1,"idempotency_key":"b"}]'
BULK = HEAD % (b"/transfers", len(ITEMS)) + b"\r\n" + ITEMS


def test_what_is_in_flight_comes_back_to_nothing(tmp_path: Path) -> None:
    """Through answers, and connections that are gone before theirs."""
    with Server(
        tmp_path / "ledger", "--demo-accounts=2", "--queue-size=64", "--batch-max=32"
    ) as server, httpx.Client(base_url=server.url) as client:  # fmt: skip
        address = (httpx.URL(server.url).host, httpx.URL(server.url).port)

        def hammer(number: int) -> None:
            with socket.create_connection(address) as each:
                for turn in range(20):
                    key = f"k-{number}-{turn}".encode()
                    each.sendall(TRANSFER.replace(b"Key: k", b"Key: " + key) * 3)

        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        post_transfer(client, "last", "acct-0", "acct-1", 1)
        # They may still be reading, and so all that they have sent is done.
        wait_until(lambda: client.get("/metrics").json()["inflight"] == 0, "nothing in flight")
        assert client.get("/audit").json()["ok"]
