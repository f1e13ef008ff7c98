"""A server that tells whole numbers as strings: every address, both ways, and across restarts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore.client import LedgerClient, TransferIntent
from tests.support.openapi import find_faults
from tests.support.servers import Server, check_problem, run_command

LARGE = 2**53 + 1
ACCEPTS = ["*/*", "application/json", "application/json; integers=string", "text/html", "a/b;q=0"]
# Which way a request goes is its own choice: what is not plain goes the ordinary one.
WAYS: dict[str, dict[str, str]] = {"native": {}, "ordinary": {"X-Ordinary": "1"}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("strings") / "ledger"
    with Server(data, "--integers=string", "--workers-max=1", "--slow-request-ms=0") as server:
        with httpx.Client(base_url=server.url) as client:
            open_pair(client)
        yield server.url
        assert server.stop() == 0
        assert [told for told in server.complaints if not told.startswith("limit client_")] == []


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


def open_pair(client: httpx.Client) -> None:
    world = {"id": "world", "asset": "USD/2", "floor": None}
    assert client.post("/accounts", json=world).status_code == 201
    assert client.post("/accounts", json={"id": "a", "asset": "USD/2"}).status_code == 201


def move(client: httpx.Client, key: str, amount: Any, **headers: str) -> httpx.Response:
    body = {"from": "world", "to": "a", "amount": amount}
    return client.post("/transfer", json=body, headers={"Idempotency-Key": key} | headers)


def find_numbers(value: Any, path: str = "") -> list[str]:
    """Return where there are numbers in a value."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for name, part in inner for place in find_numbers(part, f"{path}/{name}")]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("way", WAYS)
def test_a_repeat_has_the_bytes_of_the_first_whatever_it_accepts(
    client: httpx.Client, way: str
) -> None:
    for first_accept in ACCEPTS:
        key = f"{way}-{first_accept.replace(' ', '')}"
        first = move(client, key, LARGE, Accept=first_accept, **WAYS[way])
        assert first.status_code == 201 and f'"amount":"{LARGE}"' in first.text
        for accept in ACCEPTS:
            for headers in WAYS.values():
                again = move(client, key, str(LARGE), Accept=accept, **headers)
                assert (again.status_code, again.content) == (201, first.content)
                assert again.headers["idempotent-replayed"] == "true"


def test_every_answer_has_strings(client: httpx.Client) -> None:
    first = move(client, "all", LARGE)
    body = first.json()
    assert find_numbers(body) == [] and body["amount"] == str(LARGE)
    assert first.headers["location"] == f"/transfers/{body['id']}"
    transfer = client.get(first.headers["location"]).json()
    assert transfer == body
    assert client.get("/idempotency-keys/all").json()["transfer"] == body
    refused = client.post(
        "/transfer",
        json={"from": "a", "to": "world", "amount": 2**63 - 1},
        headers={"Idempotency-Key": "refused"},
    )
    problem = check_problem(refused, 422, "insufficient-funds")
    assert find_numbers(problem) == ["/status"] and problem["amount"] == str(2**63 - 1)
    assert find_faults(problem, "components", "schemas", "Refusal") == []
    changed = client.patch("/accounts/a", json={"ceiling": str(2**62), "floor": f"-{LARGE}"})
    account = client.get("/accounts/a").json()
    assert changed.json() == account and find_numbers(account) == []
    assert (account["floor"], account["ceiling"]) == (f"-{LARGE}", str(2**62))
    assert int(account["balance"]) >= LARGE
    assert find_faults(account, "components", "schemas", "Account") == []
    page = client.get("/accounts").json()
    assert account in page["accounts"] and find_numbers(page) == []
    assert page["accounts"][0]["floor"] is None
    items = [
        {"idempotency_key": key, "from": "world", "to": "a", "amount": str(LARGE)}
        for key in ("all", "new")
    ]
    told = client.post("/transfers", json=items)
    assert find_numbers(told.json()) == []
    assert [item.get("replayed", False) for item in told.json()] == [True, False]
    assert told.json()[0]["id"] == body["id"]
    assert find_faults(told.json()[0], "components", "schemas", "BulkOutcome") == []
    audit = client.get("/audit").json()
    assert find_numbers(audit) == ["/accounts"] and audit["sums"] == {"USD/2": "0"}
    assert find_faults(audit, "components", "schemas", "Audit") == []
    for value, schema in ((body, "Transfer"), (transfer, "PastTransfer")):
        assert find_faults(value, "components", "schemas", schema) == []


def test_quotas_are_amounts(client: httpx.Client) -> None:
    changed = client.patch("/admin/limits", json={"client_quota": str(LARGE)})
    try:
        assert (changed.status_code, changed.json()["client_quota"]) == (200, str(LARGE))
        assert find_faults(changed.json(), "components", "schemas", "Limits") == []
        assert client.get("/admin/limits").json() == changed.json()
        told = client.get("/metrics").json()["limits"]["client_quota"]
        assert told == str(LARGE)
    finally:
        assert client.patch("/admin/limits", json={"client_quota": 0}).status_code == 200
    for value in ("01", "-1", "1.0", str(2**63)):
        check_problem(client.patch("/admin/limits", json={"client_quota": value}), 400, "malformed")
    # Only money may come so.
    check_problem(client.patch("/admin/limits", json={"client_rate": "5"}), 400, "malformed")


def test_the_client_library_reads_both(url: str) -> None:
    with LedgerClient(url) as client:
        result = client.transfer("world", "a", LARGE, key="client")
        assert (result.amount, result.is_applied) == (LARGE, True)
        found = client.find_transfer(result.id)
        assert found is not None and found.amount == LARGE
        assert client.find_key("client").transfer == found
        assert {account.id for account in client.accounts()} == {"world", "a"}
        (again,) = client.transfers([TransferIntent("world", "a", LARGE, key="client")])
        assert (again.id, again.replayed) == (result.id, True)
        assert client.audit().sums == {"USD/2": 0}


def test_a_repeat_has_the_bytes_of_the_first_across_restarts(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    firsts: dict[str, bytes] = {}
    for number, form in enumerate(["number", "string", "string", "number", "string"]):
        with (
            Server(data, f"--integers={form}", "--workers-max=1") as server,
            httpx.Client(base_url=server.url) as client,
        ):
            if number == 0:
                open_pair(client)
            for key, first in firsts.items():
                for headers in WAYS.values():
                    again = move(client, key, LARGE, **headers)
                    assert again.content == first
                item = {"idempotency_key": key, "from": "world", "to": "a", "amount": LARGE}
                (outcome,) = client.post("/transfers", json=[item]).json()
                assert outcome["id"] == json.loads(first)["id"]
            # What is no repeat is told as the server is told now.
            balance = client.get("/accounts/a").json()["balance"]
            assert balance == (str(number * LARGE) if form == "string" else number * LARGE)
            answer = move(client, f"k{number}", LARGE)
            assert (f'"amount":"{LARGE}"' in answer.text) == (form == "string")
            firsts[f"k{number}"] = answer.content
            # The last two end as by a power cut.
            if number < 3:
                assert server.stop() == 0
            else:
                server.kill()


def test_a_damaged_memory_refuses_the_start(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    with Server(data, "--integers=string", "--workers-max=1") as server:
        assert server.url and server.stop() == 0
    (data / "integers.json").write_text("{}")
    ended = run_command("serve", f"--data={data}", "--port=0")
    assert ended.returncode != 0
    assert "integers.json: it is damaged" in ended.stderr and "Traceback" not in ended.stderr
