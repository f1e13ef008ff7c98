"""POST /transfers: its grammar, its order, its answers, and its bounds, on a real server."""

import json
from typing import Any

import httpx
import pytest

from ledgercore.service.wire import bulk
from ledgercore.service.wire.json_bodies import ERRORS_MAX
from ledgercore.service.wire.problems import Problem
from tests.support.servers import balance, check_problem, fund, post_transfer

pytest_plugins = ["tests.support.serving"]


def item(key: str, source: str, target: str, amount: Any = 1, **more: Any) -> dict[str, Any]:
    return {"idempotency_key": key, "from": source, "to": target, "amount": amount, **more}


def post(client: httpx.Client, items: Any, **headers: str) -> httpx.Response:
    content = items if isinstance(items, bytes) else json.dumps(items).encode()
    return client.post(
        "/transfers", content=content, headers={"content-type": "application/json", **headers}
    )


def fault_of(body: bytes, items_max: int = bulk.ITEMS_MAX) -> Problem:
    with pytest.raises(Problem) as caught:
        bulk.read_transfers(body, items_max)
    return caught.value


# -- the grammar ----------------------------------------------------------------------------------


def test_an_empty_array_is_no_transfers() -> None:
    assert bulk.read_transfers(b" [ ] ") == []


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"", "", "empty"),
        (b"{}", "", "array-expected"),
        (b"nonsense", "", "not-json"),
        (b"[{}", "", "not-json"),
        (b"[1,]", "", "not-json"),
        (b"[] []", "", "not-json"),
        (b"[\xff]", "", "not-utf8"),
        (b"[" * 100_000, "", "too-deep"),
        (b"[1]", "/0", "object-expected"),
        (b'[{"a":1,"a":2}]', "/0/a", "duplicate"),
        (b'[{"from":"a","to":"b","amount":1}]', "/0/idempotency_key", "missing"),
    ],
)
def test_faults_are_named(body: bytes, pointer: str, code: str) -> None:
    problem = fault_of(body)
    assert problem.errors is not None
    assert (problem.errors[0]["pointer"], problem.errors[0]["code"]) == (pointer, code)


def test_the_index_of_each_fault_is_named() -> None:
    good = item("k", "a", "b")
    body = json.dumps([good, item("k", "a", "b", 1.5), good, item("k", "", "b", unknown=1)])
    problem = fault_of(body.encode())
    assert problem.errors is not None
    assert [error["pointer"] for error in problem.errors] == ["/1/amount", "/3/from", "/3/unknown"]


def test_faults_are_bounded() -> None:
    names = b",".join(b'"%d":1' % number for number in range(1000))
    for body in (b"[" + b"1," * 10_000 + b"1]", b"[{" + names + b"}]"):
        problem = fault_of(body)
        assert problem.errors is not None and len(problem.errors) <= 2 * ERRORS_MAX


def test_items_are_bounded() -> None:
    items = [item(f"k-{number}", "a", "b") for number in range(3)]
    assert len(bulk.read_transfers(json.dumps(items).encode(), 3)) == 3
    assert fault_of(json.dumps(items).encode(), 2).kind.name == "payload-too-large"


def test_one_item_is_bounded() -> None:
    """What one item may hold is what one body may; an array in an array cannot fill the memory."""
    problem = fault_of(b"[[" + b"[]," * 1_000_000 + b"[]]]")
    assert problem.errors is not None and problem.errors[0]["code"] == "not-json"


# -- over HTTP ------------------------------------------------------------------------------------


