"""The hand-kept description beside the code: addresses, problems, schemas and ranges, both ways."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

import ledgercore
from ledgercore import AMOUNT_MAX, MEMO_BYTES_MAX, Status, match_account_id, match_asset, match_key
from ledgercore.client.signing import HEADER as SIGNATURE_HEADER
from ledgercore.service.access.key_ring import Scope
from ledgercore.service.access.nonces import WINDOW_S
from ledgercore.service.admission.guard import TIMEOUT_DIGITS_MAX, TIMEOUT_HEADER
from ledgercore.service.app import create_app
from ledgercore.service.chaos.plan import (
    DELAY_MAX_MS,
    FAULTS,
    SEED_MAX,
    SEGMENT_MAX,
    InvalidPlan,
    Plan,
    read_plan,
)
from ledgercore.service.routes.admin_limits import _KEY_CHECKS
from ledgercore.service.routes.docs import PARTS
from ledgercore.service.runtime.limits import LIMITS
from ledgercore.service.settings import RANGES, Settings
from ledgercore.service.wire import problems
from ledgercore.service.wire.bulk import ITEMS_MAX
from ledgercore.service.wire.json_bodies import (
    _ACCOUNT_CHECKS,
    _ACCOUNT_REQUIRED,
    _CHANGE_CHECKS,
    ERRORS_MAX,
    KEY_HEADER,
    TRANSFER_CHECKS,
    TRANSFER_REQUIRED,
    check_amount,
    check_limit,
)
from ledgercore.service.wire.paths import PAGE_DEFAULT, PAGE_MAX
from ledgercore.service.wire.problems import STATUS_KINDS, Kind
from tests.service.access.test_access import ROUTES
from tests.support.openapi import (
    COMPONENTS,
    DOCUMENT,
    EXAMPLES,
    OPERATIONS,
    TEXT,
    Operation,
    find_faults,
    resolve,
)

SCHEMAS: dict[str, Any] = COMPONENTS["schemas"]
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in [*vars(problems).values(), *STATUS_KINDS.values()]
    if isinstance(kind, Kind) and kind.http_status >= 400
}


def spell_template(path: str) -> str:
    """Return the template of Sanic as OpenAPI spells it; a slash at the end is neither's."""
    return "/" + re.sub(r"<(\w+):\w+>", r"{\1}", path.strip("/"))


def test_it_is_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == ledgercore.__version__


# -- addresses -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def routed() -> set[tuple[str, str]]:
    """Return every method and address of the router."""
    app = create_app(Settings())
    app.finalize()
    routes = app.router.routes
    return {(m.lower(), spell_template(route.path)) for route in routes for m in route.methods}


DESCRIBED = {(operation.method, spell_template(operation.path)) for operation in OPERATIONS}


def test_every_address_is_described(routed: set[tuple[str, str]]) -> None:
    assert routed - DESCRIBED == set()


def test_every_address_that_is_described_is_there(routed: set[tuple[str, str]]) -> None:
    assert DESCRIBED - routed == set()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_may_is_described(method: str, path: str) -> None:
    wanted = (method.lower(), spell_template(path))
    (operation,) = [o for o in OPERATIONS if (o.method, spell_template(o.path)) == wanted]
    scope = ROUTES[method, path][0]
    label = [] if scope is None else [scope.label]
    signatures: list[dict[str, list[str]]] = [{}, {"signature": []}]
    ways: list[dict[str, list[str]]] = [
        {token: label, **signature} for signature in signatures for token in ("bearer", "apiKey")
    ]
    assert operation.described["security"] == (ways if label else [])
    refusals = {"401", "403", "429"} & set(operation.responses)
    assert len(refusals) == (3 if label and operation.method != "head" else 0)


def test_operations_are_told_apart() -> None:
    ids = Counter(operation.described["operationId"] for operation in OPERATIONS)
    assert ids.most_common(1)[0][1] == 1
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert {tag for operation in OPERATIONS for tag in operation.described["tags"]} == set(tags)
    assert all(operation.described["summary"] for operation in OPERATIONS)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.method == "head"], ids=str)
def test_a_head_takes_what_its_get_takes(operation: Operation) -> None:
    (get,) = [o for o in OPERATIONS if (o.method, o.path) == ("get", operation.path)]
    assert operation.parameters == get.parameters
    assert operation.described["security"] == get.described["security"]


# -- problems --------------------------------------------------------------------------------------


def test_every_problem_is_described() -> None:
    assert KINDS.keys() - COMPONENTS["examples"].keys() == set()


