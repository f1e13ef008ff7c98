"""One load process: takes its share of a plan, loads, tells how far it is, and checks at the end.

It reads orders from its standard input, a line each, and writes messages to its standard output.
When the input ends, whoever started it is gone, and so is it. It prints nothing for people.
"""

import asyncio
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import uvloop

from ..load.alarm import sleep_until
from ..load.link import find_address
from .checking import Checker
from .choice import AccountChoice, draw_transfers
from .clients import CLIENTS, CLOCK, Client, Crew
from .loops import ClosedLoop, Loop, OpenLoop
from .messages import CHECK, GO, STOP, Loaded, Message, Order, Ready, Running, decode_order, encode
from .plan import Share
from .samples import Recorder

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
        crew = await self._gather_crew()
        clients = [CLIENTS[kind](crew) for kind in self._share.kinds()]
        await open_all(clients)
        tell(Ready())
        order = await self._next_order()
        if order is None or order.what != GO:
            return
        self._started_s = order.at_s
        crew.recorder = Recorder(order.at_s)
        loop = self._make_loop(crew, clients)
        await sleep_until(order.at_s)
        self._tell_progress(crew)  # What was used before is not the load's.
        async with self._keep_ticking(loop, crew):
            order = await self._run(loop)
        self._tell_progress(crew)
        self._keep(crew, loop)
        if order is None:
            order = await self._next_order()
        # An order to stop may have come when the load had just ended by itself.
        while order is not None and order.what == STOP:
            order = await self._next_order()
        if order is not None and order.what == CHECK:
            await self._check(crew)

    async def _gather_crew(self) -> Crew:
        share, plan = self._share, self._plan
        random = share.start_random()
        scalar = Random(int(random.integers(1 << 62)))
        choice = AccountChoice(plan.accounts, plan.zipf, random)
        return Crew(
            plan=plan,
            address=await find_address(plan.url),
            policy=share.make_policy(scalar.random),
            random=scalar,
            transfers=draw_transfers(choice, plan.amount_max, random),
            recorder=Recorder(0.0),
            numbers=count(share.index, plan.processes),
            release=lambda client: None,
        )

    def _make_loop(self, crew: Crew, clients: list[Client]) -> Loop:
        if self._plan.rate is not None:
            return OpenLoop(crew, clients, arrivals=self._share.arrivals())
        return ClosedLoop(
            crew,
            clients,
            pattern=self._plan.shape,
            transfers=self._share.transfers(),
            is_timed=self._plan.seconds is not None,
        )

    async def _run(self, loop: Loop) -> Order | None:
        """Run to the end, and return the order that came meanwhile, if one did."""
        plan = self._plan
        end_s = self._started_s + plan.offering_s + plan.deadline_s + STOP_GRACE_S
        loop.begin(self._started_s)
        ordered = asyncio.ensure_future(self._next_order())
        waited: list[asyncio.Future[Any]] = [loop.done, ordered]
        try:
            await asyncio.wait(
                waited,
                timeout=end_s - CLOCK(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if ordered.done() and not loop.done.done():
                loop.stop()
                await asyncio.wait([loop.done], timeout=STOP_GRACE_S)
        finally:
            loop.close()
        if loop.done.done():
            loop.done.result()
        if ordered.done():
            return ordered.result() or Order("leave")
        # A line that is cut off in the middle stays in the reader.
        ordered.cancel()
        await asyncio.wait([ordered])
        return None

    @asynccontextmanager
    async def _keep_ticking(self, loop: Loop, crew: Crew) -> AsyncIterator[None]:
        """Tick and tell until the block is left; whatever is raised in passing ends the load."""

        def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if not loop.done.done():
                error = context.get("exception") or RuntimeError(context["message"])
                loop.done.set_exception(error)

        async def keep_ticking() -> None:
            told_s = CLOCK()
            while True:
                await asyncio.sleep(TICK_S)
                now_s = CLOCK()
                loop.tick(now_s)
                if now_s >= told_s + TELL_S:
                    told_s = now_s
                    self._tell_progress(crew)

        asyncio.get_running_loop().set_exception_handler(fail)
        task = asyncio.create_task(keep_ticking())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    def _tell_progress(self, crew: Crew) -> None:
        progress = crew.tally.tell(time.process_time(), read_waited_s())
        tell(Running(CLOCK() - self._started_s, progress))

    def _keep(self, crew: Crew, loop: Loop) -> None:
        """Write what was recorded into files, and tell where they are."""
        index = self._share.index
        samples, lateness = (
            self._folder / f"{what}-{index}.npy" for what in ("samples", "lateness")
        )
        np.save(samples, crew.recorder.samples())
        np.save(lateness, np.array(getattr(loop, "lateness_s", []), np.float64))
        offered = crew.tally.counts.offered
        wanted = offered if self._plan.seconds is not None else self._share.transfers()
        is_complete = offered >= wanted
        tell(Loaded(str(samples), str(lateness), crew.recorder.names, is_complete))

    async def _check(self, crew: Crew) -> None:
        recorder = crew.recorder
        checker = Checker(crew.address, self._plan, recorder.samples(), recorder.names)
        tell(await checker.check(str(self._folder / f"moves-{self._share.index}.npy")))

    async def _next_order(self) -> Order | None:
        line = await self._orders.readline()
        return decode_order(line) if line else None


async def open_all(clients: list[Client]) -> None:
    """Connect all clients, a few at a time, since a server has but so much patience."""
    for start in range(0, len(clients), CONNECTING_MAX):
        await asyncio.gather(*(client.open() for client in clients[start : start + CONNECTING_MAX]))


def tell(message: Message) -> None:
    """Write a message."""
    sys.stdout.buffer.write(encode(message) + b"\n")
    sys.stdout.buffer.flush()


def read_waited_s() -> float:
    """Return how long this thread has waited for a processor; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def raise_file_limit() -> None:
    """Allow as many connections as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run_worker(folder: Path) -> None:
    """Read the share from the standard input, and work."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
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
