"""Transfers, keys and the rest over real HTTP, against a real engine."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sanic.compat import Header

import ledgercore
from ledgercore.service.admission.admission import Client
from ledgercore.service.admission.limiter import Limiter
from ledgercore.service.routes import transfers
from ledgercore.service.wire.integer_forms import IntegerForms
from tests.support.servers import Server, balance, check_problem, fund, open_accounts, post_transfer

pytest_plugins = ["tests.support.serving"]

# -- transfers ------------------------------------------------------------------------------------


def test_transfer(client: httpx.Client, name: str) -> None:
    fund(client, name)
    response = post_transfer(client, name, f"{name}:a", f"{name}:b", 250, memo="rent")
    body = response.json()
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"] == f"/transfers/{body['id']}"
    assert "idempotent-replayed" not in response.headers
    assert list(body) == ["id", "status", "from", "to", "amount", "asset", "created_at"]
    assert (body["status"], body["amount"], body["asset"]) == ("applied", 250, "USD/2")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", body["created_at"])
    assert (balance(client, f"{name}:a"), balance(client, f"{name}:b")) == (750, 250)
    stored = client.get(response.headers["location"])
    assert stored.status_code == 200
    assert stored.json() == {**body, "memo": "rent"}


def test_replay_has_the_same_bytes(client: httpx.Client, name: str) -> None:
    fund(client, name)
    first = post_transfer(client, name, f"{name}:a", f"{name}:b", 250)
    replay = post_transfer(client, name, f"{name}:a", f"{name}:b", 250)
    assert (replay.status_code, replay.content) == (first.status_code, first.content)
    assert replay.headers["location"] == first.headers["location"]
    assert replay.headers["idempotent-replayed"] == "true"
    assert balance(client, f"{name}:b") == 250


def test_key_in_any_form_is_one_key(client: httpx.Client, name: str) -> None:
    fund(client, name)
    body = {"from": f"{name}:a", "to": f"{name}:b", "amount": 1}
    answers = [
        client.post("/transfer", json=body, headers={"Idempotency-Key": name}),
        client.post("/transfer", json=body, headers={"Idempotency-Key": f'"{name}"'}),
        client.post("/transfer", json={**body, "idempotency_key": name}),
    ]
    assert len({answer.content for answer in answers}) == 1
    assert balance(client, f"{name}:b") == 1


def test_an_amount_is_the_same_as_a_string(client: httpx.Client, name: str) -> None:
    fund(client, name)
    large = 2**53 + 1  # Which JavaScript has no number for.
    for key, amount, again in (("n", large, str(large)), ("s", str(large), large)):
        answers = [
            post_transfer(client, f"{name}-{key}", f"{name}:bank", f"{name}:a", told)
            for told in (amount, again)
        ]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert b'"amount":%d,' % large in answers[0].content
        other = post_transfer(client, f"{name}-{key}", f"{name}:bank", f"{name}:a", str(large + 1))
        check_problem(other, 422, "idempotency-key-reused")
    items = [
        {"idempotency_key": f"{name}-b", "from": f"{name}:bank", "to": f"{name}:a", "amount": told}
        for told in ("5", 5)
    ]
    assert [item["status"] for item in client.post("/transfers", json=items).json()] == [
        "applied"
    ] * 2
    assert balance(client, f"{name}:a") == 1000 + 2 * large + 5


def test_key_reused(client: httpx.Client, name: str) -> None:
    fund(client, name)
    first = post_transfer(client, name, f"{name}:a", f"{name}:b", 250)
    for amount, memo in ((251, {}), (250, {"memo": "x"})):
        other = post_transfer(client, name, f"{name}:a", f"{name}:b", amount, **memo)
        check_problem(other, 422, "idempotency-key-reused")
    again = post_transfer(client, name, f"{name}:a", f"{name}:b", 250)
    assert again.content == first.content
    assert balance(client, f"{name}:b") == 250


def prepare_refusals(client: httpx.Client, name: str) -> None:
    fund(client, name)
    open_accounts(client, [f"{name}:frozen"], frozen=True)
    open_accounts(client, [f"{name}:small"], ceiling=10)
    open_accounts(client, [f"{name}:full"], floor=None)
    response = client.post("/accounts", json={"id": f"{name}:eur", "asset": "EUR/2"})
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("source", "target", "amount", "http_status", "reason"),
    [
        ("nobody", "a", 1, 404, "source-not-found"),
        ("a", "nobody", 1, 404, "target-not-found"),
        ("a", "a", 1, 422, "same-account"),
        ("a", "eur", 1, 422, "asset-mismatch"),
        ("frozen", "a", 1, 422, "source-frozen"),
        ("a", "frozen", 1, 422, "target-frozen"),
        ("a", "b", 1001, 422, "insufficient-funds"),
        ("a", "small", 11, 422, "ceiling-exceeded"),
        ("bank", "a", 2**63 - 1, 422, "balance-overflow"),
    ],
)
def test_refusal_is_stored(
    client: httpx.Client,
    name: str,
    source: str,
    target: str,
    amount: int,
    http_status: int,
    reason: str,
) -> None:
    prepare_refusals(client, name)
    first = post_transfer(client, name, f"{name}:{source}", f"{name}:{target}", amount)
    body = check_problem(first, http_status, reason)
    assert (body["outcome"], body["reason"], body["amount"]) == ("refused", reason, amount)
    assert ("asset" in body) == (http_status != 404)
    # What was refused stays refused, and in the same bytes, whatever has changed since.
    open_accounts(client, [f"{name}:nobody"])
    client.patch(f"/accounts/{name}:frozen", json={"frozen": False})
    client.patch(f"/accounts/{name}:small", json={"ceiling": None})
    replay = post_transfer(client, name, f"{name}:{source}", f"{name}:{target}", amount)
    assert (replay.status_code, replay.content) == (first.status_code, first.content)
    assert replay.headers["idempotent-replayed"] == "true"
    stored = client.get(f"/transfers/{body['id']}").json()
    assert (stored["status"], stored["reason"]) == ("refused", reason)
    key = client.get(f"/idempotency-keys/{name}").json()
    assert (key["state"], key["transfer"]) == ("refused", stored)


def test_concurrent_retries_move_money_once(client: httpx.Client, url: str, name: str) -> None:
    fund(client, name)

    def retry(_: int) -> tuple[int, bytes]:
        with httpx.Client(base_url=url) as own:
            response = post_transfer(own, name, f"{name}:a", f"{name}:b", 250)
            return response.status_code, response.content

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(retry, range(32)))
    assert len(answers) == 1
    assert balance(client, f"{name}:b") == 250


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"from":"x","to":"y","amount":1.0}', "/amount"),
        (b'{"from":"x","to":"y","amount":true}', "/amount"),
        (b'{"from":"x","to":"y","amount":1e2}', "/amount"),
        (b'{"from":"x","to":"y","amount":0}', "/amount"),
        (b'{"from":"x","to":"y","amount":-1}', "/amount"),
        (b'{"from":"x","to":"y","amount":9223372036854775808}', "/amount"),
        (b'{"from":"x","to":"y","amount":NaN}', "/amount"),
        (b'{"from":"x","to":"y","amount":1,"amount":1}', "/amount"),
        (b'{"from":"x","to":"y","amount":1,"extra":1}', "/extra"),
        (b'{"from":"x","to":"y"}', "/amount"),
        (b'{"from":"%s","to":"y","amount":1}' % (b"x" * 65), "/from"),
        (b'{"from":"x","to":"y z","amount":1}', "/to"),
        (b'{"from":"x","to":"y","amount":1,"memo":"%s"}' % (b"x" * 1_048_576), ""),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_malformed_is_not_stored(
    client: httpx.Client, name: str, content: bytes, pointer: str
) -> None:
    before = client.get("/audit?journal=false").json()["lsn"]
    headers = {"Idempotency-Key": name, "Content-Type": "application/json"}
    response = client.post("/transfer", content=content, headers=headers)
    body = check_problem(response, 400, "malformed")
    assert pointer in [error["pointer"] for error in body["errors"]]
    assert client.get(f"/idempotency-keys/{name}").json()["state"] == "unseen"
    assert client.get("/audit?journal=false").json()["lsn"] == before


def test_key_missing(client: httpx.Client, name: str) -> None:
    response = client.post("/transfer", json={"from": "x", "to": "y", "amount": 1})
    check_problem(response, 400, "idempotency-key-missing")


def test_key_header_twice(client: httpx.Client, name: str) -> None:
    response = client.post(
        "/transfer",
        json={"from": "x", "to": "y", "amount": 1},
        headers=[("Idempotency-Key", name), ("Idempotency-Key", name)],
    )
    body = check_problem(response, 400, "malformed")
    assert body["errors"][0]["header"] == "Idempotency-Key"


def test_wrong_content_type(client: httpx.Client) -> None:
    for path in ("/transfer", "/transfers", "/accounts", "/admin/keys"):
        check_problem(client.post(path, content=b"{}"), 415, "unsupported-media-type")
        response = client.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
        check_problem(response, 415, "unsupported-media-type")


def test_body_beyond_the_limit_of_the_server(client: httpx.Client) -> None:
    response = client.post("/transfer", content=b" " * (3 * 1024 * 1024))
    check_problem(response, 413, "payload-too-large")


@pytest.mark.parametrize("number", ["0", "999999999999", "x", "-1", "1.0", "9" * 40, "01"])
def test_unknown_transfer(client: httpx.Client, number: str) -> None:
    check_problem(client.get(f"/transfers/{number}"), 404, "transfer-not-found")


def test_an_account_has_an_lsn_but_is_no_transfer(client: httpx.Client, name: str) -> None:
    lsn = client.get("/audit?journal=false").json()["lsn"]
    check_problem(client.get(f"/transfers/{lsn}"), 404, "transfer-not-found")


def test_key_states(client: httpx.Client, name: str) -> None:
    key = f'{name}/a%b"\\?#'
    path = f"/idempotency-keys/{quote(key, safe='')}"
    assert client.get(path).json() == {"key": key, "state": "unseen"}
    first = post_transfer(client, key, f"{name}:bank", f"{name}:a", 5)
    state = client.get(path).json()
    assert (state["key"], state["state"], state["transfer"]) == (key, "applied", first.json())


def test_malformed_key_in_the_path(client: httpx.Client) -> None:
    check_problem(client.get("/idempotency-keys/a%20b"), 400, "malformed")


# -- the ledger and the server --------------------------------------------------------------------


@pytest.mark.parametrize(("query", "journal"), [("", True), ("?journal=false", False)])
def test_audit(client: httpx.Client, name: str, query: str, journal: bool) -> None:
    fund(client, name)
    audit = client.get(f"/audit{query}", timeout=30).json()
    assert audit["ok"] is True
    assert audit["violations"] == []
    assert set(audit["sums"].values()) == {0}
    assert audit["journal_checked"] is journal


def test_health_and_readiness(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "durability": "sync"}


def test_unknown_address(client: httpx.Client) -> None:
    for path in ("/", "/transfer/", "/transfers", "/nothing", "/accounts/a/../../etc"):
        response = client.request("DELETE", path)
        assert response.status_code in (404, 405), path
        assert response.headers["content-type"] == "application/problem+json"
    check_problem(client.get("/nothing"), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/transfer", "POST, OPTIONS"),
        ("/accounts", "GET, HEAD, PATCH, POST, OPTIONS"),
        ("/accounts/a", "GET, HEAD, PATCH, OPTIONS"),
        ("/transfers/1", "GET, HEAD, OPTIONS"),
        ("/transfers", "POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
    ],
)
def test_methods(client: httpx.Client, path: str, allowed: str) -> None:
    response = client.delete(path)
    check_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allowed
    options = client.options(path)
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == allowed


def test_metrics_count(client: httpx.Client, name: str) -> None:
    before = client.get("/metrics").json()
    fund(client, name)
    after = client.get("/metrics").json()
    for counter, more in (("lsn_durable", 1), ("keys", 1), ("accounts", 0), ("queue_depth", 0)):
        assert after[counter] == before[counter] + more
    assert after["journal_groups_total"] > before["journal_groups_total"]
    assert after["active_workers"] == 2 and after["keys_max"] > after["keys"]
    for segment in after["segments"]:
        assert (segment["queue_depth"], segment["active_workers"]) == (0, 1)
        assert segment["busy_seconds_total"] >= 0
    assert len(after["segments"]) == 2


def test_head(client: httpx.Client, name: str) -> None:
    for path in (f"/accounts/{name}:a", "/accounts", "/healthz", "/audit?journal=false"):
        got = client.get(path)
        head = client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-length"] == got.headers["content-length"]


def test_answer_is_json_that_others_read(client: httpx.Client, name: str) -> None:
    response = post_transfer(client, name, f"{name}:bank", f"{name}:a", 2**53 + 1)
    assert json.loads(response.content)["amount"] == 2**53 + 1
    assert balance(client, f"{name}:a") == 2**53 + 1


def test_memory_says_so(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--durability=memory") as server:
        assert "durability=memory (no journal" in (server.url and server.stdout)
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/readyz").json()["durability"] == "memory"
            open_accounts(client, ["a", "b"], floor=None)
            assert post_transfer(client, "k", "a", "b", 1).status_code == 201
        assert server.stop() == 0


# -- durability of reads --------------------------------------------------------------------------


class HeldBack:
    """A lifecycle whose engine knows everything, and nothing of it is durable yet."""

    def __init__(self) -> None:
        account = ledgercore.Account("a", "USD/2", 5, 0, None, False, 0)
        transfer = ledgercore.Transfer(7, ledgercore.Status.APPLIED, "a", "b", 5, "USD/2", 0, None)
        self.durable = asyncio.Event()
        self.waited_for: list[int | None] = []
        self.batcher = SimpleNamespace(barrier=self._barrier)
        self.forms = IntegerForms()
        client = Client("", None, Limiter().find_client(""))
        self.admission = SimpleNamespace(
            identify=lambda token, scope, is_local: client, charge_request=lambda client: None
        )
        self.engine = SimpleNamespace(
            peek_account=lambda account_id: account,
            peek_accounts=lambda start, limit: [account],
            find_transfer=lambda number: transfer,
            find_key=lambda key, client: ledgercore.KeyState("applied", transfer),
        )

    async def _barrier(self, lsn: int | None = None) -> None:
        self.waited_for.append(lsn)
        await self.durable.wait()

    async def call(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)


@pytest.mark.parametrize(
    ("handler", "arguments", "lsn"),
    [
        (transfers.get_account, {"account_id": "a"}, None),
        (transfers.get_accounts, {}, None),
        (transfers.get_transfer, {"transfer_id": "7"}, 7),
        (transfers.get_key, {"key": "k"}, 7),
    ],
)
async def test_nothing_is_told_before_it_is_durable(
    handler: Any, arguments: dict[str, str], lsn: int | None
) -> None:
    lifecycle = HeldBack()
    app = SimpleNamespace(ctx=SimpleNamespace(lifecycle=lifecycle))
    request = SimpleNamespace(
        app=app, query_string="", headers=Header(), ctx=SimpleNamespace(), transport=None
    )
    answer = asyncio.ensure_future(handler(request, **arguments))
    await asyncio.sleep(0)
    assert lifecycle.waited_for == [lsn]
    assert not answer.done()
    lifecycle.durable.set()
    assert (await answer).status == 200
