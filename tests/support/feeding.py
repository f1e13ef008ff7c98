"""The server's end of a connection without a socket, fed piece by piece in the loop of a server.

This module owns the exact order of what a protocol sees: every piece is one call, with a turn of
the loop between two of them. It never asserts anything.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.support.local import LocalServer, mask
from tests.support.waiting import DEADLINE_S


class FedTransport(asyncio.Transport):
    """A transport that keeps what is written, and closes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.protocol: Any = None
        self._loop = asyncio.get_running_loop()
        self._is_closing = False
        self.closed = asyncio.Event()

    @property
    def count_ordinary(self) -> int:
        """How many requests Sanic has read."""
        return int(self.protocol.state["requests_count"])

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep no limits: all is written at once."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing:
            self.written += data

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Let the client close as well, as most do."""
        if not self.protocol.eof_received():
            self.close()

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self._lose)

    def abort(self) -> None:
        self.close()

    def _lose(self) -> None:
        self.protocol.connection_lost(None)
        self.closed.set()


async def open_fed(server: LocalServer) -> FedTransport:
    """Begin a connection, and let Sanic wait for its first bytes."""
    transport = FedTransport()
    transport.protocol = server.protocol(loop=server.loop, app=server.app, connections=set())
    transport.protocol.connection_made(transport)
    await asyncio.sleep(0)
    return transport


async def wait_in_loop(condition: Callable[[], bool]) -> None:
    """Return once the condition holds, which is looked at after every turn of the loop."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # What is watched has no event.
            await asyncio.sleep(0)


async def feed(server: LocalServer, pieces: Iterable[bytes]) -> FedTransport:
    """Return the transport of a connection that got these pieces, once the server has closed it."""
    transport = await open_fed(server)
    for piece in pieces:
        transport.protocol.data_received(piece)
        await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE_S):
        await transport.closed.wait()
    return transport


_VARYING = (
    (re.compile(rb'"id":[0-9]+'), b'"id":N'),
    (re.compile(rb"location: /transfers/[0-9]+"), b"location: /transfers/N"),
    (re.compile(rb"content-length: [0-9]+"), b"content-length: N"),
)


def mask_ids(answers: bytes) -> bytes:
    """Return answers as `mask` does, without ids as well, and the lengths that come with them."""
    for pattern, text in _VARYING:
        answers = pattern.sub(text, answers)
    return mask(answers)
