"""The comparison as a table in Markdown, and as JSON.

This module owns how it is written. It holds no figure of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..load.loops import CPU_SHARE_MAX
from ..report import Columns, format_markdown, format_ms, make_cells
from .comparison import Plan, Row

FIGURES: Columns[Row] = {
    "peer": lambda row: row.title,
    "transfers/s": lambda row: f"{row.rate:,.0f}",
    "lowest to highest": lambda row: f"{min(row.rates):,.0f} to {max(row.rates):,.0f}",
    "p50": lambda row: format_ms(row.p50_ms),
    "p99": lambda row: format_ms(row.p99_ms),
    "clients": lambda row: str(row.clients),
    "load": lambda row: "inside" if row.load_share is None else f"{row.load_share:.0%}",
}
MEANINGS: Columns[Row] = {
    "peer": lambda row: row.title,
    "version": lambda row: row.version,
    "what an answer means": lambda row: row.durability,
}


def make_report(
    rows: Sequence[Row], missing: Mapping[str, str], machine: str, plan: Plan
) -> dict[str, Any]:
    """Return all that is known, as what JSON can hold."""
    return {
        "machine": machine,
        "plan": asdict(plan),
        "peers": [{**asdict(row), "rate": row.rate} for row in rows],
        "missing": dict(missing),
    }


def format_table(rows: Sequence[Row], missing: Mapping[str, str], machine: str, plan: Plan) -> str:
    """Return the report as Markdown, which can be read as it is too."""
    figures = format_markdown(make_cells(FIGURES, rows))
    meanings = format_markdown(make_cells(MEANINGS, rows), left=len(MEANINGS))
    size = f"{plan.accounts:,} accounts; {plan.rounds} rounds of at most {plan.seconds:g} s each"
    bound = f"and of at most {plan.transfers:,} transfers; seed {plan.seed}"
    said = [f"{machine}.", f"{size}, {bound}."]
    busy = [row.title for row in rows if (row.load_share or 0) > CPU_SHARE_MAX]
    if busy:
        said.append(f"The load may be what limits: {'; '.join(busy)}.")
    checked = sum(row.checked for row in rows)
    said.append(
        f"All balances are right, and so are {checked:,} answers to calls that cannot be paid or"
        " were made before."
    )
    said += [f"{name}: not found; {how}." for name, how in missing.items()]
    return "\n".join([*figures, "", *meanings, "", *said, ""])
