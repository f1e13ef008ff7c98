"""The hand-kept description of the addresses, as tests read it, and the requests that it shows.

This module owns which request an example stands for, and what is to answer it. It never asserts
anything, and never looks at the server's own code.

The examples of an operation are found by their names. A request takes the example of that name
from the body and from each parameter; a parameter without one takes its first if it has to be
there, and is left out otherwise. The answer is the one that has an example of the same name, which
for an error is the name of its problem; where none has, it is the first answer that is described.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

METHODS = ("get", "head", "post", "put", "patch", "delete")

TEXT = files("ledgercore.service").joinpath("openapi.json").read_text()
DOCUMENT: dict[str, Any] = json.loads(TEXT)
COMPONENTS: dict[str, Any] = DOCUMENT["components"]


def resolve(part: Any) -> Any:
    """Return what a reference within the document stands for, and anything else as it is."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        part = found
    return part


def point(*names: str) -> str:
    """Return the JSON pointer of a place in the document."""
    return "#/" + "/".join(name.replace("~", "~0").replace("/", "~1") for name in names)


_URI = "urn:openapi"
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(DOCUMENT))


def find_faults(value: Any, *names: str) -> list[str]:
    """Return what is wrong with a value by the schema at a place of the document.

    Members that the schema does not name are wrong too, unless it says that there are more.
    """
    pointer = quote(point(*names), safe="#/~")
    schema = {"$ref": f"{_URI}{pointer}", "unevaluatedProperties": False}
    validator = Draft202012Validator(
        schema, registry=_REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@dataclass(frozen=True)
class Call:
    """A request, ready to be sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True)
class Operation:
    """A method of an address, as it is described."""

    method: str
    path: str
    described: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @cached_property
    def parameters(self) -> list[dict[str, Any]]:
        both = DOCUMENT["paths"][self.path].get("parameters", []) + self.described.get(
            "parameters", []
        )
        return [resolve(parameter) for parameter in both]

    @cached_property
    def responses(self) -> dict[str, dict[str, Any]]:
        return {status: resolve(part) for status, part in self.described["responses"].items()}

    @cached_property
    def bodies(self) -> dict[str, Any]:
        """The examples of the body, by their names."""
        content = self.described.get("requestBody", {}).get("content", {})
        found: dict[str, Any] = content.get("application/json", {}).get("examples", {})
        return found

    @cached_property
    def examples(self) -> list[str]:
        """The names of all requests that are shown; of one without a name where there are none."""
        told = [name for part in self.parameters for name in part.get("examples", {})]
        unique = list(dict.fromkeys(list(self.bodies) or told)) or [""]
        return unique[:1] if self.method == "head" else unique

    @cached_property
    def problems(self) -> list[tuple[str, str]]:
        """The status, as it is described, and the name of each problem that may be the answer."""
        return [
            (status, name)
            for status, response in self.responses.items()
            for media_type, content in response.get("content", {}).items()
            if media_type == "application/problem+json"
            for name in content["examples"]
        ]

    def make_call(self, example: str, values: dict[str, Any] | None = None) -> Call:
        """Return the request of an example; `values` come before those of its parameters."""
        chosen = self._choose(example) | (values or {})
        places = {part["name"]: part["in"] for part in self.parameters}
        told = {name: _spell(value) for name, value in chosen.items()}
        target, query, headers = self.path, {}, {}
        for name, text in told.items():
            if places[name] == "path":
                target = target.replace(f"{{{name}}}", quote(text, safe=""))
            elif places[name] == "query":
                query[name] = text
            else:
                headers[name] = text
        body = None
        if self.bodies:
            body = json.dumps(self.bodies[example]["value"]).encode()
            headers["Content-Type"] = "application/json"
        target += f"?{urlencode(query)}" if query else ""
        return Call(self.method.upper(), target, headers, body)

    def _choose(self, example: str) -> dict[str, Any]:
        chosen = {}
        for part in self.parameters:
            known = part.get("examples", {})
            if example in known:
                chosen[part["name"]] = known[example]["value"]
            elif part.get("required"):
                chosen[part["name"]] = next(iter(known.values()))["value"]
        return chosen

    def find_answer(self, example: str) -> tuple[str, Any]:
        """Return the status that an example is answered with, and the body if one is shown."""
        for status, response in self.responses.items():
            for content in response.get("content", {}).values():
                shown = content.get("examples", {})
                if example in shown or (example == "" and shown and status[0] == "2"):
                    name = example or next(iter(shown))
                    return status, resolve(shown[name])["value"]
        return next(iter(self.responses)), None


def _spell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def list_operations() -> Iterator[Operation]:
    """Yield every operation, in the order of the document."""
    for path, item in DOCUMENT["paths"].items():
        for method, described in item.items():
            if method in METHODS:
                yield Operation(method, path, described)


OPERATIONS = list(list_operations())
EXAMPLES = [(operation, name) for operation in OPERATIONS for name in operation.examples]
