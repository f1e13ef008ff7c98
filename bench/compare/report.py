"""The report of the comparison: a table, Markdown, and data.

This module owns the words and the files but for the chart's. It never measures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..build import Build
from ..report import (
    Columns,
    format_markdown,
    format_rate,
    format_table,
    format_times,
    make_cells,
    write_json,
)
from .rounds import Spread, StageResult


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was made with, and on."""

    machine: str
    build: Build
    accounts: int
    seed: int
    rounds: int


def format_ratio(ratio: Spread | None) -> str:
    """Return a ratio as tables and charts show it."""
    return format_times(None if ratio is None else ratio.median)


COLUMNS: Columns[StageResult] = {
    "stage": lambda result: f"{result.name}: {result.title}",
    "transfers/s": lambda result: format_rate(result.rate.median),
    "lowest": lambda result: format_rate(result.rate.low),
    "highest": lambda result: format_rate(result.rate.high),
    "ratio": lambda result: format_ratio(result.ratio),
    "by CPU": lambda result: format_ratio(result.cpu_ratio),
    "promise": lambda result: result.promise,
}


def _describe_setting(setting: Setting) -> list[str]:
    return [
        setting.machine,
        f"commit {setting.build.commit}, compiled with {setting.build.compiled}",
        f"{setting.rounds} rounds over {setting.accounts:,} accounts, seed {setting.seed}",
        "ratio: how many times the pure-Python stage, round by round; by CPU: by processor time",
    ]


def _list_notes(results: Sequence[StageResult]) -> list[str]:
    return [f"{result.name}: {result.note}" for result in results if result.note]


def write_text(setting: Setting, results: Sequence[StageResult]) -> list[str]:
    """Return the lines of the table for a terminal."""
    table = format_table(make_cells(COLUMNS, results))
    return [*_describe_setting(setting), "", *table, "", *_list_notes(results)]


def make_data(setting: Setting, results: Sequence[StageResult]) -> dict[str, Any]:
    """Return all that is known, rounds included, as JSON holds it. Times are in seconds."""
    return {**asdict(setting), "stages": [asdict(result) for result in results]}


def keep(directory: Path, setting: Setting, results: Sequence[StageResult]) -> None:
    """Write compare.json and compare.md."""
    write_json(directory / "compare.json", make_data(setting, results))
    table = format_markdown(make_cells(COLUMNS, results))
    notes = [f"* {note}" for note in (*_describe_setting(setting), *_list_notes(results))]
    (directory / "compare.md").write_text("\n".join([*table, "", *notes, ""]))
