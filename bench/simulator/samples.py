"""The samples: one packed row for each intent, written when the intent has ended.

This module owns the layout, which is 56 bytes, and the names of the ends that an intent can come
to. It never judges: what a row means is said in summary.py.
"""

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..load.link import LOST, NO_CONNECTION, UNREADABLE
from .workload import KINDS

ANSWERED, DROPPED = "answered", "dropped"
TIMEOUT, GAVE_UP, HUNG_UP, UNFINISHED = "timeout", "gave-up", "hung-up", "unfinished"
ENDS = (ANSWERED, DROPPED, NO_CONNECTION, LOST, TIMEOUT, UNREADABLE, GAVE_UP, HUNG_UP, UNFINISHED)
"""Answered for good; never sent, for want of room; or one of the ways to have no final answer."""

STORED, LIMITED, REUSED, PROMPT = 1, 2, 4, 8
"""Flags: the answer is an outcome that the server keeps; a 429 was met; the key was not fresh; it
came by a schedule and found a free client, so that what it waited for was the simulator."""

SAMPLE = np.dtype(
    [(name, "<f8") for name in ("scheduled_s", "sent_s", "answered_s")]
    + [("digest", "<u8")]
    + [(name, "<u4") for name in ("number", "source", "target", "amount")]
    + [(name, "<u2") for name in ("status", "tries")]
    + [(name, "u1") for name in ("kind", "end", "problem", "flags")]
)
"""Seconds are from the start of the run, and NaN for what did not happen. `number` makes the key,
`status` is that of the last answer or 0, `problem` an index of the names, of which 0 is none."""

_ROW = struct.Struct("<ddd8sIIIIHHBBBB")
_KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_END_CODES = {end: code for code, end in enumerate(ENDS)}
_NO_DIGEST = bytes(8)
_NAMES_MAX = 250
_TRIES_MAX = 65_535
OTHER = "other"

Samples = npt.NDArray[np.void]


class Sent(NamedTuple):
    """What was asked for: the key's number, the accounts by their numbers, and the amount."""

    number: int
    source: int
    target: int
    amount: int


class Recorder:
    """The rows of one process, and the names of the problems in them."""

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._rows = bytearray()
        self._codes = {"": 0}

    @property
    def names(self) -> list[str]:
        """The names of the problems, at the places that the rows tell."""
        return list(self._codes)

    def samples(self) -> Samples:
        """Return all rows so far, shape (intents,)."""
        return np.frombuffer(bytes(self._rows), SAMPLE)

    def record(
        self,
        kind: str,
        end: str,
        scheduled_s: float,
        sent_s: float,
        answered_s: float,
        sent: Sent,
        tries: int,
        status: int = 0,
        problem: str = "",
        digest: bytes = _NO_DIGEST,
        flags: int = 0,
    ) -> None:
        """Keep one intent. Times are those of the clock that the start was read from."""
        started_s = self._started_s
        self._rows += _ROW.pack(
            scheduled_s - started_s,
            sent_s - started_s,
            answered_s - started_s,
            digest,
            *sent,
            status,
            min(tries, _TRIES_MAX),
            _KIND_CODES[kind],
            _END_CODES[end],
            _find_code(problem, self._codes),
            flags,
        )

    def record_drop(self, scheduled_s: float) -> None:
        """Keep an arrival that no client took."""
        never_s = float("nan")
        self.record(KINDS[0], DROPPED, scheduled_s, never_s, never_s, Sent(0, 0, 0, 0), 0)


def merge_samples(parts: list[tuple[Samples, list[str]]]) -> tuple[Samples, list[str]]:
    """Return the rows of all processes by the time of their schedule, and the names they share."""
    codes = {"": 0}
    merged = []
    for samples, names in parts:
        mapped = np.array([_find_code(name, codes) for name in names], np.uint8)
        rows = samples.copy()
        rows["problem"] = mapped[samples["problem"]]
        merged.append(rows)
    everything = np.concatenate(merged) if merged else np.zeros(0, SAMPLE)
    order = np.argsort(everything["scheduled_s"], kind="stable")
    return everything[order], list(codes)


def _find_code(name: str, codes: dict[str, int]) -> int:
    """Return the code of a name. A server that lies may invent one for every answer."""
    if name not in codes and len(codes) >= _NAMES_MAX:
        name = OTHER
    return codes.setdefault(name, len(codes))
