"""Seeded workloads: the same accounts and transfers on every machine and in every run.

This module owns what is measured with, and never when: it holds no clock.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledgercore import TRANSFER, Engine

ASSET = "USD/2"
FLOOR = -(1 << 40)
AMOUNT_MAX = 100
KEY_BYTES = 16
WORLD = "world"
FUNDING = 1 << 32
"""The stream of the transfers that fund the accounts."""

Rows = npt.NDArray[np.void]
Call = tuple[str, str, int, str]
"""The arguments of one single transfer: source, target, amount, key."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Transfers between accounts that are chosen uniformly, each under a random key.

    Unless told otherwise, every account may go far below zero: so no money need be brought in
    first, each rule is checked all the same, and no transfer is refused. With `funds`, each account
    is given as much by `world`, which follows the last account and has no floor. A `stream` is a
    series of transfers of its own, whose keys appear in no other.
    """

    accounts: int
    seed: int = 1
    floor: int = FLOOR
    funds: int = 0

    def names(self) -> list[str]:
        """Return the ids of the accounts, in the order of their slots."""
        return [f"acct-{number}" for number in range(self.accounts)]

    def open_accounts(self, engine: Engine) -> None:
        """Open the accounts in an engine that has none, so that slot n is `acct-n`."""
        engine.open_accounts(self.names(), asset=ASSET, floor=self.floor)
        if self.funds:
            engine.open_account(WORLD, asset=ASSET, floor=None)
            engine.transfer_batch(self.funding())

    def funding(self) -> Rows:
        """Return the rows of TRANSFER that bring the money in, shape (accounts,) or (0,)."""
        batch = np.zeros(self.accounts if self.funds else 0, TRANSFER)
        keys = self._start(FUNDING).bytes(len(batch) * KEY_BYTES)
        batch["key"] = np.frombuffer(keys, batch["key"].dtype)
        batch["from"], batch["to"] = self.accounts, np.arange(len(batch))
        batch["amount"] = self.funds
        return batch

    def transfers(self, rows: int, stream: int = 0) -> Rows:
        """Return rows of TRANSFER, shape (rows,)."""
        random = self._start(stream)
        batch = np.zeros(rows, TRANSFER)
        batch["key"] = np.frombuffer(random.bytes(rows * KEY_BYTES), batch["key"].dtype)
        batch["from"], batch["to"] = self._choose_pairs(random, rows)
        batch["amount"] = random.integers(1, AMOUNT_MAX + 1, rows)
        return batch

    def calls(self, count: int, stream: int = 0) -> list[Call]:
        """Return the arguments of single transfers, with keys as clients write them."""
        random = self._start(stream)
        sources, targets = self._choose_pairs(random, count)
        amounts = random.integers(1, AMOUNT_MAX + 1, count)
        keys = (random.bytes(KEY_BYTES).hex() for _ in range(count))
        return [
            (f"acct-{source}", f"acct-{target}", int(amount), key)
            for source, target, amount, key in zip(sources, targets, amounts, keys, strict=True)
        ]

    def spell(self, rows: Rows) -> list[Call]:
        """Return rows of TRANSFER as the arguments of single transfers.

        A slot that holds no account becomes the id of an account that does not exist.
        """
        names = {self.accounts: WORLD} if self.funds else {}
        names |= dict(enumerate(self.names()))
        sources, targets, amounts = (rows[name].tolist() for name in ("from", "to", "amount"))
        keys = (key.hex() for key in rows["key"].tolist())
        return [
            (names.get(source) or f"acct-{source}", names.get(target) or f"acct-{target}", *rest)
            for source, target, *rest in zip(sources, targets, amounts, keys, strict=True)
        ]

    def _start(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def _choose_pairs(
        self, random: np.random.Generator, count: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return sources and targets; the two of a pair always differ."""
        sources = random.integers(0, self.accounts, count)
        steps = random.integers(1, self.accounts, count)
        return sources, (sources + steps) % self.accounts