def test_every_problem_that_is_described_is_one() -> None:
    assert COMPONENTS["examples"].keys() - KINDS.keys() == set()


@pytest.mark.parametrize("name", COMPONENTS["examples"])
def test_a_problem_is_described_as_it_is(name: str) -> None:
    described, kind = COMPONENTS["examples"][name], KINDS[name]
    value = described["value"]
    told = (value["type"], value["title"], value["status"])
    assert told == (kind.type, kind.title, kind.http_status)
    assert described["summary"] == kind.title and described["description"]
    is_refusal = value.get("outcome") == "refused"
    assert find_faults(value, "components", "schemas", "Refusal" if is_refusal else "Problem") == []
    outcomes = {STATUS_KINDS[status].name for status in Status if status.is_outcome}
    assert is_refusal == (name in outcomes)


def test_every_problem_is_some_address_answer() -> None:
    assert {name for operation in OPERATIONS for _, name in operation.problems} == KINDS.keys()


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_problems_have_their_status(operation: Operation) -> None:
    wrong = [
        (status, name)
        for status, name in operation.problems
        if status not in (str(KINDS[name].http_status), "default")
    ]
    assert wrong == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_asks_to_wait_says_so(operation: Operation) -> None:
    for status, response in operation.responses.items():
        assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))
        assert {"Traceparent", "X-Request-Id"} <= response["headers"].keys()


# -- schemas ---------------------------------------------------------------------------------------


def walk(part: Any, path: str = "#") -> Iterator[tuple[str, Any]]:
    """Yield every part of the document with its place."""
    yield path, part
    if isinstance(part, dict | list):
        inner = part.items() if isinstance(part, dict) else enumerate(part)
        for name, value in inner:
            yield from walk(value, f"{path}/{name}")


def test_nothing_is_described_for_nobody() -> None:
    used = {part["$ref"] for _, part in walk(DOCUMENT) if isinstance(part, dict) and "$ref" in part}
    used |= {f"#/components/securitySchemes/{name}" for name in ("bearer", "apiKey", "signature")}
    made = {f"#/components/{sort}/{name}" for sort, parts in COMPONENTS.items() for name in parts}
    assert made == used


def test_every_member_is_described() -> None:
    members = [
        (f"{path}/{name}", schema)
        for path, part in walk(SCHEMAS)
        if path.endswith("/properties")
        for name, schema in part.items()
    ]
    assert len(members) > 50
    bare = [path for path, schema in members if not resolve(schema).get("description")]
    assert bare == [] and all(schema.get("description") for schema in SCHEMAS.values())


