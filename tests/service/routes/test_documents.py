"""Files as they are sent: read once, with a tag of their bytes, and when they need not be."""

import re
from hashlib import sha256
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest
from sanic.compat import Header

from ledgercore.service.routes.documents import POLICY, answer_document, load_document

PAGE = load_document("pages/live.html")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("openapi.json", "application/json"),
        ("pages/docs.html", "text/html; charset=utf-8"),
        ("pages/docs.css", "text/css; charset=utf-8"),
        ("pages/docs.js", "text/javascript; charset=utf-8"),
        ("pages/docs.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_read(path: str, content_type: str) -> None:
    document = load_document(path)
    assert document.body == files("ledgercore.service").joinpath(path).read_bytes()
    assert document.content_type == content_type
    assert document.tag == f'"{sha256(document.body).hexdigest()[:32]}"'


def test_files_of_others_are_those_that_their_note_names() -> None:
    vendor = files("ledgercore.service").joinpath("pages/vendor")
    note = vendor.joinpath("README.md")
    told = dict(re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", note.read_text(), re.M))
    there = {
        file.name: sha256(file.read_bytes()).hexdigest()
        for file in vendor.iterdir()
        if file.name != note.name
    }
    assert told == there
    assert "uPlot.LICENSE" in there and "uPlot 1.6.32" in note.read_text()
    assert b"(v1.6.32)" in vendor.joinpath("uPlot.iife.min.js").read_bytes()[:80]


@pytest.mark.parametrize("path", ["pages/nothing.html", "openapi.yaml"])
def test_what_is_not_there_is_an_error_at_once(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        load_document(path)


def test_a_page_may_load_what_is_here_and_nothing_else() -> None:
    sources = {source for rule in POLICY.split("; ") for source in rule.split(" ")[1:]}
    assert sources == {"'none'", "'self'"}
    assert POLICY.startswith("default-src 'none'; ")


def answer(*tags: str) -> Any:
    headers = Header([("if-none-match", tag) for tag in tags])
    request: Any = SimpleNamespace(headers=headers, app=SimpleNamespace(ctx=SimpleNamespace()))
    return answer_document(request, PAGE)


def test_a_document_is_sent_whole() -> None:
    response = answer()
    assert (response.status, response.body) == (200, PAGE.body)
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["etag"] == PAGE.tag
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("tags", [(PAGE.tag,), (f'"x", W/{PAGE.tag}',), ('"x"', PAGE.tag), ("*",)])
def test_what_the_client_has_is_not_sent_again(tags: tuple[str, ...]) -> None:
    response = answer(*tags)
    assert response.status == 304 and not response.body
    assert response.headers["etag"] == PAGE.tag


def test_another_tag_is_another_document() -> None:
    assert answer('"x"').status == 200
    assert load_document("pages/live.css").tag != PAGE.tag
