"""A client's connection to a server: a request out, its answer in, and what fails in between.

This module owns sockets, and the ways in which they fail. It never decides what is sent, and
retries nothing.
"""

import asyncio
import socket
import struct
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from .http1 import AnswerReader, read_status

NO_CONNECTION, LOST, UNREADABLE = "no-connection", "lost", "unreadable"
"""What may happen in the place of an answer."""

CLOSING = b"connection: close"
_NO_LINGER = struct.pack("ii", 1, 0)

Address = tuple[int, Any]
"""A family of sockets, and an address as it takes one."""


class Receiver(Protocol):
    """The receiver of the answer to a request: one of these is called, once."""

    def receive_answer(self, status: int, answer: bytes) -> None:
        """Take a whole answer, with its head."""

    def receive_failure(self, failure: str, reason: str) -> None:
        """Take the name of what happened in the place of an answer, and why in words."""


class Connection(asyncio.Protocol):
    """An open connection, with at most one request on its way."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader()
        self._is_waiting = False
        self._end = LOST, "the server hung up"
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to send."""
        # uvloop's transports have all the methods of this class, but are none of its instances.
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def send(self, request: bytes) -> None:
        """Send a request, whose answer or failure the receiver is told."""
        assert self._transport is not None
        self._is_waiting = True
        if self.is_open:
            self._transport.write(request)
        else:
            self._fail(*self._end)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; once it is whole, hand it on."""
        try:
            answer = self._reader.feed(data)
            if answer is None:
                return
            status = read_status(answer)
            if not self._is_waiting:
                raise ValueError("an answer that nobody asked for")
        except ValueError as error:
            self._fail(UNREADABLE, str(error))
            return
        self._is_waiting = False
        if status >= 400 and CLOSING in answer.lower():
            self.close()
        if self._receiver is not None:
            self._receiver.receive_answer(status, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver, if it still waits."""
        if self.is_open:
            self._fail(LOST, str(exc or "the server hung up"))

    def close(self) -> None:
        """Hang up, and tell nobody."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Hang up and forget the receiver, who has no interest in what still comes."""
        self._receiver = None
        self.close()

    def _fail(self, failure: str, reason: str) -> None:
        receiver, is_waiting = self._receiver, self._is_waiting
        self._end = failure, reason
        self._is_waiting = False
        self.close()
        if receiver is not None and is_waiting:
            receiver.receive_failure(failure, reason)


class Link:
    """A client's way to the server: its connection, opened again whenever it is gone."""

    def __init__(self, address: Address, receiver: Receiver, connect_timeout_s: float) -> None:
        self._address = address
        self._receiver = receiver
        self._connect_timeout_s = connect_timeout_s
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None

    def send(self, request: bytes) -> None:
        """Send a request, over a new connection if there is none."""
        if self._connection is not None and self._connection.is_open:
            self._connection.send(request)
        else:
            self._opening = asyncio.create_task(self._open_and_send(request))

    async def open(self) -> None:
        """Open the connection before it is needed. Raises OSError if that cannot be done."""
        self._connection = await open_connection(
            self._address, self._receiver, self._connect_timeout_s
        )

    def hang_up(self) -> None:
        """Close the connection and forget what is on its way."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None

    async def _open_and_send(self, request: bytes) -> None:
        try:
            await self.open()
        except OSError as error:
            self._opening = None
            self._receiver.receive_failure(NO_CONNECTION, str(error))
            return
        self._opening = None
        assert self._connection is not None
        self._connection.send(request)


async def open_connection(address: Address, receiver: Receiver, timeout_s: float) -> Connection:
    """Return a connection that is open. Raises OSError."""
    sock = await connect(address, timeout_s)
    try:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(receiver), sock=sock)
    except BaseException:
        sock.close()
        raise
    return connection


async def find_address(url: str) -> Address:
    """Return where to connect to for a URL. Raises OSError for a name that nobody knows."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    loop = asyncio.get_running_loop()
    family, _, _, _, where = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    return family, where


async def connect(address: Address, timeout_s: float) -> socket.socket:
    """Return a socket that is connected, and is reset when it is closed.

    A client that hangs up as often as these do would otherwise leave a port behind each time, which
    is of no use to anybody for a minute, and soon find none that is free.
    """
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
