"""Accounts over real HTTP, against a real engine."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.servers import check_problem, fund, open_accounts

pytest_plugins = ["tests.support.serving"]


def test_account_is_opened_once(client: httpx.Client, name: str) -> None:
    body = {"id": f"{name}:new", "asset": "USD/2", "floor": -5, "ceiling": 9, "frozen": True}
    first = client.post("/accounts", json=body)
    assert first.status_code == 201
    assert first.json() == {**body, "balance": 0}
    again = client.post("/accounts", json=body)
    assert (again.status_code, again.json()) == (200, first.json())
    assert client.get(first.headers["location"]).json() == first.json()
    for change in ({"asset": "EUR/2"}, {"floor": None}, {"ceiling": 8}, {"frozen": False}):
        check_problem(client.post("/accounts", json={**body, **change}), 409, "account-exists")


def test_account_id_with_slashes(client: httpx.Client, name: str) -> None:
    for account_id in (f"{name}/x/y", f"{name}/.../x", f"{name}/x.y:z@w"):
        open_accounts(client, [account_id])
        account = client.get(f"/accounts/{quote(account_id, safe='')}").json()
        assert account["id"] == account_id
    assert client.get(f"/accounts/{name}/x/y").json()["id"] == f"{name}/x/y"


@pytest.mark.parametrize("path", ["nobody", "a%20b", "x" * 65, "%ff"])
def test_unknown_account(client: httpx.Client, path: str) -> None:
    check_problem(client.get(f"/accounts/{path}"), 404, "account-not-found")
    patched = client.patch(f"/accounts/{path}", json={"frozen": True})
    check_problem(patched, 404, "account-not-found")


def test_malformed_account(client: httpx.Client) -> None:
    response = client.post("/accounts", json={"id": "a b", "asset": "usd", "floor": 1.5})
    body = check_problem(response, 400, "malformed")
    pointers = {error["pointer"] for error in body["errors"]}
    assert pointers == {"/id", "/asset", "/floor"}


def test_patch_changes_what_is_given(client: httpx.Client, name: str) -> None:
    path = f"/accounts/{name}:a"
    before = client.get(path).json()
    changed = client.patch(path, json={"ceiling": 7, "floor": None})
    assert changed.status_code == 200
    assert changed.json() == {**before, "ceiling": 7, "floor": None}
    assert client.patch(path, json={"ceiling": None}).json() == {**before, "floor": None}
    assert client.patch(path, json={"frozen": True}).json()["frozen"] is True
    assert client.patch(path, json={}).json()["frozen"] is True
    assert client.get(path).json()["frozen"] is True


def test_patch_against_the_balance(client: httpx.Client, name: str) -> None:
    fund(client, name)
    for change in ({"floor": 1001}, {"ceiling": 999}):
        response = client.patch(f"/accounts/{name}:a", json=change)
        check_problem(response, 422, "limit-conflict")
    assert client.get(f"/accounts/{name}:a").json()["floor"] == 0


@pytest.mark.parametrize("change", [{"id": "x"}, {"balance": 5}, {"floor": "01"}, {"frozen": None}])
def test_malformed_patch(client: httpx.Client, name: str, change: dict[str, Any]) -> None:
    response = client.patch(f"/accounts/{name}:a", json=change)
    check_problem(response, 400, "malformed")


def test_accounts_in_pages(client: httpx.Client, name: str) -> None:
    listed: list[Any] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = client.get("/accounts", params=query).json()
        assert len(page["accounts"]) <= 3
        listed += page["accounts"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    ids = [account["id"] for account in listed]
    assert len(ids) == len(set(ids)) == client.get("/audit?journal=false").json()["accounts"]
    assert ids[-3:] == [f"{name}:bank", f"{name}:a", f"{name}:b"]
    assert client.get("/accounts?limit=1000").json()["accounts"] == listed


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=x", "page=1"])
def test_malformed_page(client: httpx.Client, query: str) -> None:
    check_problem(client.get(f"/accounts?{query}"), 400, "malformed")


def test_cursor_beyond_the_end(client: httpx.Client) -> None:
    page = client.get("/accounts?cursor=AAD_____").json()
    assert page == {"accounts": [], "next": None}
