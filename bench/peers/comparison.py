"""All peers in one run: each round goes over every one of them with the same calls.

Is each of them a ledger? At the end every peer is asked hard things, and compared with a ledger in
plain Python: at most once per key, never below zero, nothing lost. This module owns what is timed
and what counts as right. It never says how that is shown.
"""

import os
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..measure import Tell, count_rounds
from ..workloads import Call, Workload
from .peer import FUNDS, Peer, PeerFailed, Round

HARD_CALLS = 300
HARD_ACCOUNTS = 8
REPLAY_SHARE = 0.3
AMOUNT_SHARE_MAX = 1.5
"""The largest amount, as a share of FUNDS: about half of the calls cannot be paid."""
PROBED_MAX = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. A round ends with its transfers or its time, whichever is first."""

    rounds: int
    transfers: int
    seconds: float
    seed: int
    accounts: int


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


def compare_peers(peers: Mapping[str, Peer], plan: Plan, tell: Tell) -> list[Row]:
    """Time all peers, then check the money of each. `tell` hears what is being done.

    Before the rounds that count there is one that does not. Raises PeerFailed.
    """
    workload = Workload(plan.accounts, plan.seed)
    rounds: dict[str, list[Round]] = {name: [] for name in peers}
    references = {name: Reference(workload.names()) for name in peers}
    for number in count_rounds(plan.rounds, "peers", tell):
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


# -- the books ------------------------------------------------------------------------------------
class Reference:
    """What a ledger is, as a dict of balances and a dict of outcomes."""

    def __init__(self, names: Iterable[str]) -> None:
        self.balances = dict.fromkeys(names, FUNDS)
        self.outcomes: dict[str, bool] = {}

    def ask(self, call: Call) -> bool:
        """Make one call, and tell whether it was applied (the first time that its key came)."""
        source, target, amount, key = call
        if key in self.outcomes:
            return self.outcomes[key]
        is_applied = self.balances[source] >= amount
        if is_applied:
            self.balances[source] -= amount
            self.balances[target] += amount
        self.outcomes[key] = is_applied
        return is_applied

    def add_applied(self, calls: Iterable[Call]) -> None:
        """Take note of calls that a peer has applied, in whatever order it did so."""
        for source, target, amount, _ in calls:
            self.balances[source] -= amount
            self.balances[target] += amount


def make_hard_calls(names: Sequence[str], count: int, seed: int) -> list[Call]:
    """Return calls between few accounts, many of which cannot pay, and many of which are repeats.

    A repeat has the key and the payload of an earlier call, applied or refused.
    """
    chance = random.Random(seed)
    few = names[:HARD_ACCOUNTS]
    calls: list[Call] = []
    for number in range(count):
        if calls and chance.random() < REPLAY_SHARE:
            calls.append(chance.choice(calls))
            continue
        source, target = chance.sample(few, 2)
        amount = chance.randint(1, int(FUNDS * AMOUNT_SHARE_MAX))
        calls.append((source, target, amount, f"hard-{seed}-{number}"))
    return calls


def check_money(peer: Peer, reference: Reference, hard_calls: Sequence[Call]) -> int:
    """Compare a peer with the reference, in every answer and every balance; count the answers.

    Raises PeerFailed, naming the first difference.
    """
    _compare_answers(peer, reference, hard_calls)
    balances = peer.read_balances()
    if balances is None:
        return len(hard_calls) + probe_balances(peer, reference)
    compare_balances(balances, reference.balances)
    return len(hard_calls)


def _compare_answers(peer: Peer, reference: Reference, calls: Iterable[Call]) -> None:
    for call in calls:
        expected = reference.ask(call)
        if peer.ask(call) != expected:
            right = "applied" if expected else "refused"
            raise PeerFailed(f"{peer.title}: {call} is to be {right}, and was not")


def compare_balances(found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """See to it that every account holds what it should, and all of them as much as ever."""
    if sum(found.values()) != len(expected) * FUNDS:
        raise PeerFailed(f"{sum(found.values())} in all accounts, not {len(expected) * FUNDS}")
    for name, balance in expected.items():
        if found.get(name) != balance:
            raise PeerFailed(f"{name} holds {found.get(name)}, not {balance}")


def probe_balances(peer: Peer, reference: Reference) -> int:
    """Find the balances of the first accounts by asking for money; return how often it asked.

    An account holds exactly n if it cannot pay n + 1 and can pay n. What it paid comes back.
    """
    names = list(reference.balances)[:PROBED_MAX]
    asked = 0
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        balance = reference.balances[name]
        calls: list[Call] = [(name, other, balance + 1, f"probe-{name}-above")]
        if balance > 0:
            calls.append((name, other, balance, f"probe-{name}-all"))
            calls.append((other, name, balance, f"probe-{name}-back"))
        _compare_answers(peer, reference, calls)
        asked += len(calls)
    return asked
