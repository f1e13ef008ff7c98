"""The base path under which a proxy serves this server: removed from requests, added to answers.

This module owns both, and nothing of what lies below that path.

A server that is at https://example.com/ledger for its clients is told `--base-path /ledger`. Some
proxies hand on what was asked as it is, others take the path off. Both are understood. What is told
to clients, the addresses in `Location`, in the pages and in /openapi.json, has the path on it; and
what they sign is what they have asked (signatures.py).
"""

from typing import Any

from sanic import Sanic
from sanic.response import BaseHTTPResponse

from .answers import PreparedResponse
from .sanic_types import AnyRequest

_LOCATION = b"\r\nlocation: /"


def take_off(base: str, target: bytes) -> bytes:
    """Return a target without the path of a server, as if it had none."""
    if not has_base(base, target):
        return target
    rest = target[len(base) :]
    return rest if rest.startswith(b"/") else b"/" + rest


def has_base(base: str, target: bytes) -> bool:
    """Return whether a target is at or below a path. Nothing is below none."""
    return (
        base != ""
        and target.startswith(base.encode())
        and target[len(base) : len(base) + 1] in (b"", b"/", b"?")
    )


def put_on_reply(base: str, reply: bytes) -> bytes:
    """Return a whole answer with the path in its `Location`, if it has one."""
    # The head comes first, and no body of ours has the end of a line in it.
    return reply.replace(_LOCATION, _LOCATION[:-1] + base.encode() + b"/", 1)


def put_on_document(base: str, body: bytes) -> bytes:
    """Return a page, or the description of the API, with the path before its addresses."""
    path = base.encode()
    for start in (b'href="/', b'src="/', b'"servers": [{"url": "/'):
        body = body.replace(start, start[:-1] + path + b"/")
    return body


def install_base_path(app: Sanic[Any, Any], base: str) -> None:
    """Let an app serve under a path."""
    app.ctx.base_path = base
    if base:
        app.register_middleware(_put_on_response, "response")


def base_path_of(app: Sanic[Any, Any]) -> str:
    """Return the path under which an app serves; an empty one where it has none."""
    base: str = getattr(app.ctx, "base_path", "")
    return base


async def _put_on_response(request: AnyRequest, response: BaseHTTPResponse) -> None:
    base = base_path_of(request.app)
    if isinstance(response, PreparedResponse):
        response.prepared = [
            (name, base.encode() + value if name == b"location" else value)
            for name, value in response.prepared
        ]
    elif response.headers.get("location", "").startswith("/"):
        response.headers["location"] = base + response.headers["location"]
