"""What is known of a run while it lasts: the counts of all processes, and the last second of it.

This module owns the sums and the window. It draws nothing: that is live.py.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from .facts import Metrics
from .messages import Running
from .tally import Counts

WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the server told of itself, so many seconds after the start."""

    at_s: float
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Recent:
    """The last second: requests offered and answered in it, and how long they took."""

    offered_per_s: float
    answered_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass
class _Process:
    """The last of a process, and by the seconds since the start its time on a processor.

    `wanted` counts the time as well in which it was ready to run and others had the processor.
    """

    last: Running | None = None
    cpu: list[tuple[float, float]] = field(default_factory=list)
    wanted: list[tuple[float, float]] = field(default_factory=list)


class Board:
    """The state of a run, made of what its processes tell."""

    def __init__(self, processes: int) -> None:
        self._processes = [_Process() for _ in range(processes)]
        self._window: deque[tuple[float, Counts, list[int]]] = deque()
        self.readings: list[Reading] = []
        self.phase = "starting"
        self.at_s = 0.0

    def take(self, index: int, message: Running) -> None:
        """Take what a process tells."""
        process = self._processes[index]
        process.last = message
        progress = message.progress
        process.cpu.append((message.at_s, progress.cpu_s))
        process.wanted.append((message.at_s, progress.cpu_s + progress.waited_s))
        self.at_s = max(self.at_s, message.at_s)
        self._window.append((self.at_s, self.counts, message.progress.latencies_us))
        while self._window[0][0] < self.at_s - WINDOW_S:
            self._window.popleft()

    @property
    def counts(self) -> Counts:
        """The counts of all processes."""
        counts = Counts()
        for process in self._processes:
            if process.last is not None:
                counts.add(process.last.progress.counts)
        return counts

    @property
    def refusals(self) -> Counter[str]:
        """The refusals of all processes, by kind."""
        return self._add_up("refusals")

    @property
    def failures(self) -> Counter[str]:
        """The tries without an answer of all processes, by what happened."""
        return self._add_up("failures")

    @property
    def metrics(self) -> Metrics:
        """What the server told last."""
        return self.readings[-1].metrics if self.readings else Metrics()

    def recent(self) -> Recent:
        """Return the figures of the last second."""
        if not self._window:
            return Recent(0.0, 0.0, 0.0, 0.0)
        first_s, first, _ = self._window[0]
        last_s, last, _ = self._window[-1]
        seconds = max(last_s - first_s, 1e-3)
        latencies_us = [latency for _, _, part in self._window for latency in part]
        p50_us, p99_us = np.percentile(latencies_us or [0], (50, 99))
        return Recent(
            (last.offered - first.offered) / seconds,
            (last.answered - first.answered) / seconds,
            float(p50_us) / 1000,
            float(p99_us) / 1000,
        )

    def cpu_shares(self) -> list[float]:
        """Return the busiest second of each process, as a share of one processor."""
        return [_find_busiest(process.cpu) for process in self._processes]

    def wanted_shares(self) -> list[float]:
        """Return the same for the time in which a process had a processor, or waited for one."""
        return [_find_busiest(process.wanted) for process in self._processes]

    def _add_up(self, what: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for process in self._processes:
            if process.last is not None:
                total.update(getattr(process.last.progress, what))
        return total


def _find_busiest(cpu: list[tuple[float, float]]) -> float:
    """Return the highest share over any second, or over all of it where it was shorter."""
    busiest = 0.0
    start = 0
    for at_s, cpu_s in cpu:
        while start + 1 < len(cpu) and cpu[start + 1][0] <= at_s - WINDOW_S:
            start += 1
        first_s, first_cpu_s = cpu[start]
        if at_s - first_s >= min(WINDOW_S, (cpu[-1][0] - cpu[0][0]) * 0.99) > 0:
            busiest = max(busiest, (cpu_s - first_cpu_s) / (at_s - first_s))
    return busiest
