"""Whether the client was what limited a run: said plainly, with the reason and what helps.

This module owns the limits beyond which a figure tells more of the simulator than of the server.
"""

import numpy as np

from ..load.loops import CPU_SHARE_MAX
from .coordinator import Run

LATENESS_P99_MAX_S = 0.005


def find_reasons(run: Run) -> list[str]:
    """Return a sentence for each sign that the client was the bottleneck; none if there is none."""
    plan = run.plan
    reasons = []
    more = f"--processes {plan.processes + 1}"
    cpu_share = max(run.cpu_shares, default=0.0)
    wanted_share = max(run.wanted_shares, default=0.0)
    if cpu_share > CPU_SHARE_MAX:
        reasons.append(f"a load process used {cpu_share:.0%} of a processor; more help: {more}")
    elif wanted_share > CPU_SHARE_MAX:
        reasons.append(
            f"a load process wanted a processor {wanted_share:.0%} of the time and had one"
            f" {cpu_share:.0%}; others are in its way, and {more} helps if there is a free one"
        )
    late_s = float(np.percentile(run.lateness_s, 99)) if len(run.lateness_s) else 0.0
    if late_s > LATENESS_P99_MAX_S:
        reasons.append(
            f"one request in a hundred was sent {late_s * 1000:.1f} ms late or more although a"
            f" client was free; more processes on free processors help: {more}"
        )
    if dropped := run.counts.dropped:
        reasons.append(
            f"{dropped:,} arrivals were dropped, for all {plan.clients:,} clients were busy and"
            f" {plan.queue_max:,} arrivals waited; if the server is not at its limit, more clients"
            f" help: --clients {plan.clients * 2}"
        )
    return reasons
