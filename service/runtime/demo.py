"""The demo ledger: `world` and a number of funded accounts, made once in an empty directory.

This module owns what a demo is made of, and how a demo that was cut short is told from a ledger
that somebody uses. It never touches the latter.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ledgercore import TRANSFER, Engine, LedgerError, Status

ASSET = "USD/2"
WORLD = "world"
CLIENT = "ledgercore"
CHUNK_ROWS = 16_384


def create_demo(
    engine: Engine, accounts: int, funds: int, is_stopped: Callable[[], bool] = lambda: False
) -> None:
    """Open and fund the demo accounts, or finish doing so, or leave the ledger alone.

    While a demo is being made, `world` has a ceiling of zero, which it does not feel: it only
    pays. Lifting the ceiling is the last step. So a demo that was cut short, by a crash or because
    `is_stopped` said so, is found by the ceiling and finished by the next start, and one that is
    complete is never funded again, not even when its keys have been forgotten.
    """
    if accounts == 0 or not _is_wanted(engine):
        return
    world = engine.open_account(WORLD, asset=ASSET, floor=None, ceiling=0)
    for start in range(0, accounts, CHUNK_ROWS):
        if is_stopped():
            return
        numbers = range(start, min(start + CHUNK_ROWS, accounts))
        slots = engine.open_accounts([f"acct-{number}" for number in numbers], asset=ASSET)
        if funds:
            _fund_accounts(engine, world.slot, slots, numbers, funds)
    engine.change_account(WORLD, ceiling=None)


def _is_wanted(engine: Engine) -> bool:
    first = next(iter(engine.accounts(0, 1)), None)
    if first is None:
        return True
    return (first.id, first.floor, first.ceiling) == (WORLD, None, 0)


def _fund_accounts(
    engine: Engine, world: int, slots: npt.NDArray[np.uint32], numbers: range, funds: int
) -> None:
    batch = np.zeros(len(slots), TRANSFER)
    batch["key"] = engine.fingerprints([f"demo-fund-{number}" for number in numbers], CLIENT)
    batch["from"] = world
    batch["to"] = slots
    batch["amount"] = funds
    # A key may have been forgotten between two starts, but a balance never is.
    outcomes = engine.transfer_batch(batch[engine.balances[slots] == 0])
    refused = outcomes["status"] != Status.APPLIED
    if refused.any():
        status = Status(int(outcomes["status"][refused][0]))
        raise LedgerError(f"the demo accounts cannot be funded: {status.name}")
