"""All peers in one run: each round goes over every one of them with the same calls.

This module owns what is timed and what is kept of it. It never says how that is shown.
"""

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..workloads import Workload
from .checking import Reference, check_money, make_hard_calls
from .peer import Peer, Round

HARD_CALLS = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. A round ends with its transfers or its time, whichever is first."""

    rounds: int
    transfers: int
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one peer in the end.

    `rates` has the transfers a second of each round. The latencies are those of all rounds, and
    None where nobody waits for one transfer. `load_share` is the largest share of a processor that
    the clients had in a round; None where they share the process with the peer.
    """

    name: str
    title: str
    version: str
    durability: str
    clients: int
    rates: list[float]
    p50_ms: float | None
    p99_ms: float | None
    load_share: float | None
    applied: int
    checked: int

    @property
    def rate(self) -> float:
        """The transfers a second of the round in the middle."""
        return statistics.median(self.rates)


def compare_peers(
    peers: Mapping[str, Peer], accounts: int, plan: Plan, tell: Callable[[str], None]
) -> list[Row]:
    """Time all peers, then check the money of each. `tell` hears what is being done.

    Before the rounds that count there is one that does not. Raises PeerFailed.
    """
    workload = Workload(accounts, plan.seed)
    rounds: dict[str, list[Round]] = {name: [] for name in peers}
    references = {name: Reference(workload.names()) for name in peers}
    for number in range(plan.rounds + 1):
        tell(f"round {number} of {plan.rounds}" if number else "warming up")
        calls = workload.calls(plan.transfers, stream=number)
        for name, peer in peers.items():
            # Nobody is to wait for the disk because of what the one before left to be written.
            os.sync()
            timed = peer.run(calls, plan.seconds)
            references[name].add_applied(timed.calls)
            rounds[name].append(timed)
    tell("checking the money")
    hard_calls = make_hard_calls(workload.names(), HARD_CALLS, plan.seed)
    checked = {
        name: check_money(peer, references[name], hard_calls) for name, peer in peers.items()
    }
    return [make_row(name, peer, rounds[name], checked[name]) for name, peer in peers.items()]


def make_row(name: str, peer: Peer, rounds: list[Round], checked: int) -> Row:
    """Return what a peer did in its rounds, of which the first does not count."""
    counted = rounds[1:]
    latencies_ms = np.concatenate([timed.latencies_s for timed in counted]) * 1000
    p50_ms, p99_ms = np.percentile(latencies_ms, [50, 99]) if len(latencies_ms) else (None, None)
    shares = [timed.load_share for timed in counted if timed.load_share is not None]
    return Row(
        name=name,
        title=peer.title,
        version=peer.version,
        durability=peer.durability,
        clients=peer.clients,
        rates=[round(len(timed.calls) / timed.seconds, 1) for timed in counted],
        p50_ms=None if p50_ms is None else round(float(p50_ms), 3),
        p99_ms=None if p99_ms is None else round(float(p99_ms), 3),
        load_share=round(max(shares), 3) if shares else None,
        applied=sum(len(timed.calls) for timed in rounds),
        checked=checked,
    )
