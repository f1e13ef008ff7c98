"""Which accounts a transfer is between, and how much it moves.

This module owns the distributions: uniform, or by Zipf's law, where few accounts have most of the
traffic. It draws in chunks, since numpy is slow for one number at a time.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

CHUNK = 8192
REDRAWS_MAX = 32

Numbers = npt.NDArray[np.int64]


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
            if not len(same):
                break
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
