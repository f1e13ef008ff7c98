"""What a request may look like on the wire before Sanic's own reader is believed.

This module owns the strict grammar of heads and of chunked bodies (RFC 9112) on the ordinary path.
Sanic's reader takes more than that, and what two readers on one connection take for different
requests can carry one past the first of them. Whatever is not exactly right is refused here: 400,
and the connection is closed, so that nothing behind it is read as a request. It never mends
anything, and never says what a request means.

Two things refuse. StrictRequest is made of every whole head, whatever protocol serves the app.
StrictHttp is for protocols of our own: it also reads chunks strictly, and refuses a head that can
no longer become right without waiting for its end.
"""

import re
import time
from collections.abc import Coroutine
from typing import Any

from sanic import Request
from sanic.compat import Header
from sanic.exceptions import BadRequest, BadURL
from sanic.http import Http
from sanic.http.http1 import HTTP_CONTINUE

EXTENSION_BYTES_MAX = 1024
"""What the extensions of all chunks of a body may have together. Nothing reads them."""

WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
"""Whose requests say how long their bodies are. Where one does not, what follows it might be its
body or the next request, and so it is refused: 400, since 411 would promise that the rest is fine.
"""

# The request line and the header lines: names are tokens (RFC 9110, 5.6.2) directly before their
# colon; values are ASCII without control characters, since of other text Sanic's reader takes off
# what Unicode calls spaces. A fragment is no part of a target.
_match_head = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++ [!\"$-~]++ HTTP/1\.[01]"
    rb"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+)*+"
).fullmatch
# A name, an IPv4 address or one of IPv6 in brackets, and maybe a port (RFC 3986, 3.2.2).
_match_host = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?[\t ]*"
).fullmatch
_match_length = re.compile(r"[0-9]++[\t ]*").fullmatch
# What no head has: control characters, and line ends that are not whole. A CR at the end may
# become one.
_find_fault = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)").search
# The end of the line before, a size, maybe extensions; and the same as far as it has arrived.
_match_chunk = re.compile(
    rb"\r\n([0-9A-Fa-f]{1,16}+)(;[\t -~]{0,%d})?\r\n" % EXTENSION_BYTES_MAX
).match
_match_partial_chunk = re.compile(
    rb"(?:\r(?:\n(?:[0-9A-Fa-f]{1,16}+(?:;[\t -~]{0,%d})?\r?)?)?)?" % EXTENSION_BYTES_MAX
).fullmatch


def check_head(head: bytes, method: str, version: str, headers: Header) -> None:
    """Raise BadRequest where a head, without its last empty line, is not strictly right.

    The method, the version and the headers are those that were read from it.
    """
    if not _match_head(head):
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
        if codings and (version == "1.0" or codings[0] != "chunked"):
            raise BadRequest("the coding of the body is not chunked")
    elif method in WITH_BODY:
        raise BadRequest("the length of the body is not told")


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
            make(url_bytes, headers, version, method, transport, app, head, stream_id)
            return
        # Sanic makes one without a head to answer what it could not read, and would fail once more
        # at a target that is none.
        try:
            make(url_bytes, headers, version, method, transport, app)
        except BadURL:
            make(b"*", headers, version, method, transport, app)


class StrictHttp(Http):
    """Sanic's reader of a connection, with strict chunks, and heads refused as soon as they can.

    Where there is nothing to wait for, Sanic's own coroutine is returned, and not one around it.
    """

    __slots__ = ("extension_bytes",)

    extension_bytes: int
    """What the extensions of this request's chunks have had so far."""

    def http1_request_header(self) -> Coroutine[Any, Any, None]:
        """Read a head. Raises BadRequest at the first byte that no head has."""
        self.extension_bytes = 0
        if b"\r\n\r\n" in self.recv_buffer:
            return Http.http1_request_header(self)  # type: ignore[no-untyped-call]
        return self._await_head()

    async def _await_head(self) -> None:
        seen = 0
        while self.recv_buffer.find(b"\r\n\r\n", max(seen - 3, 0)) < 0:
            # What is seen by now ends in no fault, but maybe in half a line end.
            if _find_fault(self.recv_buffer, max(seen - 1, 0)):
                raise BadRequest("the head is malformed")
            seen = len(self.recv_buffer)
            if seen > self.HEADER_MAX_SIZE:
                break
            await self._receive_more()
        await Http.http1_request_header(self)  # type: ignore[no-untyped-call]

    def read(self) -> Coroutine[Any, Any, bytes | None]:
        """Return some bytes of the body; None at its end. Raises BadRequest."""
        coding: object = self.request_body
        if coding == "chunked" and self.request_bytes_left == 0:
            return self._read_chunk()
        return Http.read(self)

    async def _read_chunk(self) -> bytes | None:
        await self._await_chunk()
        return await Http.read(self)

    async def _await_chunk(self) -> None:
        """Wait until the line with the size of the next chunk is there, strictly right."""
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(HTTP_CONTINUE)
        while not (found := _match_chunk(self.recv_buffer)):
            if not _match_partial_chunk(self.recv_buffer):
                self._refuse_chunk()
            await self._receive_more()
        self.extension_bytes += len(found[2] or b"")
        after = self.recv_buffer[found.end() : found.end() + 2]
        # Trailers are legal, and nobody needs them: Sanic takes none either, but waits for two
        # bytes before it says so.
        is_wrong = int(found[1], 16) == 0 and not b"\r\n".startswith(after)
        if is_wrong or self.extension_bytes > EXTENSION_BYTES_MAX:
            self._refuse_chunk()

    def _refuse_chunk(self) -> None:
        self.keep_alive = False
        raise BadRequest("a chunk is malformed")
