"""The view of a run while it lasts, on a terminal.

This module owns how the board looks. It goes to the standard error, so that what is written to the
standard output is the summary alone, and there is none where that is no terminal.
"""

from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .board import Board
from .plan import Plan

KINDS_MAX = 6


class Show:
    """Draws the board on a console; does nothing if it is told to be quiet."""

    def __init__(self, plan: Plan, console: Console, *, is_quiet: bool) -> None:
        self._plan = plan
        self._live = None
        if console.is_terminal and not is_quiet:
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def begin(self) -> None:
        """Take the terminal."""
        if self._live is not None:
            self._live.start()

    def draw(self, board: Board) -> None:
        """Show how it stands."""
        if self._live is not None:
            self._live.update(make_view(self._plan, board), refresh=True)

    def end(self) -> None:
        """Give the terminal back as it was."""
        if self._live is not None:
            self._live.stop()


def make_view(plan: Plan, board: Board) -> Group:
    """Return what is shown: a head, the figures, and what is refused."""
    head = Text.assemble(
        ("load test ", "bold"),
        f"{plan.url}  {plan.clients:,} clients  {board.phase}  {max(board.at_s, 0):.1f} s",
    )
    return Group(head, _make_figures(board), _make_refusals(board))


def _make_figures(board: Board) -> Table:
    counts, recent, metrics = board.counts, board.recent(), board.metrics
    table = Table.grid(padding=(0, 3))
    for _ in range(4):
        table.add_column(justify="left", style="dim")
        table.add_column(justify="right", min_width=9)
    cells = {
        "offered": f"{counts.offered:,}",
        "sent": f"{counts.sent:,}",
        "answered": f"{counts.answered:,}",
        "failed": f"{counts.failed:,}",
        "offered/s": f"{recent.offered_per_s:,.0f}",
        "answered/s": f"{recent.answered_per_s:,.0f}",
        "p50": f"{recent.p50_ms:,.1f} ms",
        "p99": f"{recent.p99_ms:,.1f} ms",
        "retries": f"{counts.retries:,}",
        "dropped": f"{counts.dropped:,}",
        "queue depth": _format_metric(metrics.queue_depth),
        "workers": _format_metric(metrics.active_workers),
    }
    pairs = list(cells.items())
    for start in range(0, len(pairs), 4):
        table.add_row(*(text for pair in pairs[start : start + 4] for text in pair))
    return table


def _make_refusals(board: Board) -> Text:
    parts = [_list_kinds("refused", board.refusals), _list_kinds("no answer", board.failures)]
    return Text("\n".join(part for part in parts if part), style="yellow")


def _list_kinds(title: str, kinds: Mapping[str, int]) -> str:
    ranked = sorted(kinds.items(), key=lambda item: -item[1])[:KINDS_MAX]
    told = "  ".join(f"{name} {count:,}" for name, count in ranked)
    return f"{title}: {told}" if told else ""


def _format_metric(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"
