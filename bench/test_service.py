"""POST /transfer over HTTP beside a plain Sanic handler, in one run.

The servers share one core, the load has another if there is one, and each round goes over every
server in turn. The ratio of a round compares what was measured seconds apart, so that what else
happens on the machine hits all of them.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .load.generators import run_load_process
from .machine import pick_cores
from .measure import Meter, Round, make_figure, make_rate
from .processes import PLAIN, SERVICE, Server

ACCOUNTS = 10_000
CONNECTIONS = 64
REQUESTS = 20_000
ROUNDS = 9
RATIO_GOAL = 4.0


@pytest.fixture(scope="module")
def servers(scratch: Path) -> Iterator[dict[str, Server]]:
    """Start the baseline and the service, with a journal and without, all on one core."""
    core, _ = pick_cores()
    demo = f"--demo-accounts={ACCOUNTS}"
    with ExitStack() as stack:
        servers = {}
        for name, command in {
            "plain Sanic handler": PLAIN,
            "service, durable": (*SERVICE, demo, f"--data={scratch / 'data'}"),
            "service, memory": (*SERVICE, demo, "--durability=memory"),
        }.items():
            server = Server(core, *command, log=scratch / f"{name}.log")
            servers[name] = stack.enter_context(server)
        yield servers


def load_once(server: Server) -> tuple[Round, dict[str, Any]]:
    """Put one round of load on a server."""
    _, core = pick_cores()
    cpu_s = server.cpu_s
    flags = (f"--requests={REQUESTS}", f"--connections={CONNECTIONS}", f"--accounts={ACCOUNTS}")
    result = run_load_process(core, server.url, *flags)
    assert result["statuses"] == {"201": REQUESTS}, result
    return Round(REQUESTS, result["seconds"], server.cpu_s - cpu_s), result


def test_transfers_over_http(meter: Meter, servers: dict[str, Server]) -> None:
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}

    def load_all(_: None) -> None:
        for name, server in servers.items():
            round, result = load_once(server)
            rounds[name].append(round)
            results[name].append(result)

    meter.time_rounds(REQUESTS * len(servers), lambda: None, load_all, rounds=ROUNDS)
    for name in servers:
        # The first round did not count.
        meter.keep(
            make_rate(name, "requests/s", rounds[name][1:], note=describe(results[name][1:]))
        )
    plain, durable, memory = rounds.values()
    keep_ratio(meter, "durable : plain", durable[1:], plain[1:], RATIO_GOAL)
    keep_ratio(meter, "memory : plain", memory[1:], plain[1:], None)


def describe(results: list[dict[str, Any]]) -> str:
    """Return what the clients saw, in the round in the middle."""
    result = sorted(results, key=lambda result: float(result["rate"]))[len(results) // 2]
    latencies = ", ".join(f"{name} {result[f'{name}_ms']:.1f} ms" for name in ("p50", "p90", "p99"))
    share = max(float(result["cpu_share"]) for result in results)
    limit = ", which may be the limit" if any(r["is_bottleneck"] for r in results) else ""
    return f"{latencies}; the load took {share:.0%} of its core{limit}"


def keep_ratio(
    meter: Meter, name: str, upper: list[Round], lower: list[Round], goal: float | None
) -> None:
    """Put the ratio of two servers' rates into the report: by the wall, and by processor time.

    On a machine that is busy the wall favours the service, whose threads each get a share of the
    core; processor time does not. On one that is idle they agree. The goal is for both.
    """
    pairs = list(zip(upper, lower, strict=True))
    by_wall = [below.wall_s / above.wall_s for above, below in pairs]
    by_cpu = [below.cpu_s / above.cpu_s for above, below in pairs]
    meter.keep(make_figure(f"{name}, by the wall", "", by_wall, goal=goal))
    meter.keep(make_figure(f"{name}, by processor time", "", by_cpu, goal=goal))
