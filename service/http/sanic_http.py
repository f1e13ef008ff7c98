"""Sanic's reader and writer of a connection, as HTTP/1.1 wants them (RFC 9112).

This module owns how the head and the chunks of an ordinary request are waited for, what becomes of
the connection after it, and what an answer's head has in every case. What a head may look like is
for strict_framing.py. It never says what a request means.

Sanic's own reader takes for `Connection` one word, for chunked what is written in small letters,
and for an end of the body nothing but an empty line; it answers HTTP/1.0 in chunks, and names no
date. So the head is read here, and the rest of Sanic's reader goes on behind it.
"""

import re
from typing import Any

from sanic.compat import Header
from sanic.exceptions import BadRequest, ExpectationFailed, PayloadTooLarge, URITooLong
from sanic.headers import _HTTP1_STATUSLINES, format_http1_response
from sanic.http import Http
from sanic.http.constants import Stage
from sanic.http.http1 import HTTP_CONTINUE

from ..wire.problems import HEAD_TOO_LARGE, Problem
from ..wire.transfer_answer import format_date
from .strict_framing import find_fault

EXTENSION_BYTES_MAX = 1024
"""What the extensions of all chunks of a body may have together. Nothing reads them."""
TRAILER_BYTES_MAX = 4096
"""What may stand between the last chunk and the end of a body. Nothing reads it either."""

# Sanic knows no name of this one.
_HTTP1_STATUSLINES[421] = b"HTTP/1.1 421 Misdirected Request\r\n"

_LINE = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+"
# The end of the line before, a size, maybe extensions; and the same as far as it has arrived.
_match_chunk = re.compile(
    rb"\r\n([0-9A-Fa-f]{1,16}+)(;[\t -~]{0,%d})?\r\n" % EXTENSION_BYTES_MAX
).match
_match_partial_chunk = re.compile(
    rb"(?:\r(?:\n(?:[0-9A-Fa-f]{1,16}+(?:;[\t -~]{0,%d})?\r?)?)?)?" % EXTENSION_BYTES_MAX
).fullmatch
_match_trailers = re.compile(rb"(?:%b\r\n)*+\r\n" % _LINE).match
_match_partial_trailers = re.compile(
    rb"(?:%b\r\n)*+(?:\r|[!#$%%&'*+.^_`|~0-9A-Za-z-]++(?::[\t -~\x80-\xff]*+\r?)?)?" % _LINE
).fullmatch


