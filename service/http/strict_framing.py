"""Strict framing: what the head of a request may look like on the wire.

This module owns the strict grammar of heads (RFC 9112) on the ordinary path. What two readers on
one connection take for different requests can carry one past the first of them. So whatever is not
exactly right is refused: 400, and the connection is closed, so that nothing behind it is read as a
request. It never mends anything, and never says what a request means.

StrictRequest is made of every whole head, whatever protocol serves the app. sanic_http.py refuses
one that can no longer become right without waiting for its end.
"""

import re
import time
from typing import Any

from sanic import Request
from sanic.compat import Header
from sanic.exceptions import BadRequest, BadURL

from ..wire.base_path import base_path_of, take_off
from ..wire.json_bodies import BODY_BYTES_MAX
from ..wire.problems import CONTENT_ENCODED, LENGTH_REQUIRED, Problem

WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
"""Whose requests say how long their bodies are. Where one does not, what follows it might be its
body or the next request, and so it is refused, and the connection closed.
"""

# The request line and the header lines: names are tokens (RFC 9110, 5.6.2) directly before their
# colon; values have no control characters, and what is beyond ASCII means nothing (5.5). A fragment
# is no part of a target.
_match_head = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++ [!\"$-~]++ HTTP/1\.[01]"
    rb"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+)*+"
).fullmatch
# Of the headers that mean something here, none may have such text.
_find_beyond_ascii = re.compile(
    rb"\r\n(?:host|content-[a-z]++|transfer-encoding|connection|expect|idempotency-key|accept"
    rb"|authorization|x-api-key|x-signature|x-request-timeout-ms|traceparent|if-none-match"
    rb"|origin|sec-fetch-site):[\t -~]*+[\x80-\xff]",
    re.IGNORECASE,
).search
# A name, an IPv4 address or one of IPv6 in brackets, and maybe a port (RFC 3986, 3.2.2).
_match_host = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?[\t ]*"
).fullmatch
# What a target begins with that is no path; whether the host is one of ours is for origins.py.
_match_authority = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+://[^/?]*+").match
_match_length = re.compile(r"[0-9]++[\t ]*").fullmatch
# What no head has: control characters, and line ends that are not whole. A CR at the end may
# become one.
find_fault = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)").search


def check_head(head: bytes, method: str, version: str, headers: Header) -> None:
    """Raise BadRequest where a head, without its last empty line, is not strictly right.

    The method, the version and the headers are those that were read from it. Raises the problem
    `length-required` where a body may follow of which nobody knows the end.
    """
    if not _match_head(head) or (not head.isascii() and _find_beyond_ascii(head)):
        raise BadRequest("the head is malformed")
    hosts = headers.getall("host", ())
    if not (len(hosts) == 1 and _match_host(hosts[0])) and (hosts or version != "1.0"):
        raise BadRequest("there is not one good Host")
    lengths = headers.getall("content-length", ())
    codings = headers.getall("transfer-encoding", ())
    if lengths or codings:
        if len(lengths) + len(codings) > 1:
            raise BadRequest("the length of the body is told twice")
        if lengths and not _match_length(lengths[0]):
            raise BadRequest("the length of the body is no number")
        if codings and (version == "1.0" or codings[0].strip(" \t").lower() != "chunked"):
            raise BadRequest("the coding of the body is not chunked")
    elif method in WITH_BODY:
        detail = "Say how long the body is in Content-Length, be it 0, or send it in chunks."
        raise Problem(LENGTH_REQUIRED, detail)


def check_encoding(headers: Header) -> None:
    """Refuse a body that would have to be decoded before it can be read."""
    if "content-encoding" not in headers:
        return
    lines = headers.getall("content-encoding")
    codings = {coding.strip(" \t").lower() for line in lines for coding in line.split(",")}
    if not codings <= {"identity", ""}:
        detail = "Send the body as it is, without Content-Encoding."
        raise Problem(CONTENT_ENCODED, detail, headers={"accept-encoding": "identity"})


def strip_authority(target: bytes) -> bytes:
    """Return a target without the scheme and the host that it may begin with, as if to a proxy.

    Such a one need not have a path, which is `/` then (RFC 9110, 4.2.3).
    """
    found = _match_authority(target)
    if found is None:
        return target
    rest = target[found.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


class StrictRequest(Request[Any, Any]):
    """A request with a head that is strictly right: making one of any other raises BadRequest."""

    __slots__ = ("started_ns",)

    started_ns: int
    """When its head was read, by CLOCK_MONOTONIC."""

    def __init__(
        self,
        url_bytes: bytes,
        headers: Header,
        version: str,
        method: str,
        transport: Any,
        app: Any,
        head: bytes = b"",
        stream_id: int = 0,
    ) -> None:
        make = super().__init__
        self.started_ns = time.monotonic_ns()
        if head:
            check_head(head, method, version, headers)
            path = take_off(base_path_of(app), strip_authority(url_bytes))
            make(path, headers, version, method, transport, app, head, stream_id)
            self.raw_url = url_bytes  # As it was asked, and signed.
            return
        # Sanic makes one without a head to answer what it could not read, and would fail once more
        # at a target that is none.
        try:
            make(url_bytes, headers, version, method, transport, app)
        except BadURL:
            make(b"*", headers, version, method, transport, app)

    async def receive_body(self) -> None:
        """Receive the body; of one that is too long, keep only what tells that it is.

        Otherwise each connection could hold all that the server reads of a body.
        """
        if self.body:
            return
        kept = bytearray()
        stream: Any = self.stream
        async for part in stream:
            kept += part[: BODY_BYTES_MAX + 1 - len(kept)]
        self.body = bytes(kept)
