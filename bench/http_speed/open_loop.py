"""One open loop: requests that come by a schedule, to any server that has POST /transfer.

This module owns one load process of the simulator, from its plan to its latencies. The simulator's
command does more, and needs more of a server: it opens accounts, which the sketch in Go cannot, and
asks every key again.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..machine import run_on
from ..simulator.board import Board
from ..simulator.facts import SimulationFailed
from ..simulator.messages import GO, LEAVE, Loaded, Running
from ..simulator.mixes import split_mix
from ..simulator.plan import Plan, Share
from ..simulator.processes import LoadProcess
from ..simulator.samples import ANSWERED, ENDS
from ..simulator.summary import measure_latency
from .loads import LoadFailed

CREATED = 201
START_DELAY_S = 0.05
GRACE_S = 60.0
"""How long a run may take besides its schedule."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A schedule that is over, every request of it applied.

    Latencies are from the time when a request was due. `late_p99_ms` is how late the generator
    itself was, at worst but for one in a hundred; `cpu_share` what it had of its core in its
    busiest second.
    """

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    cpu_share: float


def make_plan(url: str, rate: float, seconds: float, clients: int, accounts: int) -> Plan:
    """Return the plan of a steady load, none of which is dropped or asked twice."""
    return Plan(
        url=url,
        run=f"open-{secrets.token_hex(8)}",
        mix=split_mix(0.0),
        clients=clients,
        seconds=seconds,
        rate=rate,
        accounts=accounts,
        # What is dropped has no latency, so that the worst of a slow server would be left out.
        queue_max=max(int(2 * rate * seconds), 1),
        attempts_max=1,
        try_timeout_s=10.0,
        deadline_s=20.0,
    )


def run_open_loop(core: int, plan: Plan, folder: Path) -> OpenRun:
    """Run a plan from a process on a core; its files go into the folder. Raises LoadFailed."""
    try:
        with run_on(core):
            return asyncio.run(_run(plan, folder))
    except SimulationFailed as error:
        raise LoadFailed(f"the open loop failed: {error}") from None
    except TimeoutError:
        raise LoadFailed("the open loop did not come to its end") from None


async def _run(plan: Plan, folder: Path) -> OpenRun:
    process = await LoadProcess.start(Share(plan, 0), folder)
    board = Board(1)
    try:
        async with asyncio.timeout(plan.offering_s + GRACE_S):
            await process.receive()
            process.order(GO, time.perf_counter() + START_DELAY_S)
            while not isinstance(message := await process.receive(), Loaded):
                assert isinstance(message, Running)
                board.take(0, message)
        process.order(LEAVE)
    finally:
        await process.end()
    return summarize(plan, message, max(board.cpu_shares(), default=0.0))


def summarize(plan: Plan, loaded: Loaded, cpu_share: float) -> OpenRun:
    """Return what came of a run. Raises LoadFailed unless every request was applied."""
    samples, lateness_s = np.load(loaded.samples), np.load(loaded.lateness)
    is_applied = (samples["end"] == ENDS.index(ANSWERED)) & (samples["status"] == CREATED)
    if not loaded.is_complete or not len(samples) or not is_applied.all():
        raise LoadFailed(f"{plan.url}: {is_applied.sum():,} of {len(samples):,} were applied")
    latency_ms = measure_latency(samples)
    p50_ms, p99_ms = latency_ms["p50"], latency_ms["p99"]
    assert p50_ms is not None and p99_ms is not None
    return OpenRun(
        requests=len(samples),
        rate=len(samples) / plan.offering_s,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        late_p99_ms=float(np.percentile(lateness_s, 99)) * 1000 if len(lateness_s) else 0.0,
        cpu_share=cpu_share,
    )