CHECKS = {
    "TransferRequest": (TRANSFER_CHECKS, TRANSFER_REQUIRED),
    "BulkTransfer": (TRANSFER_CHECKS, TRANSFER_REQUIRED | {"idempotency_key"}),
    "AccountRequest": (_ACCOUNT_CHECKS, _ACCOUNT_REQUIRED),
    "AccountChanges": (_CHANGE_CHECKS, frozenset()),
    "LimitChanges": (LIMITS, frozenset()),
    "WorkerChanges": (("workers_min", "workers_max"), frozenset()),
    "ApiKeyRequest": (_KEY_CHECKS, frozenset(("name", "scope"))),
    "ChaosPlan": (("seed", *FAULTS), frozenset()),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_body_has_the_members_that_are_read(name: str) -> None:
    schema = SCHEMAS[name]
    members, required = CHECKS[name]
    assert set(schema["properties"]) == set(members)
    assert set(schema.get("required", [])) == required
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(("operation", "example"), [e for e in EXAMPLES if e[0].bodies])
def test_a_body_that_is_shown_is_well_formed(operation: Operation, example: str) -> None:
    names = ("requestBody", "content", "application/json", "schema")
    value = operation.bodies[example]["value"]
    faults = find_faults(value, "paths", operation.path, operation.method, *names)
    # Bounds that cross, no schema can tell.
    is_wrong = example == "malformed" and "inflight_min" not in value
    assert bool(faults) == is_wrong, faults


def pattern_of(match: Any) -> str:
    """Return the pattern that a bound method of it matches."""
    return str(match.__self__.pattern)


def test_texts_are_of_the_grammar() -> None:
    assert SCHEMAS["AccountId"]["pattern"] == f"^{pattern_of(match_account_id)}$"
    assert SCHEMAS["IdempotencyKey"]["pattern"] == f"^{pattern_of(match_key)}$"
    assert SCHEMAS["AssetName"]["pattern"] == f"^{pattern_of(match_asset)}$"
    for text in ("1", "250", "0", "-0", "-5", "007", " 1", "1 ", "+1", "1.0", str(AMOUNT_MAX)):
        for name, check in (("Amount", check_amount), ("Limit", check_limit)):
            assert (find_faults(text, "components", "schemas", name) == []) == (check(text) is None)
    assert SCHEMAS["Memo"]["maxLength"] == MEMO_BYTES_MAX
    assert set(SCHEMAS["Reason"]["enum"]) == {
        STATUS_KINDS[status].name
        for status in Status
        if status.is_outcome and status is not Status.APPLIED
    }
    scopes = [scope.label for scope in Scope]
    assert SCHEMAS["ApiKeyRequest"]["properties"]["scope"]["enum"] == scopes


def test_numbers_are_in_their_ranges() -> None:
    assert (SCHEMAS["Amount"]["minimum"], SCHEMAS["Amount"]["maximum"]) == (1, AMOUNT_MAX)
    for name in ("Limits", "LimitChanges", "Workers", "WorkerChanges"):
        for member, schema in SCHEMAS[name]["properties"].items():
            if member != "segments":
                range_name = member.replace("ceiling", "max")
                assert (schema["minimum"], schema["maximum"]) == RANGES[range_name]
    parameters = COMPONENTS["parameters"]
    assert parameters["Limit"]["schema"]["default"] == PAGE_DEFAULT
    assert parameters["Limit"]["schema"]["maximum"] == PAGE_MAX
    assert parameters["IdempotencyKey"]["name"] == KEY_HEADER
    assert parameters["TimeoutMs"]["name"] == TIMEOUT_HEADER
    assert parameters["TimeoutMs"]["schema"]["maximum"] == 10**TIMEOUT_DIGITS_MAX - 1
    assert parameters["File"]["schema"]["enum"] == list(PARTS)
    assert SCHEMAS["Problem"]["properties"]["errors"]["maxItems"] == ERRORS_MAX
    bulk = DOCUMENT["paths"]["/transfers"]["post"]["requestBody"]["content"]["application/json"]
    assert bulk["schema"]["maxItems"] == ITEMS_MAX


def test_limits_of_a_balance_are_those_of_the_ledger() -> None:
    lowest, highest = SCHEMAS["Limit"]["minimum"], SCHEMAS["Limit"]["maximum"]
    with ledgercore.open(None, durability="memory") as ledger:
        for number, limits in enumerate(({"floor": lowest}, {"ceiling": highest})):
            assert ledger.open_account(f"a{number}", asset="USD/2", **limits)
        for limits in ({"floor": lowest - 1}, {"ceiling": highest + 1}):
            assert all(
                check_limit(limit) is None or limit > AMOUNT_MAX for limit in limits.values()
            )
            with pytest.raises(ledgercore.InvalidArgument):
                ledger.open_account("beyond", asset="USD/2", **limits)


@pytest.mark.parametrize(
    "plan",
    [
        {"seed": SEED_MAX},
        {"seed": SEED_MAX + 1},
        {"latency": {"probability": 1, "ms": [0, DELAY_MAX_MS]}},
        {"slow_sync": {"probability": 1, "ms": [0, DELAY_MAX_MS + 1]}},
        {"stall_segment": {"probability": 0.5, "ms": [1, 2], "segment": SEGMENT_MAX}},
        {"stall_segment": {"probability": 0.5, "ms": [1, 2], "segment": SEGMENT_MAX + 1}},
        {"kill_worker": {"probability": 1.1}},
        {"fail_sync": None, "drop_after": {"probability": 0}},
        {"drop_before": {"probability": 0, "ms": [1, 2]}},
    ],
)
def test_a_plan_of_chaos_is_of_its_schema(plan: dict[str, Any]) -> None:
    try:
        is_plan = isinstance(read_plan(json.dumps(plan).encode()), Plan)
    except InvalidPlan:
        is_plan = False
    assert is_plan == (find_faults(plan, "components", "schemas", "ChaosPlan") == [])


def test_signatures_are_those_that_are_checked() -> None:
    signature = COMPONENTS["securitySchemes"]["signature"]
    assert signature["name"] == SIGNATURE_HEADER
    assert f"within {WINDOW_S} s" in signature["description"]


def test_a_reader_has_it_as_it_was_written() -> None:
    assert TEXT.endswith("\n}\n") and "\t" not in TEXT
    # One member of each name: a second one would be lost without a word.
    json.loads(TEXT, object_pairs_hook=check_names)


def check_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)
