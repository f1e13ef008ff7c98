"""Runs of the simulator inside a test, each checked for counts that add up.

This module owns how a test starts one. The load processes are real ones.
"""

from typing import Any

from bench.simulator.coordinator import Coordinator, Run
from bench.simulator.plan import Plan
from bench.simulator.summary import Summary, summarize
from bench.simulator.workload import split_mix
from tests.support.simulator_stub import Reply, Request, StubLedger, problem

RUN = "run-of-a-test"


async def simulate(stub: StubLedger, **settings: Any) -> tuple[Run, Summary]:
    """Run the simulator on a stub."""
    is_checking = settings.pop("is_checking", True)
    defaults: dict[str, Any]
    defaults = {"mix": split_mix(0.0), "clients": 4, "accounts": 20, "amount_max": 5}
    if "seconds" not in settings:
        defaults["transfers"] = 60
    plan = Plan(**{"url": stub.url, "run": RUN} | defaults | settings)
    run = await Coordinator(plan, None, is_checking=is_checking, is_shared=False).run()
    summary = summarize(run)
    check_accounting(run, summary)
    return run, summary


def check_accounting(run: Run, summary: Summary) -> None:
    """Check that the counts that were told on the way are those of the rows."""
    counts = summary.accounting
    assert counts["offered"] == counts["answered"] + counts["failed"] + counts["dropped"]
    assert counts["sent"] == counts["answered"] + counts["failed"] + counts["retries"]
    assert counts["offered"] == len(run.samples) == summary.transfers
    assert counts["sent"] == run.samples["tries"].sum()
    assert counts["answered"] == sum(summary.statuses.values())
    assert counts["failed"] == sum(summary.failures.values())


def refuse_once(stub: StubLedger, request: Request) -> Reply | None:
    """Refuse each key once: every second one for its rate, the others for want of room."""
    if stub.tries[request.key] > 1:
        return None
    status, name = (503, "queue-full") if int(request.key[-1]) % 2 else (429, "rate-limited")
    return problem(status, name, retry_after=1)
