"""Is it a ledger? Every peer is asked hard things, and compared with a ledger in plain Python.

This module owns what counts as right: at most once per key, never below zero, nothing lost.
"""

import random
from collections.abc import Iterable, Mapping, Sequence

from ..workloads import Call
from .peer import FUNDS, Peer, PeerFailed

HARD_ACCOUNTS = 8
REPLAY_SHARE = 0.3
AMOUNT_SHARE_MAX = 1.5
"""The largest amount, as a share of FUNDS: about half of the calls cannot be paid."""
PROBED_MAX = 64


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
    compare_answers(peer, reference, hard_calls)
    balances = peer.read_balances()
    if balances is None:
        return len(hard_calls) + probe_balances(peer, reference)
    compare_balances(balances, reference.balances)
    return len(hard_calls)


def compare_answers(peer: Peer, reference: Reference, calls: Iterable[Call]) -> None:
    """Ask both, one call after the other."""
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
        compare_answers(peer, reference, calls)
        asked += len(calls)
    return asked
