"""One run from its start to its end: prepare, load, watch, check, and bring it all together.

This module owns the order of these steps, and what an interrupt does to them. It loads nothing by
itself and judges nothing.
"""

import asyncio
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from ..load.link import Address, connect, find_address
from .live import Board, show
from .messages import CHECK, GO, STOP, Checked, Loaded, Progress
from .plan import Plan, Share
from .preparing import prepare_accounts
from .processes import LoadProcess
from .samples import Samples, merge_samples
from .server_facts import Audit, Balances, FactFinder, NoAnswer, SimulationFailed
from .verification import Checks, judge

CONNECT_TIMEOUT_S = 5.0
READY_S = 30.0
START_DELAY_S = 0.05
POLL_S = 0.25


@dataclass(frozen=True)
class Run:
    """All that is known of a run when it has ended."""

    plan: Plan
    board: Board
    samples: Samples
    names: list[str]
    """The names of the problems in the samples."""
    is_interrupted: bool
    is_complete: bool
    checks: Checks | None


class Coordinator:
    """Makes one run, and shows it on a console if there is one."""

    def __init__(
        self, plan: Plan, console: Console | None, *, is_checking: bool, is_shared: bool
    ) -> None:
        self._plan = plan
        self._console = console
        self._is_checking = is_checking
        self._is_shared = is_shared
        self._board = Board(plan.processes)
        self._processes: list[LoadProcess] = []
        self._task: asyncio.Task[Run] | None = None
        self._is_interrupted = False
        self._on_interrupt: Callable[[], object] = self._give_up
        """What the next interrupt does."""

    async def run(self) -> Run:
        """Make the run. Raises SimulationFailed when that cannot be done."""
        facts = FactFinder(await self._find_server(), self._plan)
        with tempfile.TemporaryDirectory(prefix="simulate-") as folder, self._handle_interrupts():
            try:
                await facts.check_ready(READY_S)
                async with show(self._plan, self._board, self._console):
                    return await self._run_in(Path(folder), facts)
            finally:
                facts.close()
                if self._is_interrupted:
                    for process in self._processes:
                        process.kill()
                await asyncio.gather(*(process.end() for process in self._processes))

    async def _find_server(self) -> Address:
        try:
            address = await find_address(self._plan.url)
            (await connect(address, CONNECT_TIMEOUT_S)).close()
        except OSError as error:
            reason = error.strerror or str(error) or "no answer"
            raise SimulationFailed(f"nobody listens at {self._plan.url}: {reason}") from None
        return address

    async def _run_in(self, folder: Path, facts: FactFinder) -> Run:
        plan, board = self._plan, self._board
        board.phase = "preparing accounts"
        await prepare_accounts(facts, plan.accounts)
        is_weighing = self._is_checking and not self._is_shared
        before = await facts.read_balances(plan.accounts) if is_weighing else None
        board.phase = "starting"
        for index in range(plan.processes):
            self._processes.append(await LoadProcess.start(Share(plan, index), folder))
        for process in self._processes:
            await process.receive()
        loaded = await self._load(facts)
        checks = None
        if self._is_checking and not self._is_interrupted:
            board.phase = "checking"
            checks = await self._check_if_let(facts, before)
        samples, names = merge_samples([(np.load(part.samples), part.names) for part in loaded])
        return Run(
            plan=plan,
            board=board,
            samples=samples,
            names=names,
            is_interrupted=self._is_interrupted,
            is_complete=all(part.is_complete for part in loaded),
            checks=checks,
        )

    # -- the load -----------------------------------------------------------------------------

    async def _load(self, facts: FactFinder) -> list[Loaded]:
        """Let all processes load at once, and return what each of them tells in the end."""
        self._board.phase = "loading"
        started_s = time.perf_counter() + START_DELAY_S
        for process in self._processes:
            process.order(GO, started_s)
        self._on_interrupt = self._stop
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(facts, started_s))
                following = [
                    group.create_task(self._follow(process)) for process in self._processes
                ]
                await asyncio.wait(following)
                watching.cancel()
        except ExceptionGroup as failures:
            # One is told. The others end with it.
            raise failures.exceptions[0] from None
        finally:
            self._on_interrupt = self._give_up
        return [task.result() for task in following]

    async def _follow(self, process: LoadProcess) -> Loaded:
        while not isinstance(message := await process.receive(), Loaded):
            assert isinstance(message, Progress)
            self._board.update(process.index, message)
        return message

    async def _watch(self, facts: FactFinder, started_s: float) -> None:
        """Read the metrics of the server a few times a second, if it has any."""
        while True:
            with suppress(NoAnswer):
                at_s = time.perf_counter() - started_s
                metrics = await facts.read_metrics()
                if metrics is None:
                    return
                self._board.readings.append((at_s, metrics))
            await asyncio.sleep(POLL_S)

    # -- the checks ---------------------------------------------------------------------------

    async def _check_if_let(self, facts: FactFinder, before: Balances | None) -> Checks | None:
        """Check, and return None if that is interrupted."""
        checking = asyncio.create_task(self._check(facts, before))
        self._on_interrupt = checking.cancel
        try:
            await asyncio.wait([checking])
        finally:
            self._on_interrupt = self._give_up
        return None if checking.cancelled() else checking.result()

    async def _check(self, facts: FactFinder, before: Balances | None) -> Checks:
        for process in self._processes:
            process.order(CHECK)
        results = []
        for process in self._processes:
            result = await process.receive()
            assert isinstance(result, Checked)
            results.append(result)
        audit: Audit | str
        after = None
        try:
            audit = await facts.read_audit()
            if before is not None:
                after = await facts.read_balances(self._plan.accounts)
        except SimulationFailed as failure:
            audit = str(failure)
        return judge(results, audit, before, after, is_shared=self._is_shared)

    # -- interrupts ---------------------------------------------------------------------------

    @contextmanager
    def _handle_interrupts(self) -> Iterator[None]:
        """Let the first interrupt end the load or the checks; any other ends everything."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        on_interrupt, self._on_interrupt = self._on_interrupt, self._give_up
        self._is_interrupted = True
        on_interrupt()

    def _stop(self) -> None:
        self._board.phase = "stopping"
        for process in self._processes:
            process.order(STOP)

    def _give_up(self) -> None:
        """End everything: there is no load to be summarised, or no patience left."""
        if self._task is not None:
            self._task.cancel()
