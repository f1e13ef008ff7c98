"""Files as they are sent: read once, with a tag of their bytes."""

from hashlib import sha256
from importlib.resources import files

import pytest

from service.documents import POLICY, load_document


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
    assert document.body == files("service").joinpath(path).read_bytes()
    assert document.content_type == content_type
    assert document.tag == f'"{sha256(document.body).hexdigest()[:32]}"'


@pytest.mark.parametrize("path", ["pages/nothing.html", "openapi.yaml"])
def test_what_is_not_there_is_an_error_at_once(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        load_document(path)


def test_a_page_may_load_what_is_here_and_nothing_else() -> None:
    sources = {source for rule in POLICY.split("; ") for source in rule.split(" ")[1:]}
    assert sources == {"'none'", "'self'"}
    assert POLICY.startswith("default-src 'none'; ")
