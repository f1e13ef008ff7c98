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
        return f"{value:,.2f} {unit}".rstrip()
    if value >= 1e6:
        return f"{value / 1e6:,.2f} M/s"
    return f"{value:,.0f} /s"


def format_report(figures: Sequence[Figure], machine: str) -> list[str]:
    """Return the lines of the report."""
    table = [HEADS, *(_make_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADS))]
    lines = [machine, ""]
    for row in table:
        name, *cells = row
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return [*lines, "", *notes] if notes else lines


def _make_row(figure: Figure) -> tuple[str, ...]:
    numbers = (figure.median, figure.low, figure.high)
    cells = [format_value(number, figure.unit) for number in numbers]
    cpu = "" if figure.per_cpu_s is None else format_value(figure.per_cpu_s, figure.unit)
    verdict = "" if figure.goal is None else "reached" if figure.is_reached else "MISSED"
    return (figure.name, *cells, cpu, format_value(figure.goal, figure.unit), verdict)
