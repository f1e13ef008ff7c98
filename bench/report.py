"""The report at the end of a run: every figure beside its goal. The only module that prints.

It owns how numbers are written, and never where they come from.
"""

from collections.abc import Sequence

from .measure import Figure

HEADS = ("figure", "median", "lowest", "highest", "a CPU second", "goal", "")


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


def format_report(figures: Sequence[Figure], machine: str) -> list[str]:
    """Return the lines of the report."""
    lines = [machine, "", *format_table(HEADS, [_make_row(figure) for figure in figures])]
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return [*lines, "", *notes] if notes else lines


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, numbers to the right."""
    table = [heads, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = []
    for name, *cells in table:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    return lines


def format_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of the same table in Markdown."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def _make_row(figure: Figure) -> tuple[str, ...]:
    numbers = (figure.median, figure.low, figure.high)
    cells = [format_value(number, figure.unit) for number in numbers]
    cpu = "" if figure.per_cpu_s is None else format_value(figure.per_cpu_s, figure.unit)
    verdict = "" if figure.goal is None else "reached" if figure.is_reached else "MISSED"
    return (figure.name, *cells, cpu, format_value(figure.goal, figure.unit), verdict)
