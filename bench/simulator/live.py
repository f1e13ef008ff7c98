"""A run while it lasts: what its processes have told so far, and how that is shown on a terminal.

This module owns the sums, the last second, and the view. The view goes to the standard error, so
that what is written to the standard output is the summary alone, and there is none where that is no
terminal.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .messages import Counts, Progress
from .patterns import Floats
from .plan import Plan
from .server_facts import Metrics

WINDOW_S = 1.0
SHOW_S = 0.25
KINDS_MAX = 6


# -- what is known ----------------------------------------------------------------------------


class Recent(NamedTuple):
    """The last second: requests offered and answered in it, and how long they took."""

    offered_per_s: float
    answered_per_s: float
    p50_ms: float
    p99_ms: float


class Board:
    """The state of a run, made of what its processes and the server tell."""

    def __init__(self, processes: int) -> None:
        self._last = [Progress() for _ in range(processes)]
        self._times: list[list[tuple[float, float, float]]] = [[] for _ in range(processes)]
        self._window: deque[tuple[float, Counts, list[int]]] = deque()
        self.readings: list[tuple[float, Metrics]] = []
        """What the server told of itself, each with the seconds since the start."""
        self.phase = "starting"
        self.at_s = 0.0

    def update(self, index: int, told: Progress) -> None:
        """Take what a process tells."""
        self._last[index] = told
        self._times[index].append((told.at_s, told.cpu_s, told.waited_s))
        self.at_s = max(self.at_s, told.at_s)
        self._window.append((self.at_s, self.counts, told.latencies_us))
        while self._window[0][0] < self.at_s - WINDOW_S:
            self._window.popleft()

    @property
    def counts(self) -> Counts:
        """The counts of all processes."""
        columns = zip(*(msgspec.structs.astuple(told.counts) for told in self._last), strict=True)
        return Counts(*map(sum, columns))

    @property
    def refusals(self) -> Counter[str]:
        """The refusals of all processes, by the name of the problem."""
        return sum((Counter(told.refusals) for told in self._last), Counter())

    @property
    def failures(self) -> Counter[str]:
        """The tries without an answer of all processes, by what happened."""
        return sum((Counter(told.failures) for told in self._last), Counter())

    @property
    def metrics(self) -> Metrics:
        """What the server told last."""
        return self.readings[-1][1] if self.readings else Metrics()

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
        return [_find_busiest(at_s, cpu_s) for at_s, cpu_s, _ in self._each_times()]

    def wanted_shares(self) -> list[float]:
        """Return the same for the time in which a process had a processor, or waited for one."""
        return [_find_busiest(at_s, cpu_s + late_s) for at_s, cpu_s, late_s in self._each_times()]

    def _each_times(self) -> list[Floats]:
        return [np.array(times).reshape(-1, 3).T for times in self._times]


def _find_busiest(at_s: Floats, used_s: Floats) -> float:
    """Return the highest share over any second, or over all of it where it was shorter."""
    if not len(at_s):
        return 0.0
    starts = np.maximum(np.searchsorted(at_s, at_s - WINDOW_S, side="right") - 1, 0)
    seconds, used_s = at_s - at_s[starts], used_s - used_s[starts]
    is_whole = (seconds > 0) & (seconds >= min(WINDOW_S, (at_s[-1] - at_s[0]) * 0.99))
    return float(max(used_s[is_whole] / seconds[is_whole], default=0.0))


# -- how it is shown --------------------------------------------------------------------------


@asynccontextmanager
async def show(plan: Plan, board: Board, console: Console | None) -> AsyncIterator[None]:
    """Show the board on a console until the block is left; on none, or no terminal, nothing."""
    if console is None or not console.is_terminal:
        yield
        return

    async def keep_drawing() -> None:
        while True:
            live.update(make_view(plan, board), refresh=True)
            await asyncio.sleep(SHOW_S)

    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawing = asyncio.create_task(keep_drawing())
        try:
            yield
        finally:
            drawing.cancel()


def make_view(plan: Plan, board: Board) -> Group:
    """Return what is shown: a head, the figures, and what is refused."""
    head = Text.assemble(
        ("load test ", "bold"),
        f"{plan.url}  {plan.clients:,} clients  {board.phase}  {max(board.at_s, 0):.1f} s",
    )
    troubles = [_list_kinds("refused", board.refusals), _list_kinds("no answer", board.failures)]
    return Group(head, _make_figures(board), Text("\n".join(filter(None, troubles)), "yellow"))


def _make_figures(board: Board) -> Table:
    counts, recent, metrics = board.counts, board.recent(), board.metrics
    cells = [
        ("offered", f"{counts.offered:,}"),
        ("sent", f"{counts.sent:,}"),
        ("answered", f"{counts.answered:,}"),
        ("failed", f"{counts.failed:,}"),
        ("offered/s", f"{recent.offered_per_s:,.0f}"),
        ("answered/s", f"{recent.answered_per_s:,.0f}"),
        ("p50", f"{recent.p50_ms:,.1f} ms"),
        ("p99", f"{recent.p99_ms:,.1f} ms"),
        ("retries", f"{counts.retries:,}"),
        ("dropped", f"{counts.dropped:,}"),
        ("queue depth", _format_metric(metrics.queue_depth)),
        ("workers", _format_metric(metrics.active_workers)),
    ]
    table = Table.grid(padding=(0, 3))
    for _ in range(4):
        table.add_column(justify="left", style="dim")
        table.add_column(justify="right", min_width=9)
    for start in range(0, len(cells), 4):
        table.add_row(*(text for pair in cells[start : start + 4] for text in pair))
    return table


def _list_kinds(title: str, kinds: Mapping[str, int]) -> str:
    ranked = sorted(kinds.items(), key=lambda item: -item[1])[:KINDS_MAX]
    told = "  ".join(f"{name} {count:,}" for name, count in ranked)
    return f"{title}: {told}" if told else ""


def _format_metric(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"
