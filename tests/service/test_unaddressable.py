"""Ids and keys that libraries take out of an address: never new, found by the query where known.

The ledger here is one of before, when such ids could be opened.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

import ledgercore
from ledgercore import accounts
from ledgercore.client import LedgerClient
from tests.support.keyed import spell
from tests.support.local import RawConnection, serve_both_ways
from tests.support.servers import Server, check_problem, post_transfer

OLD = ["..", ".", "a/../b", "./x", "x/.", "a//b", "/a", "a/", "/"]
KEYS = [".", "..", "a/b", "a/../b", "/", "k/", "//k"]
KEYS += ["?", "#", "%", "a?b=c&d", "%2e%2e", "+", "a+b"]
SPELLINGS = ["%2e%2e", "%2E%2e", "a%2F..%2fb", "a/%2e%2E/b", "a//b", ".%2Fx"]
JSON_LINE = "Content-Type: application/json"
WAYS = ["native", "ordinary"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a ledger with such ids, as those of before could."""
    data = tmp_path_factory.mktemp("old") / "ledger"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "check_new_id", lambda id: None)
        with ledgercore.open(data) as ledger:
            ledger.open_account("world", asset="USD/2", floor=None)
            ledger.open_accounts(OLD, asset="USD/2")
            for key in OLD:
                assert ledger.transfer("world", key, 100, key=key).status.name == "APPLIED"
    return data


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    with Server(data, "--workers-max=1") as server:
        yield server.url
        assert server.stop() == 0
        assert server.complaints == []


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


def test_such_an_account_is_not_opened(client: httpx.Client) -> None:
    before = client.get("/audit?journal=false").json()["lsn"]
    for account_id in ("new/..", "new//", "../new", "./new", "new/./x", "/new", "new/", "//"):
        answer = client.post("/accounts", json={"id": account_id, "asset": "USD/2"})
        (error,) = check_problem(answer, 400, "malformed")["errors"]
        assert error["pointer"] == "/id" and "segment" in error["detail"]
    with ledgercore.open(None, durability="memory") as ledger:
        for account_id in OLD:
            with pytest.raises(ledgercore.InvalidArgument):
                ledger.open_account(account_id, asset="USD/2")
            with pytest.raises(ledgercore.InvalidArgument):
                ledger.open_accounts(["fine", account_id], asset="USD/2")
    assert client.get("/audit?journal=false").json()["lsn"] == before


@pytest.mark.parametrize("account_id", OLD)
def test_an_account_of_before_goes_on(client: httpx.Client, account_id: str) -> None:
    by_query = f"/accounts?{urlencode({'id': account_id})}"
    account = client.get(by_query)
    assert (account.status_code, account.json()["id"]) == (200, account_id)
    assert client.head(by_query).status_code == 200
    # What is asked for once more is told as ever, with the address that finds it.
    again = client.post("/accounts", json={"id": account_id, "asset": "USD/2"})
    assert (again.status_code, again.json()) == (200, account.json())
    assert client.get(again.headers["location"]).json() == account.json()
    assert client.post("/accounts", json={"id": account_id, "asset": "EUR/2"}).status_code == 409
    for frozen in (True, False):
        patched = client.patch(by_query, json={"frozen": frozen})
        assert (patched.status_code, patched.json()["frozen"]) == (200, frozen)
    for number, (source, target) in enumerate([("world", account_id), (account_id, "world")]):
        moved = post_transfer(client, f"moves-{number}-{account_id}", source, target, 7)
        assert (moved.status_code, moved.json()["from"]) == (201, source)
    assert client.get(by_query).json() == account.json()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_percent_signs_are_read_alike(client: httpx.Client, spelling: str) -> None:
    account_id = httpx.URL(f"http://x/?id={spelling}").params["id"]
    assert client.get(f"/accounts?id={spelling}").json()["id"] == account_id
    # Where nothing on the way resolves it, the path finds it too.
    answer = ask(client, f"/accounts/{spelling}")
    assert answer.status == 200 and account_id.encode() in answer.body


