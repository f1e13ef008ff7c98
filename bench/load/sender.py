"""Sends requests that are given, over several connections at once, and keeps every answer.

It is a process of its own, `python -m bench.load.sender URL`, that does one thing for each line of
its input, and then writes a line of JSON. At `load FILE` it reads requests and connects; at `send`
the closed loop runs over them; at `keep FILE` it writes the answers down. So what is timed from
outside is nothing but the requests and their answers.
"""

import asyncio
import sys
from pathlib import Path

import click
import msgspec
import uvloop

from ..options import connections_option
from .http1 import read_status, split_answer
from .loops import ClosedLoop

DEADLINE_S = 60.0


class Sender:
    """What the lines of the input work on."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._connections = connections
        self._loop: ClosedLoop | None = None
        self._requests: list[bytes] = []

    async def connect(self, requests: list[bytes]) -> None:
        """Take requests, and connect anew."""
        if self._loop is not None:
            self._loop.close()
        self._requests = requests
        self._loop = await ClosedLoop(self._url, self._connections).__aenter__()

    async def send(self) -> dict[str, float]:
        """Send all; return the seconds that it took, and those that this processor had to work."""
        assert self._loop is not None
        course = await self._loop.run(iter(self._requests), deadline_s=DEADLINE_S, is_keeping=True)
        if course.lost:
            raise ConnectionError("the server hung up")
        return {"seconds": course.seconds, "cpu_s": course.cpu_s}

    def keep(self, path: Path) -> None:
        """Write the status of HTTP and the body of each answer, in the order of the requests."""
        assert self._loop is not None
        answers = self._loop.course.answers
        pairs = [(read_status(answer), split_answer(answer)[1]) for answer in answers]
        path.write_bytes(msgspec.msgpack.encode(pairs))


@click.command()
@click.argument("url")
@connections_option()
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
                sender.keep(Path(path))
            click.echo(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
