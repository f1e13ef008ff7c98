"""Many transfers in a request: JSON and Arrow, over one connection and several, durable.

This module owns the rounds and the goals of POST /transfers. The server has a ledger of its own,
whose keys are as many as the rounds need.
"""

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ..load import CPU_SHARE_MAX
from ..measure import Figure, Round, make_rate
from ..workloads import Workload
from .bulk_requests import ARROW, ITEMS, JSON, check_answers, list_formats, make_requests
from .bulk_sender import send_all
from .subjects import DURABLE, Setting, Subject, open_own
from .throughput import Tell

CONNECTIONS = (1, 4)
GOALS = {JSON: 1e6, ARROW: 2e6}
REQUESTS_PER_S = 24
"""So many requests are got ready for each second that a round may take; they last a fraction of it,
for all of them are kept in memory."""


@dataclass(frozen=True, slots=True)
class BulkRow:
    """One format over so many connections. `load_share` is the most that the sender had."""

    kind: str
    connections: int
    rate: Figure
    cpu_us: float
    load_share: float

    @property
    def is_load_limit(self) -> bool:
        """Whether the sender may have been what limited the rate."""
        return self.load_share > CPU_SHARE_MAX


@dataclass(frozen=True, slots=True)
class _Timed:
    """A round, and the share of its core that the sender had in it."""

    round: Round
    load_share: float


def count_transfers(seconds: float) -> int:
    """Return how many transfers one format makes in one round."""
    return math.ceil(REQUESTS_PER_S * seconds) * ITEMS


def measure_bulk(setting: Setting, rounds: int, seconds: float, tell: Tell) -> list[BulkRow]:
    """Send to a server of its own, `rounds` times besides once that does not count."""
    formats = [(kind, count) for kind in list_formats() for count in CONNECTIONS]
    size = count_transfers(seconds)
    keys = (rounds + 1) * len(formats) * size
    own = replace(setting, scratch=setting.scratch / "bulk", keys=keys)
    own.scratch.mkdir()
    timed: dict[tuple[str, int], list[_Timed]] = {one: [] for one in formats}
    with ExitStack() as stack:
        server = open_own(DURABLE, own, stack)
        streams = iter(range(keys))
        for number in range(rounds + 1):
            tell(f"bulk: round {number} of {rounds}" if number else "bulk: warming up")
            for kind, connections in formats:
                taken = _time_once(own, server, kind, connections, size, next(streams))
                timed[kind, connections].append(taken)
    return [_make_row(kind, count, kept[1:]) for (kind, count), kept in timed.items()]


def _time_once(
    setting: Setting, server: Subject, kind: str, connections: int, size: int, stream: int
) -> _Timed:
    workload = Workload(setting.accounts)
    requests = make_requests(kind, server.url, workload, workload.transfers(size, stream))
    os.sync()
    before = server.cpu_times
    sent = send_all(setting.load_core, server.url, connections, requests)
    after = server.cpu_times
    check_answers(kind, sent.answers)
    cpu_s = after.user_s - before.user_s + after.system_s - before.system_s
    return _Timed(Round(size, sent.seconds, cpu_s), sent.cpu_share)


def _make_row(kind: str, connections: int, timed: Sequence[_Timed]) -> BulkRow:
    rounds = [one.round for one in timed]
    cpu_us = sum(one.cpu_s for one in rounds) / sum(one.work for one in rounds) * 1e6
    rate = make_rate(f"{kind}, {connections}", "transfers/s", rounds, goal=GOALS[kind])
    return BulkRow(kind, connections, rate, cpu_us, max(one.load_share for one in timed))
