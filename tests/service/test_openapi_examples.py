"""Every example of the description, sent to a real server: what it answers is what is described.

All of them go to one server, in the order of the document, as somebody would who reads it from the
top; so an answer that is shown is compared member by member.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from ledgercore.service.access.key_ring import Scope
from tests.support.keyed import make_key
from tests.support.openapi import (
    DOCUMENT,
    EXAMPLES,
    OPERATIONS,
    Call,
    Operation,
    find_faults,
    resolve,
)
from tests.support.servers import Server

# As the description tells its readers to start one; the rest lets them see what they may see.
DEMO = ("--demo-accounts 1000", "--demo-funds 100000")
FLAGS = [*" ".join(DEMO).split(), "--allow-chaos", "--workers-max=1"]

STANDARD = {"connection", "content-length", "content-type", "date", "transfer-encoding"}
"""What HTTP itself needs, and nobody has to describe."""

_VARIES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|lck_\w{8}_[\w-]{43}|lcs_[\w-]{43}|[0-9a-f]{8}")

TRACE = ("Traceparent", "X-Request-Id")

Key = tuple[str, str, str]


class Answer(NamedTuple):
    """An answer, as it came; of a stream its beginning."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def media_type(self) -> str:
        text: str = self.headers.get("content-type", "")
        return text.partition(";")[0]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve a ledger of its own, and ask as somebody who may do everything."""
    data = tmp_path_factory.mktemp("openapi") / "ledger"
    token = make_key(data, "root", Scope.ADMIN).token
    headers = {"Authorization": f"Bearer {token}"}
    with (
        Server(data, *FLAGS) as server,
        httpx.Client(base_url=server.url, headers=headers) as client,
    ):
        yield client
        assert server.stop() == 0


def send(client: httpx.Client, call: Call, **headers: str) -> Answer:
    """Return the answer to a request."""
    request = {"headers": call.headers | headers, "content": call.body}
    with client.stream(call.method, call.target, **request) as response:  # type: ignore[arg-type]
        is_endless = response.headers.get("content-type", "").startswith("text/event-stream")
        parts = response.iter_bytes()
        body = next(parts, b"") if is_endless else b"".join(parts)
        return Answer(response.status_code, response.headers, body)


@pytest.fixture(scope="module")
def answers(client: httpx.Client) -> dict[Key, Answer]:
    """Send every example once, in the order of the document."""
    return {
        (operation.method, operation.path, example): send(client, operation.make_call(example))
        for operation, example in EXAMPLES
    }


def find_response(operation: Operation, answer: Answer) -> dict[str, Any]:
    """Return what is described of such an answer of an operation."""
    return operation.responses.get(str(answer.status)) or operation.responses["default"]


def mask(value: Any) -> Any:
    """Return a value without what differs from server to server."""
    if isinstance(value, dict):
        return {name: mask(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner) for inner in value]
    if isinstance(value, str):
        return "…" if _VARIES.fullmatch(value) else value
    return 0.0 if isinstance(value, float) else value


# -- each example ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "example"), EXAMPLES, ids=str)
def test_an_example_is_answered_as_it_is_described(
    answers: dict[Key, Answer], operation: Operation, example: str
) -> None:
    answer = answers[operation.method, operation.path, example]
    status, shown = operation.find_answer(example)
    assert str(answer.status) == status, answer.body[:1000]
    content = operation.responses[status].get("content", {})
    if operation.method == "head" or not content:
        assert answer.body == b""
        return
    assert answer.media_type in content
    if answer.media_type.endswith("json"):
        value = json.loads(answer.body)
        place = locate(operation, status)
        assert find_faults(value, *place, "content", answer.media_type, "schema") == []
        check_shown(value, shown, content[answer.media_type]["schema"])


def locate(operation: Operation, status: str) -> list[str]:
    """Return where in the document an answer of an operation is."""
    reference: str | None = operation.described["responses"][status].get("$ref")
    if reference is not None:
        return reference.split("/")[1:]
    return ["paths", operation.path, operation.method, "responses", status]


def check_shown(value: Any, shown: Any, schema: dict[str, Any]) -> None:
    """Check that an answer is the one that is shown; figures of a moment by their names alone."""
    if shown is None:
        return
    if resolve(schema).get("additionalProperties") is True:
        assert value.keys() >= shown.keys()
    elif isinstance(shown, dict) and shown.get("type", "").endswith(":malformed"):
        # Each address has its own faults; one is shown for all.
        assert value["type"] == shown["type"] and value["errors"]
    else:
        assert mask(value) == mask(shown)


@pytest.mark.parametrize(("operation", "example"), EXAMPLES, ids=str)
def test_headers_are_those_that_are_described(
    answers: dict[Key, Answer], operation: Operation, example: str
) -> None:
    answer = answers[operation.method, operation.path, example]
    described = find_response(operation, answer)["headers"]
    # A HEAD has the headers of its GET, which describes them.
    if operation.method == "head":
        (get,) = [o for o in OPERATIONS if (o.method, o.path) == ("get", operation.path)]
        described = described | find_response(get, answer)["headers"]
    assert set(answer.headers) - STANDARD <= {name.lower() for name in described}
    for name, reference in described.items():
        header = resolve(reference)
        if name in TRACE:
            continue
        text = answer.headers.get(name)
        assert text is not None or not header.get("required"), name
        if text is not None:
            value = int(text) if header["schema"]["type"] == "integer" else text
            assert find_faults(value, "components", "headers", name, "schema") == []


def test_every_answer_has_its_trace(answers: dict[Key, Answer]) -> None:
    assert len(answers) == len(EXAMPLES)
    for answer in answers.values():
        for name in TRACE:
            faults = find_faults(answer.headers[name], "components", "headers", name, "schema")
            assert faults == []
        assert answer.headers["Traceparent"].split("-")[1] == answer.headers["X-Request-Id"]


def test_a_trace_goes_on(client: httpx.Client) -> None:
    (parameter,) = [part for part in OPERATIONS[0].parameters if part["name"] == "Traceparent"]
    sent: str = parameter["example"]
    answer = send(client, Call("GET", "/healthz", {"Traceparent": sent}, None))
    assert answer.headers["X-Request-Id"] == sent.split("-")[1]
    assert answer.headers["Traceparent"] != sent


# -- what the examples lead to ---------------------------------------------------------------------

LINKS = [
    (operation, status, name)
    for operation in OPERATIONS
    for status, response in operation.responses.items()
    for name in response.get("links", {})
]


@pytest.mark.parametrize(("operation", "status", "name"), LINKS, ids=str)
def test_a_link_leads_somewhere(
    client: httpx.Client,
    answers: dict[Key, Answer],
    operation: Operation,
    status: str,
    name: str,
) -> None:
    link = operation.responses[status]["links"][name]
    (target,) = [o for o in OPERATIONS if o.described["operationId"] == link["operationId"]]
    first = answers[operation.method, operation.path, operation.examples[0]]
    assert str(first.status) == status
    body = json.loads(first.body)
    values = {
        parameter: body[expression.removeprefix("$response.body#/")]
        for parameter, expression in link["parameters"].items()
    }
    answer = send(client, target.make_call("", values))
    assert answer.status in (200, 204), answer.body


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (operation.path, media_type)
        for operation in OPERATIONS
        if operation.path.startswith("/metrics") and operation.method == "get"
        for media_type in operation.responses["200"]["content"]
    ],
)
def test_an_accept_chooses_the_format(client: httpx.Client, path: str, media_type: str) -> None:
    answer = send(client, Call("GET", path, {}, None), Accept=media_type)
    assert answer.status == 200
    assert answer.media_type == media_type


def test_the_description_says_how_to_begin() -> None:
    assert f"`ledgercore serve {' '.join(DEMO)}`" in DOCUMENT["info"]["description"]
