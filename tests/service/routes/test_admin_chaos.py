"""The addresses under /admin, over HTTP: who may, what they tell, and what they refuse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore.service.access.key_file import create_key
from ledgercore.service.access.key_ring import Scope
from tests.support.servers import Server, check_problem

PLAN = {"seed": 7, "latency": {"probability": 0.5, "ms": [1, 2]}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("admin") / "ledger"
    with Server(data, "--allow-chaos", "--segments=2") as server:
        yield server.url
        assert server.stop() == 0


def test_chaos_is_put_and_told(url: str) -> None:
    for plan, struck in ((PLAN, {"latency": 0}), ({}, {})):
        put = httpx.put(f"{url}/admin/chaos", json=plan)
        assert put.status_code == 200 and put.json() == {"plan": plan, "struck": struck}
        got = httpx.get(f"{url}/admin/chaos")
        assert got.status_code == 200 and got.json() == put.json()
        assert httpx.head(f"{url}/admin/chaos").headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"fire": {"probability": 1}}, "fire"),
        ({"latency": {"probability": 1}}, "latency"),
        ({"stall_segment": {"probability": 1, "ms": [1, 2], "segment": 2}}, "segment 2"),
        ([], "array"),
    ],
)
def test_a_wrong_plan_is_malformed_and_changes_nothing(url: str, body: Any, word: str) -> None:
    before = httpx.get(f"{url}/admin/chaos").json()
    problem = check_problem(httpx.put(f"{url}/admin/chaos", json=body), 400, "malformed")
    assert word in problem["detail"]
    assert problem["errors"][0]["code"] == "plan"
    assert httpx.get(f"{url}/admin/chaos").json() == before


def test_what_is_no_json_is_not_read(url: str) -> None:
    response = httpx.put(f"{url}/admin/chaos", content=b"{}", headers={"content-type": "text/csv"})
    check_problem(response, 415, "unsupported-media-type")


def test_other_methods_are_refused(url: str) -> None:
    for response in (httpx.delete(f"{url}/admin/chaos"), httpx.post(f"{url}/admin/chaos")):
        check_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "GET, HEAD, PUT, OPTIONS"


def test_chaos_is_refused_where_it_was_not_allowed(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server:
        address = f"{server.url}/admin/chaos"
        for response in (httpx.get(address), httpx.put(address, json=PLAN)):
            check_problem(response, 403, "chaos-not-allowed")
        assert server.stop() == 0
        assert server.complaints == []


def test_only_admins_may(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    keys = tmp_path / "keys.json"
    tokens = {scope: create_key(keys, scope.name.lower(), scope).token for scope in Scope}
    with Server(data, "--allow-chaos", f"--keys-file={keys}") as server:
        address = f"{server.url}/admin/chaos"
        check_problem(httpx.put(address, json=PLAN), 401, "unauthorized")
        for scope, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"}
            responses = (
                httpx.get(address, headers=headers),
                httpx.put(address, json={}, headers=headers),
            )
            for response in responses:
                if scope is Scope.ADMIN:
                    assert response.status_code == 200
                else:
                    check_problem(response, 403, "forbidden")
