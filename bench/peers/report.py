"""The comparison as a table in Markdown, and as JSON.

This module owns how it is written. It holds no figure of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..load.loops import CPU_SHARE_MAX
from ..report import format_markdown, format_ms
from .comparison import Plan, Row

HEADS = ("peer", "transfers/s", "lowest to highest", "p50", "p99", "clients", "load")
MEANING_HEADS = ("peer", "version", "what an answer means")


def make_report(
    rows: Sequence[Row], missing: Mapping[str, str], machine: str, plan: Plan, accounts: int
) -> dict[str, Any]:
    """Return all that is known, as what JSON can hold."""
    return {
        "machine": machine,
        "plan": {**asdict(plan), "accounts": accounts},
        "peers": [{**asdict(row), "rate": row.rate} for row in rows],
        "missing": dict(missing),
    }


def format_table(
    rows: Sequence[Row], missing: Mapping[str, str], machine: str, plan: Plan, accounts: int
) -> str:
    """Return the report as Markdown, which can be read as it is too."""
    figures = format_markdown(HEADS, [make_cells(row) for row in rows])
    meanings = [(row.title, row.version, row.durability) for row in rows]
    size = f"{accounts:,} accounts; {plan.rounds} rounds of at most {plan.seconds:g} s each, and of"
    said = [f"{machine}.", f"{size} at most {plan.transfers:,} transfers; seed {plan.seed}."]
    busy = [row.title for row in rows if (row.load_share or 0) > CPU_SHARE_MAX]
    if busy:
        said.append(f"The load may be what limits: {'; '.join(busy)}.")
    checked = sum(row.checked for row in rows)
    said.append(
        f"All balances are right, and so are {checked:,} answers to calls that cannot be paid or"
        " were made before."
    )
    said += [f"{name}: not found; {how}." for name, how in missing.items()]
    return "\n".join(
        [*figures, "", *format_markdown(MEANING_HEADS, meanings, left=3), "", *said, ""]
    )


def make_cells(row: Row) -> tuple[str, ...]:
    """Return what the table says about one peer."""
    return (
        row.title,
        f"{row.rate:,.0f}",
        f"{min(row.rates):,.0f} to {max(row.rates):,.0f}",
        format_ms(row.p50_ms),
        format_ms(row.p99_ms),
        str(row.clients),
        "inside" if row.load_share is None else f"{row.load_share:.0%}",
    )
