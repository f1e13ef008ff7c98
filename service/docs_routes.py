"""The description of all addresses, for programs at `/openapi.json` and for people at `/docs`.

This module owns how these files are served. They are the same for everybody and hold no secret, so
nobody is asked for a key, and they are there while the ledger is still recovering. It never makes
any of them: openapi.json is kept by hand, and its tests compare it with the server.
"""

from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from sanic import Blueprint
from sanic.response import HTTPResponse

from .authorization import AnyRequest, readable
from .problems import NOT_FOUND, Problem

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
"""What the page may load: what this server sends, and nothing from anywhere else."""

_HEADERS = {
    # It may be kept, and is asked for each time, so that nobody reads of a server that was.
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

docs_routes = Blueprint("docs")


class Document(NamedTuple):
    """A file as it is sent. Its tag is of its bytes, so that it changes when they do."""

    body: bytes
    content_type: str
    tag: str


def _load(path: str, content_type: str) -> Document:
    body = files(__package__).joinpath(path).read_bytes()
    return Document(body, content_type, f'"{sha256(body).hexdigest()[:32]}"')


_DESCRIPTION = _load("openapi.json", "application/json")
_PAGE = _load("pages/docs.html", "text/html; charset=utf-8")
PARTS = {
    "docs.css": _load("pages/docs.css", "text/css; charset=utf-8"),
    "docs.js": _load("pages/docs.js", "text/javascript; charset=utf-8"),
    "docs.svg": _load("pages/docs.svg", "image/svg+xml"),
}
"""What the page is made of."""


@readable(docs_routes, "/openapi.json")
async def get_description(request: AnyRequest) -> HTTPResponse:
    """Describe every address to a program."""
    return answer_document(request, _DESCRIPTION)


@readable(docs_routes, "/docs")
async def get_page(request: AnyRequest) -> HTTPResponse:
    """Describe every address to a person."""
    return answer_document(request, _PAGE)


@readable(docs_routes, "/docs/<file:str>")
async def get_part(request: AnyRequest, file: str) -> HTTPResponse:
    """Give the page what it is made of."""
    document = PARTS.get(file)
    if document is None:
        raise Problem(NOT_FOUND, "There is nothing at this address.")
    return answer_document(request, document)


def answer_document(request: AnyRequest, document: Document) -> HTTPResponse:
    """Return a file; or that it is still the one that the client has (RFC 9110, 13.1.2)."""
    headers = {"etag": document.tag} | _HEADERS
    known = [
        tag.strip().removeprefix("W/")
        for line in request.headers.getall("if-none-match", ())
        for tag in line.split(",")
    ]
    if document.tag in known or "*" in known:
        return HTTPResponse(status=304, headers=headers)
    return HTTPResponse(document.body, headers=headers, content_type=document.content_type)
