"""The verification after a run: answers that hold, an audit, and balances.

Each load process asks every answered key again: the same status and the same bytes, or the server
has lied. What they found is judged together, with the audit and the balances. This module judges
the server, not the load, and it moves no money: it repeats only what was answered, and looks up
what was not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ..load.http1 import find_header
from ..load.link import Address
from .clients import KEY_REUSED, digest_body
from .messages import Checked
from .plan import Plan
from .samples import ANSWERED, DROPPED, ENDS, STORED, Samples, Sent
from .server_facts import Answer, Audit, Balances, FactFinder
from .workload import KINDS

EXAMPLES_MAX = 10

_NONSENSE = KINDS.index("nonsense")
_REQUEST = ["number", "source", "target", "amount"]
"""What makes two rows the same request; a key that was reused may belong to several."""


# -- what a load process finds ----------------------------------------------------------------


class _Transfer(msgspec.Struct, rename={"source": "from", "target": "to"}):
    source: str
    target: str
    amount: int


class _KeyState(msgspec.Struct):
    state: str
    transfer: _Transfer | None = None


class Checker:
    """Checks the rows of one process."""

    def __init__(self, address: Address, plan: Plan, samples: Samples, names: list[str]) -> None:
        self._facts = FactFinder(address, plan, plan.patience_s)
        self._maker = self._facts.maker
        self._samples = samples
        self._names = names
        self._moves = np.zeros(plan.accounts, np.int64)

    async def check(self, moves_path: str) -> Checked:
        """Ask all there is to ask, and keep in a file what the accounts should have gained."""
        found = self._found = Checked(moves_path)
        rows = self._find_answered()
        requests, numbers = self._find_requests(rows), self._find_open(rows)
        found.open_keys = len(numbers)
        found.unasked = await self._facts.ask_all(requests, self._repeat, self._compare)
        found.asked = len(requests) - found.unasked
        if found.unasked:
            # The time is up, or the server is gone: nothing more can be learned from it.
            found.unknown_keys = len(numbers)
        else:
            unanswered = await self._facts.ask_all(numbers, self._look_up, self._learn)
            found.unknown_keys += unanswered
        np.save(moves_path, self._moves)
        return found

    def _find_answered(self) -> Samples:
        """Return the rows whose answer has to be the same for ever; note nonsense that was done."""
        samples = self._samples
        is_answered = samples["end"] == ENDS.index(ANSWERED)
        is_nonsense = samples["kind"] == _NONSENSE
        is_success = (samples["status"] >= 200) & (samples["status"] < 300)
        for row in samples[is_nonsense & is_answered & is_success]:
            self._note(row, f"nonsense was answered with {row['status']}")
        is_lasting = (samples["flags"] & STORED) != 0
        if KEY_REUSED in self._names:
            is_lasting |= samples["problem"] == self._names.index(KEY_REUSED)
        found: Samples = samples[is_answered & ~is_nonsense & is_lasting]
        return found

    def _find_open(self, answered: Samples) -> list[int]:
        """Return the keys of which nothing is known: they were sent, and have no answer."""
        samples = self._samples
        is_open = ~np.isin(samples["end"], [ENDS.index(ANSWERED), ENDS.index(DROPPED)])
        is_open &= (samples["kind"] != _NONSENSE) & (samples["tries"] > 0)
        numbers: list[int] = np.setdiff1d(samples["number"][is_open], answered["number"]).tolist()
        return numbers

    def _find_requests(self, rows: Samples) -> Samples:
        """Return one row of each request; note those that were answered in two ways."""
        if not len(rows):
            return rows
        _, firsts, groups = np.unique(rows[_REQUEST], return_index=True, return_inverse=True)
        first = rows[firsts[groups]]
        for row in rows[(rows["digest"] != first["digest"]) | (rows["status"] != first["status"])]:
            self._note(row, "two answers to one request differ")
        requests: Samples = rows[np.sort(firsts)]
        return requests

    def _repeat(self, row: Any) -> bytes:
        return self._maker.make_transfer(_sent_of(row))

    def _compare(self, row: Any, answer: Answer) -> None:
        is_stored = bool(row["flags"] & STORED)
        if answer.status != row["status"]:
            self._note(row, f"was answered with {row['status']}, now with {answer.status}")
        elif int.from_bytes(digest_body(answer.body), "little") != row["digest"]:
            self._note(row, "has other bytes in its answer than the first time")
        elif is_stored and find_header(answer.head, b"idempotent-replayed") != "true":
            self._note(row, "has a replay that is not marked Idempotent-Replayed")
        elif answer.status == 201 and not _tells(answer.body, _sent_of(row)):
            self._note(row, "has an answer that tells of another transfer")
        if row["status"] == 201:
            self._moves[row["source"]] -= row["amount"]
            self._moves[row["target"]] += row["amount"]

    def _look_up(self, number: int) -> bytes:
        """Return the question what became of a key whose answer was lost."""
        return self._maker.make("GET", f"/idempotency-keys/{self._maker.make_key(number)}")

    def _learn(self, number: int, answer: Answer) -> None:
        try:
            told = msgspec.json.decode(answer.body, type=_KeyState)
            if told.state == "applied" and told.transfer is not None:
                source, target = (
                    int(name.removeprefix("acct-"))
                    for name in (told.transfer.source, told.transfer.target)
                )
                self._moves[source] -= told.transfer.amount
                self._moves[target] += told.transfer.amount
        except (msgspec.MsgspecError, ValueError, IndexError):
            self._found.unknown_keys += 1

    def _note(self, row: Any, what: str) -> None:
        self._found.mismatches += 1
        if len(self._found.examples) < EXAMPLES_MAX:
            self._found.examples.append(f"{self._maker.make_key(int(row['number']))} {what}")


def _sent_of(row: Any) -> Sent:
    return Sent(*(int(row[name]) for name in _REQUEST))


def _tells(body: bytes, sent: Sent) -> bool:
    """Tell whether an answer names the transfer that was asked for."""
    try:
        told = msgspec.json.decode(body, type=_Transfer)
    except msgspec.MsgspecError:
        return False
    return told == _Transfer(f"acct-{sent.source}", f"acct-{sent.target}", sent.amount)


# -- what is judged of it ---------------------------------------------------------------------


@dataclass(frozen=True)
class Checks:
    """What was checked, and every fault as a sentence."""

    audit: str
    asked: int
    mismatches: int
    unasked: int
    open_keys: int
    balances: str
    faults: list[str]

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