def ask(client: httpx.Client, target: str) -> Any:
    connection = RawConnection((client.base_url.host, client.base_url.port or 80))
    connection.send(spell("GET", target))
    answer = connection.read_answer()
    connection.close()
    return answer


@pytest.mark.parametrize("query", ["id=nobody", "id=", "id=a%20b", "id=%ff", "id=" + "x" * 65])
def test_unknown_account_in_the_query(client: httpx.Client, query: str) -> None:
    check_problem(client.get(f"/accounts?{query}"), 404, "account-not-found")
    answer = client.patch(f"/accounts?{query}", json={"frozen": True})
    check_problem(answer, 404, "account-not-found")


@pytest.mark.parametrize("query", ["id=..&id=a", "id=..&limit=5", "id=..&cursor=", "id=..&x="])
def test_malformed_account_query(client: httpx.Client, query: str) -> None:
    check_problem(client.get(f"/accounts?{query}"), 400, "malformed")
    check_problem(client.patch(f"/accounts?{query}", json={"frozen": True}), 400, "malformed")


def test_a_change_names_its_account(client: httpx.Client) -> None:
    for query in ("", "?", "?x=1"):
        answer = client.patch(f"/accounts{query}", json={"frozen": True})
        assert "parameter" in check_problem(answer, 400, "malformed")["errors"][0]


@pytest.mark.parametrize("key", KEYS)
def test_key_in_the_query(client: httpx.Client, key: str) -> None:
    by_query = f"/idempotency-keys?{urlencode({'key': key + '!'})}"
    assert client.get(by_query).json() == {"key": key + "!", "state": "unseen"}
    first = post_transfer(client, key + "!", "world", "..", 1)
    state = client.get(by_query).json()
    assert (state["key"], state["state"]) == (key + "!", "applied")
    assert state["transfer"] == first.json()
    assert client.get(f"/idempotency-keys?key={quote(key + '!', safe='+')}").json() == state
    assert client.head(by_query).status_code == 200


def test_keys_of_before(client: httpx.Client) -> None:
    for key in OLD:
        # An engine's own keys have no client; those of a server without keys have none either.
        state = client.get(f"/idempotency-keys?{urlencode({'key': key})}").json()
        assert (state["state"], state["transfer"]["to"]) == ("applied", key)


@pytest.mark.parametrize("query", ["", "?key=", "?key=a%20b", "?key=a&key=b", "?key=a&x=1", "?x=1"])
def test_malformed_key_query(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/idempotency-keys{query}")
    assert check_problem(answer, 400, "malformed")["errors"][0]["parameter"] in ("key", "", "x")


@pytest.mark.parametrize("way", WAYS)
def test_a_transfer_to_nobody_of_such_a_name(way: str, tmp_path: Path) -> None:
    with serve_both_ways(tmp_path, demo_accounts=2, durability="memory") as servers:
        for account_id in OLD:
            for source, target, reason in (
                ("acct-0", account_id, "target-not-found"),
                (account_id, "acct-0", "source-not-found"),
            ):
                key = f"{reason}-{account_id}"
                body = {"from": source, "to": target, "amount": 1, "idempotency_key": key}
                data = spell("POST", "/transfer", JSON_LINE, body=json.dumps(body).encode())
                answer = servers[way].ask(data)
                assert (answer.status, answer.problem) == (404, reason)


def test_the_client_library_asks_by_query(url: str) -> None:
    with LedgerClient(url) as client:
        for account_id in OLD:
            assert client.account(account_id).id == account_id
            assert client.change_account(account_id, frozen=False).id == account_id
        for key in KEYS:
            for own in (f"{key}*", f"*{key}"):
                client.transfer("world", "..", 1, key=own)
                assert client.find_key(own).state == "applied"
        assert client.find_key("..").state == "applied"


def test_recovery_goes_on(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ledger"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("lock"))
    assert ledgercore.verify(copy).violations == ()
    with ledgercore.open(copy) as ledger:
        assert [ledger.account(account_id).id for account_id in OLD] == OLD
        assert ledger.audit(journal=True).ok
