"""How figures are written: numbers with their units, and tables for a terminal and in Markdown.

This module owns that form for all commands. It never says what stands in a table, nor where the
figures come from.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .measure import Figure

REACHED, MISSED = "reached", "MISSED"


# -- numbers --------------------------------------------------------------------------------------
def format_value(value: float | None, unit: str) -> str:
    """Return a number with its unit, short enough for a table."""
    if value is None:
        return ""
    if not unit.endswith("/s"):
        number = f"{value:,.2f}" if abs(value) >= 0.1 else f"{value:.3g}"
        return f"{number} {unit}".rstrip()
    if value >= 1e6:
        return f"{value / 1e6:,.2f} M/s"
    return f"{value:,.0f} /s"


def format_rate(value: float | None) -> str:
    """Return how many there are in a second."""
    return format_value(value, "/s")


def format_ms(value: float | None) -> str:
    """Return a time in milliseconds; a dash for none."""
    return "-" if value is None else f"{value:.2f} ms"


def format_us(value: float) -> str:
    """Return a time in microseconds."""
    return f"{value:.2f} µs"


def format_times(value: float | None, digits: int | None = None) -> str:
    """Return how many times as much one is as another, by default with two digits that mean much.

    A question mark stands for what could not be measured.
    """
    if value is None:
        return "?"
    if digits is None:
        digits = 3 if value < 0.1 else 2 if value < 10 else 0
    return f"{value:,.{digits}f} ×"


def format_verdict(is_reached: bool) -> str:
    """Return whether a goal is reached, in a word."""
    return REACHED if is_reached else MISSED


# -- tables ---------------------------------------------------------------------------------------
Row = TypeVar("Row")
Columns = Mapping[str, Callable[[Row], str]]
"""What stands in each column of a table, by the column's head."""


def make_cells(columns: Columns[Row], rows: Iterable[Row]) -> list[list[str]]:
    """Return the cells of a table, a list for each row; the first has the heads."""
    return [list(columns), *([write(row) for write in columns.values()] for row in rows)]


def format_table(cells: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return the lines of a table: the first `left` columns to the left, the rest to the right."""
    return ["  ".join(row).rstrip() for row in _align(cells, left)]


def format_markdown(cells: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return the lines of the same table in Markdown, which can be read as it is too."""
    head, *body = _align(cells, left)
    rule = [
        "-" * len(cell) if column < left else f"{'-' * (len(cell) - 1)}:"
        for column, cell in enumerate(head)
    ]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)]


def _align(table: Sequence[Sequence[str]], left: int) -> list[list[str]]:
    """Return a table whose cells are as wide as their columns; none is narrower than a rule."""
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    return [
        [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in table
    ]


# -- the report of `make bench`, and files --------------------------------------------------------
FIGURE_COLUMNS: Columns[Figure] = {
    "figure": lambda figure: figure.name,
    "median": lambda figure: format_value(figure.median, figure.unit),
    "lowest": lambda figure: format_value(figure.low, figure.unit),
    "highest": lambda figure: format_value(figure.high, figure.unit),
    "a CPU second": lambda figure: format_value(figure.per_cpu_s, figure.unit),
    "goal": lambda figure: format_value(figure.goal, figure.unit),
    "": lambda figure: "" if figure.goal is None else format_verdict(figure.is_reached),
}


def format_report(figures: Sequence[Figure], machine: str) -> list[str]:
    """Return the lines of a report: every figure beside its goal, and then the notes."""
    lines = [machine, "", *format_table(make_cells(FIGURE_COLUMNS, figures))]
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return [*lines, "", *notes] if notes else lines


def write_json(path: Path, data: Any) -> None:
    """Write data into a file, as JSON that people can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n")
