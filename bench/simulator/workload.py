"""The workload: the accounts and amounts of transfers, and the kinds of clients.

This module owns the distribution of accounts, uniform or by Zipf's law, where few accounts have
most of the traffic; and how shares of kinds become whole clients. How each kind behaves is told in
clients.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import numpy as np
import numpy.typing as npt

CHUNK = 8192
"""So many transfers are drawn at once, since numpy is slow for one number at a time."""
REDRAWS_MAX = 32

POLITE = "polite"
IMPOLITE = ("hammer", "reuse", "disconnect", "nonsense")
KINDS = (POLITE, *IMPOLITE)

Numbers = npt.NDArray[np.int64]


# -- transfers --------------------------------------------------------------------------------


class AccountChoice:
    """Draws accounts 0 to `accounts` - 1, so that account k has a weight of 1 / (k + 1) ** zipf."""

    def __init__(self, accounts: int, zipf: float, random: np.random.Generator) -> None:
        self._accounts = accounts
        self._random = random
        self._cumulated = None
        if zipf > 0:
            weights = np.arange(1, accounts + 1, dtype=np.float64) ** -zipf
            self._cumulated = np.cumsum(weights) / weights.sum()

    def draw(self, count: int) -> Numbers:
        """Return so many accounts, each independent of the others."""
        if self._cumulated is None:
            return self._random.integers(0, self._accounts, count)
        found = np.searchsorted(self._cumulated, self._random.random(count), side="right")
        return np.minimum(found, self._accounts - 1)

    def draw_pairs(self, count: int) -> tuple[Numbers, Numbers]:
        """Return sources and targets; the two of a pair always differ."""
        sources, targets = self.draw(count), self.draw(count)
        for _ in range(REDRAWS_MAX):
            same = np.flatnonzero(sources == targets)
            targets[same] = self.draw(len(same))
        # Where one account has nearly all the weight, the draw would not come to an end.
        same = np.flatnonzero(sources == targets)
        targets[same] = (targets[same] + 1) % self._accounts
        return sources, targets


def draw_transfers(
    choice: AccountChoice, amount_max: int, random: np.random.Generator
) -> Iterator[tuple[int, int, int]]:
    """Yield source, target and amount of one transfer after the other, without an end."""
    while True:
        sources, targets = choice.draw_pairs(CHUNK)
        amounts = random.integers(1, amount_max + 1, CHUNK)
        yield from zip(sources.tolist(), targets.tolist(), amounts.tolist(), strict=True)


# -- kinds of clients -------------------------------------------------------------------------


def split_mix(impolite: float) -> dict[str, float]:
    """Return the shares for a share of impolite clients, which is split evenly."""
    return {POLITE: 1.0 - impolite} | {kind: impolite / len(IMPOLITE) for kind in IMPOLITE}


def read_mix(text: str) -> dict[str, float]:
    """Read shares such as `polite=0.8,hammer=0.2`, which need not sum to one.

    Raises ValueError with a sentence that names what is wrong.
    """
    shares: dict[str, float] = {}
    for item in text.split(","):
        kind, _, number = (part.strip() for part in item.partition("="))
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of client; there are {', '.join(KINDS)}")
        if kind in shares:
            raise ValueError(f"{kind} appears twice")
        try:
            shares[kind] = float(number)
        except ValueError:
            raise ValueError(f"{kind} has no share; write {kind}=0.1") from None
        if not 0 <= shares[kind] < float("inf"):
            raise ValueError(f"{kind} has a share that is not a number above zero")
    if not any(shares.values()):
        raise ValueError("all shares are zero")
    return shares


def apportion(mix: Mapping[str, float], clients: int) -> dict[str, int]:
    """Return how many clients each kind has: whole ones, which sum to `clients`.

    By largest remainders (Hamilton's method), so that no kind is a whole client off its share.
    """
    total = sum(mix.values())
    quotas = {kind: share / total * clients for kind, share in mix.items()}
    counts = {kind: int(quota) for kind, quota in quotas.items()}
    # Ties go to the kind that was named first: sorting keeps the order of equals.
    by_rest = sorted(quotas, key=lambda kind: counts[kind] - quotas[kind])
    for kind in by_rest[: clients - sum(counts.values())]:
        counts[kind] += 1
    return counts


def deal_kinds(mix: Mapping[str, float], clients: int, seed: int) -> Sequence[str]:
    """Return the kind of each client, in an order in which any part of them is a fair sample."""
    kinds = [kind for kind, count in apportion(mix, clients).items() for _ in range(count)]
    Random(seed).shuffle(kinds)
    return kinds
