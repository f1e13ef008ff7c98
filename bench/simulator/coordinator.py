"""One run from its start to its end: prepare, load, watch, check, and bring it all together.

This module owns the order of these steps, and what an interrupt does to them. It loads nothing by
itself and judges nothing.
"""

import asyncio
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..load.link import Address, connect, find_address
from .asking import RequestMaker
from .board import Board, Reading
from .facts import Balances, FactFinder, SimulationFailed
from .live import Show
from .messages import CHECK, GO, LEAVE, STOP, Checked, Loaded, Running
from .patterns import Floats
from .plan import Plan, Share
from .preparing import Preparation
from .processes import LoadProcess
from .questions import NoAnswer
from .samples import Samples, merge_samples
from .tally import Counts
from .verdicts import Checks, judge

CONNECT_TIMEOUT_S = 5.0
READY_S = 30.0
START_DELAY_S = 0.05
POLL_S = 0.25
SHOW_S = 0.25


@dataclass(frozen=True)
class Run:
    """All that is known of a run when it has ended."""

    plan: Plan
    samples: Samples
    names: list[str]
    """The names of the problems in the samples."""
    counts: Counts
    refusals: Counter[str]
    failures: Counter[str]
    lateness_s: Floats
    cpu_shares: list[float]
    wanted_shares: list[float]
    readings: list[Reading]
    is_interrupted: bool
    is_complete: bool
    checks: Checks | None


