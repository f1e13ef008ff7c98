"""Every answered key asked again: the same status and the same bytes, or the server has lied.

This module owns what a load process can check of its own rows. It judges the server, not the load,
and it moves no money: it repeats only what was answered, and looks up what was not.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ..load.http1 import find_header
from ..load.link import Address
from .asking import RequestMaker
from .clients import KEY_REUSED, digest_body
from .messages import Checked
from .mixes import KINDS
from .plan import Plan
from .questions import Answer, Series
from .samples import ANSWERED, DROPPED, ENDS, STORED, Samples, Sent

EXAMPLES_MAX = 10
CONNECTIONS = 32
DEADLINE_S = 15.0
QUESTIONS_PER_S = 500.0
"""The slowest server whose keys can all be asked: the deadline grows with their number."""

_NONSENSE = KINDS.index("nonsense")
_RENAMED = {"source": "from", "target": "to"}


class _Transfer(msgspec.Struct, rename=_RENAMED):
    source: str
    target: str
    amount: int


class _KeyState(msgspec.Struct):
    state: str
    transfer: _Transfer | None = None


class Checker:
    """Checks the rows of one process."""

    def __init__(self, address: Address, plan: Plan, samples: Samples, names: list[str]) -> None:
        self._address = address
        self._maker = RequestMaker(plan)
        self._patience_s = plan.patience_s
        self._samples = samples
        self._names = names
        self._moves = np.zeros(plan.accounts, np.int64)
        self._asked = self._unasked = self._mismatches = 0
        self._unknown_keys = 0
        self._examples: list[str] = []

    async def check(self, moves_path: str) -> Checked:
        """Ask all there is to ask, and keep in a file what the accounts should have gained."""
        rows = self._find_answered()
        self._note_contradictions(rows)
        await self._ask_again(_first_of_each(rows))
        open_numbers = self._find_open(rows)
        if self._unasked:
            # The time is up, or the server is gone: nothing more can be learned from it.
            self._unknown_keys = len(open_numbers)
        else:
            await self._look_up(open_numbers)
        np.save(moves_path, self._moves)
        return Checked(
            moves_path,
            self._asked,
            self._unasked,
            self._mismatches,
            self._examples,
            len(open_numbers),
            self._unknown_keys,
        )

    def _find_answered(self) -> Samples:
        """Return the rows whose answer has to be the same for ever; note nonsense that was done."""
        samples = self._samples
        is_answered = samples["end"] == ENDS.index(ANSWERED)
        is_nonsense = samples["kind"] == _NONSENSE
        is_success = (samples["status"] >= 200) & (samples["status"] < 300)
        for row in samples[is_nonsense & is_answered & is_success]:
            self._note(row["number"], f"nonsense was answered with {row['status']}")
        is_lasting = (samples["flags"] & STORED) != 0
        if KEY_REUSED in self._names:
            is_lasting |= samples["problem"] == self._names.index(KEY_REUSED)
        found: Samples = samples[is_answered & ~is_nonsense & is_lasting]
        return found

    def _note_contradictions(self, rows: Samples) -> None:
        """Compare the answers that one request had during the run."""
        order = np.argsort(rows["number"], kind="stable")
        ordered = rows[order]
        first, second = ordered[:-1], ordered[1:]
        is_same = np.ones(len(first), bool)
        for name in ("number", "source", "target", "amount"):
            is_same &= first[name] == second[name]
        is_other = (first["digest"] != second["digest"]) | (first["status"] != second["status"])
        for row in first[is_same & is_other]:
            self._note(row["number"], "two answers to one request differ")

    async def _ask_again(self, rows: Samples) -> None:
        series = Series(
            self._address, rows, self._repeat, self._compare, patience_s=self._patience_s
        )
        await series.ask_all(connections=CONNECTIONS, deadline_s=_allow_s(len(rows)))
        self._unasked = series.unanswered
        self._asked = len(rows) - series.unanswered

    def _repeat(self, row: Any) -> bytes:
        return self._maker.make_transfer(_sent_of(row))

    def _compare(self, row: Any, answer: Answer) -> None:
        number = int(row["number"])
        is_stored = bool(row["flags"] & STORED)
        if answer.status != row["status"]:
            self._note(number, f"was answered with {row['status']}, now with {answer.status}")
        elif int.from_bytes(digest_body(answer.body), "little") != row["digest"]:
            self._note(number, "has other bytes in its answer than the first time")
        elif is_stored and find_header(answer.head, b"idempotent-replayed") != "true":
            self._note(number, "has a replay that is not marked Idempotent-Replayed")
        elif answer.status == 201 and not _tells(answer.body, _sent_of(row)):
            self._note(number, "has an answer that tells of another transfer")
        if row["status"] == 201:
            self._moves[row["source"]] -= row["amount"]
            self._moves[row["target"]] += row["amount"]

    def _find_open(self, answered: Samples) -> npt.NDArray[np.uint32]:
        """Return the keys of which nothing is known: they were sent, and have no answer."""
        samples = self._samples
        is_open = ~np.isin(samples["end"], [ENDS.index(ANSWERED), ENDS.index(DROPPED)])
        is_open &= (samples["kind"] != _NONSENSE) & (samples["tries"] > 0)
        numbers = np.unique(samples["number"][is_open])
        return numbers[~np.isin(numbers, answered["number"])]

    async def _look_up(self, numbers: npt.NDArray[np.uint32]) -> None:
        """Learn what became of the keys whose answer was lost."""
        series = Series(
            self._address,
            numbers.tolist(),
            self._maker.make_key_query,
            self._take_state,
            patience_s=self._patience_s,
        )
        await series.ask_all(connections=CONNECTIONS, deadline_s=_allow_s(len(numbers)))
        self._unknown_keys += series.unanswered

    def _take_state(self, number: int, answer: Answer) -> None:
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
            self._unknown_keys += 1

    def _note(self, number: int, what: str) -> None:
        self._mismatches += 1
        if len(self._examples) < EXAMPLES_MAX:
            self._examples.append(f"{self._maker.make_key(int(number))} {what}")


def _first_of_each(rows: Samples) -> Samples:
    """Return one row of each request; a key that was reused may belong to several."""
    if not len(rows):
        return rows
    identity = rows[["number", "source", "target", "amount"]]
    _, first = np.unique(identity, return_index=True)
    return rows[np.sort(first)]


def _sent_of(row: Any) -> Sent:
    return Sent(int(row["number"]), int(row["source"]), int(row["target"]), int(row["amount"]))


def _tells(body: bytes, sent: Sent) -> bool:
    """Tell whether an answer names the transfer that was asked for."""
    try:
        told = msgspec.json.decode(body, type=_Transfer)
    except msgspec.MsgspecError:
        return False
    wanted = _Transfer(f"acct-{sent.source}", f"acct-{sent.target}", sent.amount)
    return told == wanted


def _allow_s(questions: int) -> float:
    return DEADLINE_S + questions / QUESTIONS_PER_S
