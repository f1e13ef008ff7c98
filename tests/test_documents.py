"""Documents: how a file of the package is sent, and when it need not be."""

from types import SimpleNamespace
from typing import Any

import pytest
from sanic.compat import Header

from service.documents import POLICY, answer_document, load_document

PAGE = load_document("pages/live.html")


def answer(*tags: str) -> Any:
    request: Any = SimpleNamespace(headers=Header([("if-none-match", tag) for tag in tags]))
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


def test_nothing_comes_from_anywhere_else() -> None:
    assert "'none'" in POLICY and "unsafe" not in POLICY and "http" not in POLICY
