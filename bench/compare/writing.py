"""How the comparison is told: as a table, as Markdown, and as data.

This module owns the words and the files but for the chart's. It never measures.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..build import Build
from ..report import format_markdown, format_table, format_value
from .results import Spread, StageResult

HEADS = ("stage", "transfers/s", "lowest", "highest", "ratio", "by CPU", "promise")
RATE = "transfers/s"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was made with, and on."""

    machine: str
    build: Build
    accounts: int
    seed: int
    rounds: int


def describe_setting(setting: Setting) -> list[str]:
    """Return the lines that go with every table."""
    return [
        setting.machine,
        f"commit {setting.build.commit}, compiled with {setting.build.compiled}",
        f"{setting.rounds} rounds over {setting.accounts:,} accounts, seed {setting.seed}",
        "ratio: how many times the pure-Python stage, round by round; by CPU: by processor time",
    ]


def list_notes(results: Sequence[StageResult]) -> list[str]:
    """Return what else there is to know of the stages, a line each."""
    return [f"{result.name}: {result.note}" for result in results if result.note]


def make_rows(results: Sequence[StageResult]) -> list[tuple[str, ...]]:
    """Return the rows of the table."""
    return [
        (
            f"{result.name}: {result.title}",
            *(format_value(value, RATE) for value in _values(result.rate)),
            format_ratio(result.ratio),
            format_ratio(result.cpu_ratio),
            result.promise,
        )
        for result in results
    ]


def _values(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.low, spread.high


def format_ratio(ratio: Spread | None) -> str:
    """Return a ratio with about two digits that mean something."""
    if ratio is None:
        return "?"
    digits = 3 if ratio.median < 0.1 else 2 if ratio.median < 10 else 0
    return f"{ratio.median:,.{digits}f} ×"


def write_text(setting: Setting, results: Sequence[StageResult]) -> list[str]:
    """Return the lines of the table for a terminal."""
    table = format_table(HEADS, make_rows(results))
    return [*describe_setting(setting), "", *table, "", *list_notes(results)]


def write_markdown(setting: Setting, results: Sequence[StageResult]) -> list[str]:
    """Return the lines of the table in Markdown."""
    notes = [*describe_setting(setting), *list_notes(results)]
    return [*format_markdown(HEADS, make_rows(results)), "", *(f"* {note}" for note in notes)]


def make_data(setting: Setting, results: Sequence[StageResult]) -> dict[str, Any]:
    """Return all that is known, rounds included, as JSON holds it. Times are in seconds."""
    return {**asdict(setting), "stages": [asdict(result) for result in results]}


def keep(directory: Path, setting: Setting, results: Sequence[StageResult]) -> None:
    """Write compare.json and compare.md."""
    directory.mkdir(parents=True, exist_ok=True)
    data = json.dumps(make_data(setting, results), indent=2)
    (directory / "compare.json").write_text(data + "\n")
    text = "\n".join(write_markdown(setting, results))
    (directory / "compare.md").write_text(text + "\n")