class Coordinator:
    """Makes one run."""

    def __init__(self, plan: Plan, show: Show, *, is_checking: bool, is_shared: bool) -> None:
        self._plan = plan
        self._show = show
        self._is_checking = is_checking
        self._is_shared = is_shared
        self._maker = RequestMaker(plan)
        self._board = Board(plan.processes)
        self._processes: list[LoadProcess] = []
        self._is_interrupted = False
        self._is_loading = False
        self._task: asyncio.Task[Run] | None = None
        self._checking: asyncio.Task[Checks] | None = None

    async def run(self) -> Run:
        """Make the run. Raises SimulationFailed when that cannot be done."""
        address = await self._find_server()
        facts = FactFinder(address, self._maker)
        with tempfile.TemporaryDirectory(prefix="simulate-") as folder, self._heed_interrupts():
            try:
                return await self._run_in(Path(folder), address, facts)
            finally:
                facts.close()
                await asyncio.gather(*(process.end() for process in self._processes))

    async def _find_server(self) -> Address:
        try:
            address = await find_address(self._plan.url)
            (await connect(address, CONNECT_TIMEOUT_S)).close()
        except OSError as error:
            reason = error.strerror or str(error) or "no answer"
            raise SimulationFailed(f"nobody listens at {self._plan.url}: {reason}") from None
        return address

    async def _run_in(self, folder: Path, address: Address, facts: FactFinder) -> Run:
        plan, board = self._plan, self._board
        await facts.check_ready(READY_S)
        board.phase = "preparing accounts"
        async with self._keep_showing():
            await Preparation(address, self._maker, plan.accounts).prepare(facts)
            is_weighing = self._is_checking and not self._is_shared
            before = await facts.read_balances(plan.accounts) if is_weighing else None
            board.phase = "starting"
            await self._start_processes(folder)
            loaded = await self._load(facts)
            checks = None
            if self._is_checking and not self._is_interrupted:
                board.phase = "checking"
                checks = await self._check_if_let(facts, before)
        for process in self._processes:
            process.order(LEAVE)
        return self._gather(loaded, checks)

    async def _start_processes(self, folder: Path) -> None:
        for index in range(self._plan.processes):
            share = Share(self._plan, index)
            self._processes.append(await LoadProcess.start(share, folder))
        for process in self._processes:
            await process.receive()

    async def _load(self, facts: FactFinder) -> list[Loaded]:
        """Let all processes load at once, and return what each of them tells in the end."""
        self._board.phase = "loading"
        started_s = time.perf_counter() + START_DELAY_S
        for process in self._processes:
            process.order(GO, started_s)
        self._is_loading = True
        if self._is_interrupted:
            self._stop()
        watching = asyncio.create_task(self._watch(facts, started_s))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._follow(process)) for process in self._processes]
        except* SimulationFailed as failures:
            # One is told. The others end with it.
            raise failures.exceptions[0] from None
        finally:
            self._is_loading = False
            watching.cancel()
            await asyncio.wait([watching])
        return [task.result() for task in tasks]

    async def _follow(self, process: LoadProcess) -> Loaded:
        while True:
            message = await process.receive()
            if isinstance(message, Running):
                self._board.take(process.index, message)
            elif isinstance(message, Loaded):
                return message

    async def _watch(self, facts: FactFinder, started_s: float) -> None:
        """Read the metrics of the server a few times a second, if it has any."""
        while True:
            with suppress(NoAnswer):
                at_s = time.perf_counter() - started_s
                metrics = await facts.read_metrics()
                if metrics is None:
                    return
                self._board.readings.append(Reading(at_s, metrics))
            await asyncio.sleep(POLL_S)

    async def _check_if_let(self, facts: FactFinder, before: Balances | None) -> Checks | None:
        """Check, and return None if that is interrupted."""
        self._checking = asyncio.create_task(self._check(facts, before))
        try:
            return await self._checking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            for process in self._processes:
                process.kill()
            return None
        finally:
            self._checking = None

    async def _check(self, facts: FactFinder, before: Balances | None) -> Checks:
        for process in self._processes:
            process.order(CHECK)
        results = []
        for process in self._processes:
            result = await process.receive()
            assert isinstance(result, Checked)
            results.append(result)
        try:
            audit = await facts.read_audit()
            after = None if before is None else await facts.read_balances(self._plan.accounts)
        except SimulationFailed as failure:
            return judge(results, str(failure), before, None, is_shared=self._is_shared)
        return judge(results, audit, before, after, is_shared=self._is_shared)

    def _gather(self, loaded: list[Loaded], checks: Checks | None) -> Run:
        parts = [(np.load(part.samples), part.names) for part in loaded]
        samples, names = merge_samples(parts)
        board = self._board
        return Run(
            plan=self._plan,
            samples=samples,
            names=names,
            counts=board.counts,
            refusals=board.refusals,
            failures=board.failures,
            lateness_s=np.concatenate([np.load(part.lateness) for part in loaded]),
            cpu_shares=board.cpu_shares(),
            wanted_shares=board.wanted_shares(),
            readings=board.readings,
            is_interrupted=self._is_interrupted,
            is_complete=all(part.is_complete for part in loaded),
            checks=checks,
        )

    # -- what happens beside ------------------------------------------------------------------

    @contextmanager
    def _heed_interrupts(self) -> Iterator[None]:
        """Stop the load at the first interrupt, and everything at the second."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)

    def _interrupt(self) -> None:
        is_again, self._is_interrupted = self._is_interrupted, True
        if self._is_loading and not is_again:
            self._stop()
        elif self._checking is not None and not is_again:
            self._checking.cancel()
        elif self._task is not None:
            # There is no load to be summarised, or no patience left.
            for process in self._processes:
                process.kill()
            self._task.cancel()

    def _stop(self) -> None:
        self._board.phase = "stopping"
        for process in self._processes:
            process.order(STOP)

    def _keep_showing(self) -> "ShowTask":
        return ShowTask(self._show, self._board)


class ShowTask:
    """Shows the board a few times a second, for as long as the block lasts."""

    def __init__(self, show: Show, board: Board) -> None:
        self._show = show
        self._board = board
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._show.begin()
        self._task = asyncio.create_task(self._keep_showing())

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        self._show.end()

    async def _keep_showing(self) -> None:
        while True:
            self._show.draw(self._board)
            await asyncio.sleep(SHOW_S)