def test_a_later_one_spends_what_an_earlier_one_brought(client: httpx.Client, name: str) -> None:
    bank, a, b = f"{name}:bank", f"{name}:a", f"{name}:b"
    answer = post(
        client,
        [
            item(f"{name}-1", a, b, 5),
            item(f"{name}-2", bank, a, 5),
            item(f"{name}-3", a, b, 5),
            item(f"{name}-4", a, b, 5),
        ],
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert [one["status"] for one in told] == ["refused", "applied", "applied", "refused"]
    assert [one.get("reason") for one in told] == [
        "insufficient-funds",
        None,
        None,
        "insufficient-funds",
    ]
    ids = [one["id"] for one in told]
    assert ids == list(range(ids[0], ids[0] + 4))
    assert (balance(client, a), balance(client, b)) == (0, 5)
    for one, key in zip(told, (f"{name}-{number}" for number in range(1, 5)), strict=True):
        found = client.get(f"/transfers/{one['id']}").json()
        assert found["status"] == one["status"] and found["created_at"] == one["created_at"]
        assert client.get(f"/idempotency-keys/{key}").json()["transfer"]["id"] == one["id"]


def test_the_keys_are_those_of_single_transfers(client: httpx.Client, name: str) -> None:
    fund(client, name)
    first = post_transfer(client, f"{name}-1", f"{name}:a", f"{name}:b", 7).json()
    told = post(
        client,
        [
            item(f"{name}-1", f"{name}:a", f"{name}:b", 7),
            item(f"{name}-1", f"{name}:a", f"{name}:b", 8),
            item(f"{name}-2", f"{name}:a", f"{name}:b", 1, memo="für dich"),
        ],
    ).json()
    assert told[0] == {
        "id": first["id"],
        "status": "applied",
        "created_at": first["created_at"],
        "replayed": True,
    }
    assert told[1] == {"status": "not-stored", "reason": "idempotency-key-reused"}
    assert client.get(f"/transfers/{told[2]['id']}").json()["memo"] == "für dich"
    again = post_transfer(client, f"{name}-2", f"{name}:a", f"{name}:b", 1, memo="für dich")
    assert again.headers["idempotent-replayed"] == "true" and again.json()["id"] == told[2]["id"]
    assert balance(client, f"{name}:b") == 8


def test_asking_again_moves_nothing(client: httpx.Client, name: str) -> None:
    items = [item(f"{name}-{n}", f"{name}:bank", f"{name}:a", n + 1) for n in range(2_000)]
    first = post(client, items).json()
    again = post(client, items).json()
    assert again == [one | {"replayed": True} for one in first]
    assert balance(client, f"{name}:a") == sum(range(1, 2_001))


def test_one_malformed_item_refuses_all(client: httpx.Client, name: str) -> None:
    items = [item(f"{name}-{n}", f"{name}:bank", f"{name}:a") for n in range(10)]
    items[7]["amount"] = 1.5
    body = check_problem(post(client, items), 400, "malformed")
    assert [error["pointer"] for error in body["errors"]] == ["/7/amount"]
    assert balance(client, f"{name}:a") == 0
    assert client.get(f"/idempotency-keys/{name}-0").json()["state"] == "unseen"


def test_escapes_are_read_by_the_whole_grammar(client: httpx.Client, name: str) -> None:
    content = json.dumps([item(f"{name}-1", f"{name}:bank", f"{name}:a", memo="ü")]).encode()
    assert b"\\u00fc" in content
    told = post(client, content).json()
    assert client.get(f"/transfers/{told[0]['id']}").json()["memo"] == "ü"


def test_no_transfers_are_no_answers(client: httpx.Client) -> None:
    assert post(client, []).json() == []


def test_unknown_accounts_are_told_apart(client: httpx.Client, name: str) -> None:
    told = post(
        client,
        [
            item(f"{name}-1", f"{name}:nobody", f"{name}:a"),
            item(f"{name}-2", f"{name}:bank", f"{name}:nobody"),
        ],
    ).json()
    assert [one["reason"] for one in told] == ["source-not-found", "target-not-found"]


def test_a_body_in_chunks_is_taken(client: httpx.Client, name: str) -> None:
    items = [item(f"{name}-{n}", f"{name}:bank", f"{name}:a") for n in range(3_000)]
    content = json.dumps(items).encode()
    parts = (content[at : at + 1000] for at in range(0, len(content), 1000))
    answer = client.post("/transfers", content=parts, headers={"content-type": "application/json"})
    assert [one["status"] for one in answer.json()] == ["applied"] * 3_000


def test_a_hundred_thousand_at_once_and_not_one_more(client: httpx.Client, name: str) -> None:
    items = [item(f"{name}-{n}", f"{name}:bank", f"{name}:a") for n in range(bulk.ITEMS_MAX)]
    told = post(client, items).json()
    assert len(told) == bulk.ITEMS_MAX and {one["status"] for one in told} == {"applied"}
    assert balance(client, f"{name}:a") == bulk.ITEMS_MAX
    items.append(item(f"{name}-more", f"{name}:bank", f"{name}:a"))
    check_problem(post(client, items), 413, "payload-too-large")
    assert balance(client, f"{name}:a") == bulk.ITEMS_MAX


def test_a_body_that_is_too_long_is_refused(client: httpx.Client, url: str) -> None:
    length = bulk.BODY_BYTES_MAX + 1
    with httpx.Client(base_url=url) as other:
        answer = post(other, b"[" + b" " * (length - 2) + b"]")
    check_problem(answer, 413, "payload-too-large")


@pytest.mark.parametrize(
    ("headers", "status", "name"),
    [
        ({"idempotency-key": "k"}, 400, "malformed"),
        ({"content-type": "text/plain"}, 415, "unsupported-media-type"),
    ],
)
def test_heads_that_are_refused(
    client: httpx.Client, headers: dict[str, str], status: int, name: str
) -> None:
    check_problem(post(client, [], **headers), status, name)
    assert client.get("/healthz").status_code == 200


def test_the_methods_of_the_address(client: httpx.Client) -> None:
    check_problem(client.get("/transfers"), 405, "method-not-allowed")
