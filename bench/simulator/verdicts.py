"""Whether the server has kept its promise: audit, replays and balances, judged together.

This module owns the judgement. What it judges was asked by others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .facts import Audit, Balances
from .messages import Checked

EXAMPLES_MAX = 10


@dataclass(frozen=True)
class Checks:
    """What was checked, and every fault as a sentence."""

    audit: str
    asked: int
    mismatches: int
    unasked: int
    open_keys: int
    balances: str
    faults: list[str] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults


def judge(
    results: Sequence[Checked],
    audit: Audit | str,
    before: Balances | None,
    after: Balances | None,
    *,
    is_shared: bool,
) -> Checks:
    """Return the judgement. `audit` is what the server said, or why it said nothing."""
    faults: list[str] = []
    mismatches = sum(result.mismatches for result in results)
    unasked = sum(result.unasked for result in results)
    if mismatches:
        faults.append(f"{mismatches:,} answers do not hold")
        faults += [text for result in results for text in result.examples][:EXAMPLES_MAX]
    if unasked:
        faults.append(f"{unasked:,} answered keys could not be asked again")
    audit_text = _judge_audit(audit, faults)
    if is_shared:
        balances = "not compared: others use the ledger too"
    elif before is None or after is None:
        balances = "not compared: the server did not list them"
    elif unknown := sum(result.unknown_keys for result in results):
        balances = f"not compared: it is not known what became of {unknown:,} keys"
    else:
        moves = np.sum([np.load(result.moves) for result in results], axis=0)
        balances = _judge_balances(after - before - moves, faults)
    return Checks(
        audit=audit_text,
        asked=sum(result.asked for result in results),
        mismatches=mismatches,
        unasked=unasked,
        open_keys=sum(result.open_keys for result in results),
        balances=balances,
        faults=faults,
    )


def _judge_audit(audit: Audit | str, faults: list[str]) -> str:
    if isinstance(audit, str):
        faults.append(audit)
        return "none"
    wrong = {asset: total for asset, total in audit.sums.items() if total != 0}
    if wrong:
        faults.append(f"the balances do not sum to zero: {wrong}")
    if not audit.ok:
        faults.append(f"the audit is not ok: {audit.violations[:EXAMPLES_MAX]}")
    return "ok" if audit.ok and not wrong else "not ok"


def _judge_balances(surplus: Balances, faults: list[str]) -> str:
    """Compare what the accounts gained with what the answers say that they should have."""
    wrong = np.flatnonzero(surplus)
    if not len(wrong):
        return "as answered"
    examples = ", ".join(f"acct-{n} by {surplus[n]:+,}" for n in wrong[:3])
    faults.append(
        f"{len(wrong):,} balances are not what the answers make them ({examples}); if others use"
        " the ledger too, say --shared"
    )
    return "not as answered"
