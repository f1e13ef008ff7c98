"""The static pages of this package, served with their security and cache headers.

This module owns how such a file is sent: its type, its tag and what a browser may do with it. It
never makes or changes one.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from sanic.response import HTTPResponse

from ..wire.base_path import base_path_of, put_on_document
from ..wire.problems import NOT_FOUND, Problem
from ..wire.sanic_types import AnyRequest

POLICY = "; ".join(
    [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""What a page may load: what this server sends, and nothing from anywhere else."""

_HEADERS = {
    # It may be kept, and is asked for each time, so that nobody sees the page of a server that was.
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}


class Document(NamedTuple):
    """A file as it is sent. Its tag is of its bytes, so that it changes when they do."""

    body: bytes
    content_type: str
    tag: str


def load_document(path: str) -> Document:
    """Read a file of this package, by its path in it."""
    body = files("ledgercore.service").joinpath(path).read_bytes()
    return _make_document(body, _TYPES[path.rpartition(".")[2]])


def _make_document(body: bytes, content_type: str) -> Document:
    return Document(body, content_type, f'"{sha256(body).hexdigest()[:32]}"')


@lru_cache
def _place(document: Document, base: str) -> Document:
    """Return a file as it is below the path of a server."""
    return _make_document(put_on_document(base, document.body), document.content_type)


def answer_document(request: AnyRequest, document: Document) -> HTTPResponse:
    """Return a file; or that it is still the one that the client has (RFC 9110, 13.1.2)."""
    if base := base_path_of(request.app):
        document = _place(document, base)
    headers = {"etag": document.tag} | _HEADERS
    known = [
        tag.strip().removeprefix("W/")
        for line in request.headers.getall("if-none-match", ())
        for tag in line.split(",")
    ]
    if document.tag in known or "*" in known:
        return HTTPResponse(status=304, headers=headers)
    return HTTPResponse(document.body, headers=headers, content_type=document.content_type)


def answer_part(request: AnyRequest, parts: Mapping[str, Document], name: str) -> HTTPResponse:
    """Return the answer that gives a page what it is made of. Raises the problem `not-found`."""
    document = parts.get(name)
    if document is None:
        raise Problem(NOT_FOUND, "There is nothing at this address.")
    return answer_document(request, document)
