"""One load process: takes its share of a plan, loads, tells how far it is, and checks at the end.

It reads orders from its standard input, a line each, and writes messages to its standard output.
When the input ends, whoever started it is gone, and so is it. It prints nothing for people.
"""

import asyncio
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from ..load.alarm import sleep_until
from ..load.link import find_address
from .clients import CLIENTS, CLOCK, Client, Crew
from .loops import ClosedLoop, Loop, OpenLoop
from .messages import CHECK, GO, LEAVE, STOP, Loaded, Message, Order, Ready, decode_order, encode
from .plan import Share
from .samples import Recorder
from .verification import Checker

TICK_S = 0.02
TELL_S = 0.25
STOP_GRACE_S = 1.0
CONNECTING_MAX = 64
LINE_BYTES_MAX = 1 << 20


class Worker:
    """The load of one process, from the plan to the end of the checks."""

    def __init__(self, share: Share, folder: Path, orders: asyncio.StreamReader) -> None:
        self._share = share
        self._plan = share.plan
        self._folder = folder
        self._orders = orders

    async def work(self) -> None:
        """Do as ordered. Returns when there is nothing left to do."""
        crew = Crew(self._share, await find_address(self._plan.url))
        clients = [CLIENTS[kind](crew) for kind in self._share.kinds()]
        # A few at a time, since a server has but so much patience.
        for start in range(0, len(clients), CONNECTING_MAX):
            few = clients[start : start + CONNECTING_MAX]
            await asyncio.gather(*(client.open() for client in few))
        write_message(Ready())
        order = await self._next_order()
        if order.what != GO:
            return
        crew.recorder = Recorder(order.at_s)
        loop = self._make_loop(crew, clients, order.at_s)
        next_order = asyncio.create_task(self._next_order())
        await sleep_until(order.at_s)
        await self._load(loop, crew, order.at_s, next_order)
        self._keep(crew)
        order = await next_order
        if order.what == STOP:
            # It may also have come when the load had just ended by itself.
            order = await self._next_order()
        if order.what == CHECK:
            checker = Checker(
                crew.address, self._plan, crew.recorder.samples(), crew.recorder.names
            )
            write_message(await checker.check(self._name_file("moves")))

    def _make_loop(self, crew: Crew, clients: list[Client], started_s: float) -> Loop:
        if self._plan.rate is not None:
            return OpenLoop(crew, clients, started_s, self._share.arrivals())
        return ClosedLoop(crew, clients, started_s, self._share.transfers())

    async def _load(
        self, loop: Loop, crew: Crew, started_s: float, order: "asyncio.Task[Order]"
    ) -> None:
        """Load to the end, which any order brings nearer; tell how far it is meanwhile."""
        end_s = started_s + self._plan.offering_s + self._plan.deadline_s + STOP_GRACE_S

        def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            """End the load with what was raised where nobody else would notice."""
            if not loop.done.done():
                error = context.get("exception") or RuntimeError(context["message"])
                loop.done.set_exception(error)

        def stop(_: object) -> None:
            nonlocal end_s
            loop.stop()
            end_s = CLOCK() + STOP_GRACE_S

        asyncio.get_running_loop().set_exception_handler(fail)
        order.add_done_callback(stop)
        tell_at_s = started_s  # What was used of the processor before is not the load's.
        try:
            while not loop.done.done() and (now_s := CLOCK()) < end_s:
                if now_s >= tell_at_s:
                    tell_progress(crew, started_s)
                    tell_at_s = now_s + TELL_S
                loop.tick(now_s)
                await asyncio.wait([loop.done], timeout=TICK_S)
        finally:
            loop.close()
        if loop.done.done():
            loop.done.result()
        tell_progress(crew, started_s)

    def _keep(self, crew: Crew) -> None:
        """Write what was recorded into a file, and tell where it is."""
        samples = self._name_file("samples")
        np.save(samples, crew.recorder.samples())
        offered = crew.progress.counts.offered
        wanted = offered if self._plan.seconds is not None else self._share.transfers()
        write_message(Loaded(samples, crew.recorder.names, is_complete=offered >= wanted))

    def _name_file(self, what: str) -> str:
        return str(self._folder / f"{what}-{self._share.index}.npy")

    async def _next_order(self) -> Order:
        line = await self._orders.readline()
        return decode_order(line) if line else Order(LEAVE)


def write_message(message: Message) -> None:
    """Write a message."""
    sys.stdout.buffer.write(encode(message) + b"\n")
    sys.stdout.buffer.flush()


def tell_progress(crew: Crew, started_s: float) -> None:
    """Tell how far the load is, and begin the next interval."""
    progress = crew.progress
    progress.at_s = CLOCK() - started_s
    progress.cpu_s = time.process_time()
    progress.waited_s = read_waited_s()
    write_message(progress)
    progress.latencies_us.clear()


def read_waited_s() -> float:
    """Return how long this thread has waited for a processor; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def raise_file_limit() -> None:
    """Raise the limit of open files to its maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run_worker(folder: Path) -> None:
    """Read the share from the standard input, and work."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        share = msgspec.json.decode(await reader.readline(), type=Share)
        await Worker(share, folder, reader).work()
    finally:
        transport.close()


def main() -> None:
    """Run one load process, whose only argument is the folder for its files."""
    # The terminal sends an interrupt to all processes, and only the coordinator decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_file_limit()
    uvloop.run(run_worker(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