class StrictHttp(Http):
    """Sanic's reader of a connection, with a reader of heads and chunks of its own."""

    __slots__ = ("extension_bytes", "is_waiting")

    extension_bytes: int
    """What the extensions of this request's chunks have had so far."""
    is_waiting: bool
    """Whether the client is waited for within a line between the chunks, part of which is there."""

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self.is_waiting = False

    async def http1(self) -> None:
        """Serve the requests of a connection, until it is to be closed."""
        await super().http1()  # type: ignore[no-untyped-call]
        if self.request_body:
            self._note_cut()

    async def error_response(self, exception: Exception) -> None:
        """Answer a request that has failed; what is wrong with a head may go on behind it."""
        if self.stage is Stage.REQUEST:
            self._note_cut()
        await super().error_response(exception)

    def _note_cut(self) -> None:
        """Let the protocol know that the client may still be sending what was refused."""
        protocol: Any = self.protocol
        protocol.is_cut_short = True

    # -- the head ------------------------------------------------------------------------------

    async def http1_request_header(self) -> None:
        """Read a head. Raises BadRequest at the first byte that no head has."""
        self.extension_bytes = 0
        end = await self._await_head()
        head = bytes(self.recv_buffer[:end])
        line, *lines = head.decode("latin-1").split("\r\n")
        try:
            method, self.url, protocol = line.split(" ")
            target = self.url.encode("ascii")
            headers = Header([_split_line(line) for line in lines])
        except ValueError:
            raise BadRequest("the head is malformed") from None
        self.head_only = method == "HEAD"
        version = protocol[5:]
        owner: Any = self.protocol
        # This refuses what is not strictly right.
        request = owner.request_class(
            target, headers, version, method, owner.transport, owner.app, head
        )
        owner.request_class._current.set(request)
        self.keep_alive = _stays_open(headers, version)
        self._prepare_body(headers, version)
        # One line end stays where chunks follow, as before each of them.
        del self.recv_buffer[: end + (2 if "transfer-encoding" in headers else 4)]
        self.request, request.stream = request, self
        owner.state["requests_count"] += 1

    async def _await_head(self) -> int:
        """Wait for a head, and return where its last line ends."""
        buffer: bytearray = self.recv_buffer
        seen = 0
        while True:
            if buffer.startswith(b"\r\n"):
                # Nothing is under way after an empty line, however long that takes.
                del buffer[:2]
                if not buffer:
                    self.stage = Stage.IDLE
                    await self._receive_more()
                    self.stage = Stage.REQUEST
                continue
            end = buffer.find(b"\r\n\r\n", max(seen - 3, 0))
            if end >= 0:
                break
            # What is seen by now ends in no fault, but maybe in half a line end.
            if find_fault(buffer, max(seen - 1, 0)):
                raise BadRequest("the head is malformed")
            seen = len(buffer)
            if seen > self.HEADER_MAX_SIZE:
                break
            await self._receive_more()
        if not 0 <= end < self.HEADER_MAX_SIZE:
            self._refuse_size()
        return end

    def _refuse_size(self) -> None:
        if self.recv_buffer.find(b"\r\n", 0, self.HEADER_MAX_SIZE) < 0:
            raise URITooLong("the request line is too long")
        detail = f"The head is longer than {self.HEADER_MAX_SIZE} bytes."
        raise Problem(HEAD_TOO_LARGE, detail)

    def _prepare_body(self, headers: Header, version: str) -> None:
        """Find out whether a body follows, and whether the client waits to be asked for it."""
        self.request_bytes_left = self.request_bytes = 0
        length = headers.getone("content-length", None)
        if "transfer-encoding" in headers:
            self.request_body = "chunked"  # type: ignore[assignment]  # As Sanic has it.
        elif length is not None:
            self.request_body = True  # type: ignore[assignment]
            try:
                self.request_bytes_left = self.request_bytes = int(length)
            except ValueError:  # Digits, but more of them than int() takes.
                raise BadRequest("the length of the body is no number") from None
        # HTTP/1.0 knows nothing between a request and its answer (RFC 9110, 10.1.1).
        expected = headers.getall("expect", ()) if version != "1.0" and self.request_body else ()
        if any(text.lower() != "100-continue" for text in expected):
            raise ExpectationFailed("only 100-continue can be expected")
        self.expecting_continue = bool(expected)

    # -- the body ------------------------------------------------------------------------------

    async def read(self) -> bytes | None:
        """Return some bytes of the body; None at its end. Raises BadRequest."""
        if self.expecting_continue and (self.request_bytes or 0) > self.request_max_size:
            self.keep_alive = False
            raise PayloadTooLarge("the body is too large to be asked for")
        coding: object = self.request_body
        if coding == "chunked" and self.request_bytes_left == 0 and await self._await_chunk() == 0:
            await self._drop_trailers()
            self.request_body = None
            return None
        return await Http.read(self)

    async def _await_chunk(self) -> int:
        """Wait for the line with the size of the next chunk, strictly right, and return the size.

        The line of the last one is dropped.
        """
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(HTTP_CONTINUE)
        while not (found := _match_chunk(self.recv_buffer)):
            if not _match_partial_chunk(self.recv_buffer):
                self._refuse_chunk()
            await self._await_line()
        self.extension_bytes += len(found[2] or b"")
        if self.extension_bytes > EXTENSION_BYTES_MAX:
            self._refuse_chunk()
        size = int(found[1], 16)
        if size == 0:
            end = found.end()
            del found  # It holds the buffer, which must not change its size meanwhile.
            del self.recv_buffer[:end]
        return size

    async def _drop_trailers(self) -> None:
        """Wait for the end of the body, and forget what stands before it."""
        buffer = self.recv_buffer
        while not (found := _match_trailers(buffer)):
            if len(buffer) > TRAILER_BYTES_MAX or not _match_partial_trailers(buffer):
                self._refuse_chunk()
            await self._await_line()
        end = found.end()
        del found
        if end > TRAILER_BYTES_MAX:
            self._refuse_chunk()
        del buffer[:end]

    async def _await_line(self) -> None:
        self.is_waiting = True
        try:
            await self._receive_more()
        finally:
            self.is_waiting = False

    def _refuse_chunk(self) -> None:
        self.keep_alive = False
        raise BadRequest("a chunk is malformed")

    # -- the answer ----------------------------------------------------------------------------

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Send the head of an answer, and all of it where it is here."""
        headers = self.response.headers
        headers["date"] = format_date()
        if self.expecting_continue and self.response.status >= 400:
            self._ask_for_nothing()
        elif self.request_body and (self.request_bytes or 0) > self.protocol.request_max_size:
            self.keep_alive = False  # So much of what is left is not read to its end.
        is_whole = end_stream or bool(getattr(self.response, "body", None))
        if is_whole or "content-length" in headers or self.request.version != "1.0":
            await Http.http1_response_header(self, data, end_stream)
            return
        # HTTP/1.0 knows no chunks: the end of the connection is that of the answer.
        self.keep_alive = False
        headers["connection"] = "close"
        head = format_http1_response(self.response.status, self.response.processed_headers)
        self.response_func = self.head_response_ignored if self.head_only else self._send_plain
        self.stage = Stage.RESPONSE
        await self._send(head if self.head_only else head + data)

    def _ask_for_nothing(self) -> None:
        """Refuse a request with `Expect` whose body was not asked for; it may or may not come."""
        self.expecting_continue = self.keep_alive = False
        self.request_body = None
        self._note_cut()

    async def _send_plain(self, data: bytes, end_stream: bool) -> None:
        if data:
            await self._send(data)
        if end_stream:
            self.response_func = None  # type: ignore[assignment]  # As Sanic has it.
            self.stage = Stage.IDLE

    async def head_response_ignored(  # type: ignore[override]  # Sanic awaits it as well.
        self, data: bytes, end_stream: bool
    ) -> None:
        """Send nothing of an answer to HEAD but its head."""
        await self._send_plain(b"", end_stream)


def _split_line(line: str) -> tuple[str, str]:
    """Return a header line's name, in small letters, and its value. Raises ValueError."""
    name, value = line.split(":", 1)
    return name.lower(), value.strip(" \t")


def _stays_open(headers: Header, version: str) -> bool:
    """Return whether a connection is to stay after a request (RFC 9112, 9.3)."""
    words = {
        word.strip(" \t").lower()
        for line in headers.getall("connection", ())
        for word in line.split(",")
    }
    return "close" not in words and (version != "1.0" or "keep-alive" in words)
