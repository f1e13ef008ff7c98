"""The closed loop: every server in turn, at each number of connections, round by round.

This module owns what a turn is, how turns become rows and ratios, and the goals of the project. A
ratio compares what was measured seconds apart in the same round, so that what else happens on the
machine hits both.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..load.generators import Load
from ..machine import CpuTimes
from ..measure import Figure, count_rounds, make_figure
from ..report import format_verdict
from .subjects import DURABLE, GO_LOG, GO_MEMORY, MEMORY, PLAIN_NAME, Setting, Subject

GOALS: dict[tuple[str, str], Mapping[int, float]] = {
    (DURABLE, PLAIN_NAME): {64: 4.0, 256: 4.0},
    (MEMORY, PLAIN_NAME): {64: 4.0, 256: 4.0},
    (DURABLE, GO_LOG): {64: 4.0, 256: 3.0},
    (MEMORY, GO_MEMORY): {64: 3.0},
}
"""What is compared with what, and the goals of the ratio by the number of connections."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One server under load once, and the processor time that it had meanwhile."""

    load: Load
    cpu: CpuTimes

    @property
    def cpu_us(self) -> float:
        """The microseconds of processor that a request took."""
        return self.cpu.total_s / self.load.requests * 1e6


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


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio by the wall and by processor time; the latter is None if its clock has not moved.

    Where the generator may have been the limit of the faster server, the wall shows too little.
    """

    name: str
    connections: int
    by_wall: Figure
    by_cpu: Figure | None
    is_load_limit: bool

    @property
    def verdict(self) -> str:
        """Whether the goal is reached, by each of the clocks; empty where there is none."""
        if self.by_wall.goal is None:
            return ""
        by_wall = format_verdict(self.by_wall.is_reached)
        if self.by_cpu is None or self.by_cpu.is_reached == self.by_wall.is_reached:
            return by_wall
        return f"{by_wall} by the wall, {format_verdict(self.by_cpu.is_reached)} by CPU"


def run_rounds(
    subjects: Mapping[str, Subject],
    setting: Setting,
    connections: Sequence[int],
    rounds: int | None = None,
) -> Turns:
    """Load every server in turn, as often as is set besides once that does not count."""
    turns: dict[tuple[str, int], list[Turn]] = {
        (name, count): [] for count in connections for name in subjects
    }
    for number in count_rounds(rounds or setting.rounds, "closed loop", setting.tell):
        # There and back, so that none is always the one that comes after a certain other.
        for name, count in list(turns)[:: -1 if number % 2 else 1]:
            subject = subjects[name]
            # Nobody is to wait for the disk because of what the one before left to be written.
            os.sync()
            before = subject.cpu_times
            load = setting.generator(subject.url, count, setting.seconds, subject.headers)
            turns[name, count].append(Turn(load, subject.cpu_times - before))
    return {key: timed[1:] for key, timed in turns.items()}


def make_rows(subjects: Mapping[str, Subject], turns: Turns) -> list[Row]:
    """Return a row for each server at each number of connections."""
    return [
        _make_row(subjects[name], connections, timed)
        for (name, connections), timed in turns.items()
    ]


def _make_row(subject: Subject, connections: int, timed: Sequence[Turn]) -> Row:
    loads = [turn.load for turn in timed]
    requests = sum(load.requests for load in loads)
    return Row(
        title=subject.title,
        name=subject.name,
        connections=connections,
        rate=make_figure(subject.title, "requests/s", [load.rate for load in loads]),
        p50_ms=statistics.median(load.p50_ms for load in loads),
        p99_ms=statistics.median(load.p99_ms for load in loads),
        user_us=sum(turn.cpu.user_s for turn in timed) / requests * 1e6,
        system_us=sum(turn.cpu.system_s for turn in timed) / requests * 1e6,
        core_share=statistics.median(turn.cpu.total_s / turn.load.seconds for turn in timed),
        load_share=max(load.cpu_share for load in loads),
        is_load_limit=any(load.is_bottleneck for load in loads),
    )


def find_peak(turns: Turns, name: str) -> float:
    """Return the requests a second of a server at the number of connections that suits it best."""
    return max(
        statistics.median(turn.load.rate for turn in timed)
        for (subject, _), timed in turns.items()
        if subject == name
    )


def compare(turns: Turns) -> list[Ratio]:
    """Return every ratio whose two servers were measured, at each number of connections."""
    return [
        make_ratio((upper, lower), count, turns, goals.get(count))
        for (upper, lower), goals in GOALS.items()
        for name, count in turns
        if name == upper and (lower, count) in turns
    ]


def make_ratio(pair: tuple[str, str], count: int, turns: Turns, goal: float | None) -> Ratio:
    """Return the ratio of two servers at a number of connections, from turns of the same rounds."""
    name = " : ".join(pair)
    upper, lower = (turns[each, count] for each in pair)
    both = list(zip(upper, lower, strict=True))
    by_wall = [one.load.rate / other.load.rate for one, other in both]
    # A round in which the processor's clock has not moved tells nothing.
    by_cpu = [other.cpu_us / one.cpu_us for one, other in both if one.cpu_us and other.cpu_us]
    return Ratio(
        name,
        count,
        make_figure(name, "", by_wall, goal=goal),
        make_figure(name, "", by_cpu, goal=goal) if by_cpu else None,
        any(turn.load.is_bottleneck for turn in upper),
    )
