"""Sends requests that are given, over several connections at once, and keeps every answer.

It is a process of its own, `python -m bench.stages.sender URL`, that does one thing for each line
of its input, and then writes a line of JSON. At `load FILE` it reads requests and connects; at
`send` each connection asks, waits, and asks again; at `keep FILE` it writes the answers down. So
what is timed from outside is nothing but the requests and their answers.
"""

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import click
import msgspec
import uvloop

from ..http import measure_answer, read_status, split_answer

DEADLINE_S = 60.0


class Sending:
    """The requests of one file on their way, and what all connections share."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests = requests
        self.answers: list[bytes] = [b""] * len(requests)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent = 0
        self._answered = 0
        if not requests:
            self.done.set_result(None)

    def take(self) -> int | None:
        """Return the number of the next request, or None if all are sent."""
        if self._sent == len(self.requests):
            return None
        self._sent += 1
        return self._sent - 1

    def keep(self, number: int, answer: bytes) -> None:
        """Keep an answer."""
        self.answers[number] = answer
        self._answered += 1
        if self._answered == len(self.requests):
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """End all: an answer is lost, or cannot be read."""
        if not self.done.done():
            self.done.set_exception(error)


class Connection(asyncio.Protocol):
    """One client, with one request on its way at a time."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._transport: asyncio.Transport | None = None
        self._number: int | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        # uvloop's transports have all the methods of this class, but are none of its instances.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self) -> None:
        """Send the next request, if there is one."""
        assert self._transport is not None
        self._number = self._sending.take()
        if self._number is not None:
            self._transport.write(self._sending.requests[self._number])

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; once it is whole, ask again."""
        buffer = self._buffer + data if self._buffer else data
        try:
            is_whole = len(buffer) >= measure_answer(buffer)
        except ValueError as error:
            self._sending.fail(error)
            return
        self._buffer = b"" if is_whole else buffer
        if is_whole and self._number is not None:
            self._sending.keep(self._number, buffer)
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if an answer was still to come."""
        if self._number is not None:
            self._sending.fail(exc or ConnectionError("the server hung up"))


class Sender:
    """What the lines of the input work on."""

    def __init__(self, url: str, connections: int) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or 80
        self._count = connections
        self._sending: Sending | None = None
        self._pairs: list[tuple[asyncio.WriteTransport, Connection]] = []

    async def connect(self, requests: list[bytes]) -> None:
        """Take requests, and connect anew."""
        for transport, _ in self._pairs:
            transport.abort()
        self._sending = Sending(requests)
        make, loop = partial(Connection, self._sending), asyncio.get_running_loop()
        self._pairs = [
            await loop.create_connection(make, *self._address) for _ in range(self._count)
        ]

    async def send(self) -> dict[str, float]:
        """Send all; return the seconds that it took, and those that this processor had to work."""
        assert self._sending is not None
        started, cpu_started = time.perf_counter(), time.process_time()
        for _, connection in self._pairs:
            connection.ask()
        await asyncio.wait_for(self._sending.done, DEADLINE_S)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
        return {"seconds": seconds, "cpu_s": cpu_s}

    def answers(self) -> list[tuple[int, bytes]]:
        """Return the status of HTTP and the body of each answer, in the order of the requests."""
        assert self._sending is not None
        answers = self._sending.answers
        return [(read_status(answer), split_answer(answer)[1]) for answer in answers]


@click.command()
@click.argument("url")
@click.option("--connections", default=64, show_default=True, help="Clients at a time.")
def main(url: str, connections: int) -> None:
    """Send to the server at URL what the lines of the input say."""
    sender = Sender(url, connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            told: dict[str, float] = {}
            command, _, path = line.strip().partition(" ")
            if command == "load":
                packed = Path(path).read_bytes()
                runner.run(sender.connect(msgspec.msgpack.decode(packed, type=list[bytes])))
            elif command == "send":
                told = runner.run(sender.send())
            else:
                Path(path).write_bytes(msgspec.msgpack.encode(sender.answers()))
            click.echo(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
