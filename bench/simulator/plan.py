"""What a run is: one frozen value that the command makes and every load process is sent.

This module owns the plan and how it is shared out among processes. It never touches a clock or a
socket.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from .patterns import Floats, Pattern, make_pattern, schedule_arrivals
from .workload import deal_kinds

INTENTS_MAX = 20_000_000
"""So many intents a run may have: each costs 56 bytes of memory until the end."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to load, with what, for how long. One of `transfers` and `seconds` is given.

    With a `rate` the loop is open: requests arrive when the schedule says so. Without, it is
    closed: each client asks, waits for its answer, thinks, and asks again.
    """

    url: str
    run: str
    """Begins every idempotency key of this run, and those of no other."""
    mix: dict[str, float]
    clients: int = 100
    transfers: int | None = None
    seconds: float | None = None
    processes: int = 1
    rate: float | None = None
    arrivals: str = "poisson"
    pattern: str = "steady"
    burst: float = 3.0
    think_ms: float = 0.0
    queue_max: int = 1000
    accounts: int = 1000
    zipf: float = 0.0
    amount_max: int = 100
    seed: int = 1
    attempts_max: int = 6
    deadline_s: float = 10.0
    try_timeout_s: float = 5.0
    run_deadline_s: float = 600.0
    patience_s: float = 5.0
    """How long the checks wait for a server that answers nobody."""
    key: str | None = None
    secret: str | None = None

    @property
    def shape(self) -> Pattern:
        """The pattern, as a function."""
        return make_pattern(self.pattern, self.burst)

    @property
    def offering_s(self) -> float:
        """How long intents are offered at most."""
        if self.seconds is not None:
            return self.seconds
        if self.rate is not None and self.transfers is not None:
            return self.transfers / (self.rate * self.shape.mean)
        return self.run_deadline_s


class Share(msgspec.Struct, frozen=True):
    """The part of a plan that one load process has."""

    plan: Plan
    index: int

    def kinds(self) -> Sequence[str]:
        """Return the kind of each client of this process."""
        plan = self.plan
        return deal_kinds(plan.mix, plan.clients, plan.seed)[self.index :: plan.processes]

    def transfers(self) -> int:
        """Return how many intents the clients of this process may offer in the closed loop."""
        count = self.plan.transfers if self.plan.transfers is not None else INTENTS_MAX
        return len(range(self.index, count, self.plan.processes))

    def arrivals(self) -> Floats:
        """Return when requests arrive at this process in the open loop, in seconds."""
        plan = self.plan
        assert plan.rate is not None
        everything = schedule_arrivals(
            plan.shape,
            plan.rate,
            seconds=plan.offering_s,
            transfers=plan.transfers,
            process=plan.arrivals,
            random=np.random.default_rng([plan.seed, 0]),
        )
        return everything[self.index :: plan.processes]
