"""The audit: every sum and limit at one instant, and the journal against memory."""

import numpy as np
import numpy.typing as npt

from .accounts import account_id, asset_names, copy_state
from .executor import Executor
from .grammar import AMOUNT_MAX, BALANCE_MIN
from .journal_check import digest_state, replay_in_helper
from .ledger import Ledger
from .recovery import Capacity
from .store import Maintenance, Store
from .types import Audit

VIOLATIONS_TOLD_MAX = 100
NOT_ASKED = "it was not asked for"
NO_JOURNAL = "there is none: the ledger is kept in memory"
CONTRADICTION = "its replay leads to other balances than memory holds"


def sum_by_asset(
    ledger: Ledger, balances: npt.NDArray[np.int64], rows: npt.NDArray[np.void]
) -> dict[str, int]:
    """Return the exact sum of the balances per asset, which may need more than 64 bits."""
    names = asset_names(ledger)
    high = np.zeros(len(names), np.int64)
    low = np.zeros(len(names), np.int64)
    np.add.at(high, rows["asset"], balances >> 32)
    np.add.at(low, rows["asset"], balances & 0xFFFFFFFF)
    return {name: (int(high[i]) << 32) + int(low[i]) for i, name in enumerate(names)}


def find_violations(
    ledger: Ledger, balances: npt.NDArray[np.int64], rows: npt.NDArray[np.void]
) -> list[str]:
    """Return what is violated: sums that are not zero and limits that are not kept, at most 100."""
    sums = sum_by_asset(ledger, balances, rows)
    found = [f"{asset}: the balances sum to {total}" for asset, total in sums.items() if total]
    broken = np.flatnonzero((balances < rows["floor"]) | (balances > rows["ceiling"]))
    for slot in broken[:VIOLATIONS_TOLD_MAX]:
        id = account_id(ledger, int(slot))
        limits = f"{limit_text(rows['floor'][slot])} to {limit_text(rows['ceiling'][slot])}"
        found.append(f"{id}: the balance, {balances[slot]}, is outside of {limits}")
    return found


class Auditor:
    """Checks an open ledger without stopping it for longer than a copy of its balances takes."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        store: Store | None,
        capacity: Capacity,
    ) -> None:
        self.ledger = ledger
        self.executor = executor
        self.store = store
        self.capacity = capacity
        self.maintenance: Maintenance | None = None

    def audit(self, *, journal: bool) -> Audit:
        """Check the sums and limits; with `journal`, ask a process that replays the journal."""
        lsn, balances, rows = copy_state(self.ledger)
        self.executor.wait(lsn)
        violations = find_violations(self.ledger, balances, rows)
        sums = sum_by_asset(self.ledger, balances, rows)
        # What was found below the snapshot is known already, and no replay from there meets it.
        scrubbed = None if self.maintenance is None else self.maintenance.scrub_state
        if scrubbed is not None:
            violations += [f"journal: {fault}" for fault in scrubbed.damage]
        reason: str | None = NOT_ASKED
        first_lsn = None
        if journal and self.store is None:
            reason = NO_JOURNAL
        elif journal and self.store is not None:
            said = replay_in_helper(self.store, lsn, self.capacity)
            reason = None if said.digest is not None or said.is_damage else said.problem
            if said.is_damage:
                violations.append(f"journal: {said.problem}")
            elif said.digest is not None:
                first_lsn = said.first_lsn
                if said.digest != digest_state(balances, rows):
                    violations.append(f"journal: {CONTRADICTION}")
        return Audit(
            lsn=lsn,
            accounts=len(balances),
            sums=sums,
            violations=tuple(violations),
            journal_checked=reason is None,
            journal_reason=reason,
            journal_from_lsn=first_lsn,
            journal_to_lsn=None if first_lsn is None else lsn,
        )


def limit_text(limit: np.int64) -> str:
    """Return a floor or ceiling as text; the ends of the range stand for none."""
    return str(limit) if BALANCE_MIN <= limit < AMOUNT_MAX else "no limit"
