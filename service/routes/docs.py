"""The description of all addresses, for programs at `/openapi.json` and for people at `/docs`.

This module owns which file is at which address. They are the same for everybody and hold no secret,
so nobody is asked for a key, and they are there while the ledger is still recovering. It never
makes any of them: openapi.json is kept by hand, and its tests compare it with the server.
"""

from sanic import Blueprint
from sanic.response import HTTPResponse

from ..admission.guard import readable
from ..wire.sanic_types import AnyRequest
from .documents import answer_document, answer_part, load_document

docs_routes = Blueprint("docs")

_DESCRIPTION = load_document("openapi.json")
_PAGE = load_document("pages/docs.html")
PARTS = {name: load_document(f"pages/{name}") for name in ("docs.css", "docs.js", "docs.svg")}
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
    """Return a script, style or picture of the page."""
    return answer_part(request, PARTS, file)
