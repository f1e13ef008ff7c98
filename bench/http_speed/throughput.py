"""The closed loop: every server in turn, at each number of connections, round by round.

This module owns what a turn is and how turns become rows. It compares nothing: that is ratios.py.
"""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..measure import Figure, make_figure
from .loads import Generator, Load
from .subjects import Subject

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """One server under load once, and the processor time that it had meanwhile."""

    load: Load
    user_s: float
    system_s: float

    @property
    def cpu_us(self) -> float:
        """The microseconds of processor that a request took."""
        return (self.user_s + self.system_s) / self.load.requests * 1e6

    @property
    def cpu_share(self) -> float:
        """How much of its core the server had."""
        return (self.user_s + self.system_s) / self.load.seconds


Turns = Mapping[tuple[str, int], Sequence[Turn]]
"""The turns that count, by the name of the server and the number of connections."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a server at a number of connections: medians over the rounds.

    Microseconds of processor are those of one request; `load_share` is the largest share of its
    core that the generator had, and `core_share` the median of what the server had of its own: well
    below all of it, with a generator that is not at its limit, somebody else was on that core.
    """

    title: str
    name: str
    connections: int
    rate: Figure
    p50_ms: float
    p99_ms: float
    user_us: float
    system_us: float
    core_share: float
    load_share: float
    is_load_limit: bool

    @property
    def cpu_us(self) -> float:
        """The microseconds of processor of one request."""
        return self.user_us + self.system_us


def run_rounds(
    subjects: Mapping[str, Subject],
    generator: Generator,
    connections: Sequence[int],
    rounds: int,
    seconds: float,
    tell: Tell,
) -> Turns:
    """Load every server in turn, `rounds` times besides once that does not count."""
    turns: dict[tuple[str, int], list[Turn]] = {
        (name, count): [] for count in connections for name in subjects
    }
    for number in range(rounds + 1):
        tell(f"closed loop: round {number} of {rounds}" if number else "closed loop: warming up")
        # There and back, so that none is always the one that comes after a certain other.
        for name, count in list(turns)[:: -1 if number % 2 else 1]:
            turns[name, count].append(take_turn(subjects[name], generator, count, seconds))
    return {key: timed[1:] for key, timed in turns.items()}


def take_turn(subject: Subject, generator: Generator, connections: int, seconds: float) -> Turn:
    """Load one server once."""
    # Nobody is to wait for the disk because of what the one before left to be written.
    os.sync()
    before = subject.cpu_times
    load = generator(subject.url, connections, seconds)
    after = subject.cpu_times
    return Turn(load, after.user_s - before.user_s, after.system_s - before.system_s)


def make_rows(subjects: Mapping[str, Subject], turns: Turns) -> list[Row]:
    """Return a row for each server at each number of connections."""
    return [
        _make_row(subjects[name], connections, timed)
        for (name, connections), timed in turns.items()
    ]


def _make_row(subject: Subject, connections: int, timed: Sequence[Turn]) -> Row:
    requests = [turn.load.requests for turn in timed]
    return Row(
        title=subject.title,
        name=subject.name,
        connections=connections,
        rate=make_figure(subject.title, "requests/s", [turn.load.rate for turn in timed]),
        p50_ms=statistics.median(turn.load.p50_ms for turn in timed),
        p99_ms=statistics.median(turn.load.p99_ms for turn in timed),
        user_us=sum(turn.user_s for turn in timed) / sum(requests) * 1e6,
        system_us=sum(turn.system_s for turn in timed) / sum(requests) * 1e6,
        core_share=statistics.median(turn.cpu_share for turn in timed),
        load_share=max(turn.load.cpu_share for turn in timed),
        is_load_limit=any(turn.load.is_bottleneck for turn in timed),
    )


def find_peak(turns: Turns, name: str) -> float:
    """Return the requests a second of a server at the number of connections that suits it best."""
    return max(
        statistics.median(turn.load.rate for turn in timed)
        for (subject, _), timed in turns.items()
        if subject == name
    )
