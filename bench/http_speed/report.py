"""The results of a run, and their report: tables in Markdown, and data.

This module owns the words. It never measures, and holds no figure of its own.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from ..load.loops import CPU_SHARE_MAX
from ..measure import Figure
from ..report import (
    Columns,
    format_markdown,
    format_ms,
    format_rate,
    format_times,
    format_us,
    format_verdict,
    make_cells,
)
from .bulk import BulkRow
from .latency import P99_SHARE_MAX, Latency, LatencyRow
from .profile import KindRow, Profile, ThreadRow
from .throughput import Ratio, Row

LIMIT = "generator was the limit"


@dataclass(frozen=True, slots=True)
class Heading:
    """What a run was made on, and with."""

    machine: str
    commit: str
    generator: str
    rounds: int
    seconds: float


@dataclass(slots=True)
class Results:
    """What was measured; a part that was not asked for is empty or None."""

    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    latency: Latency | None = None
    profile: Profile | None = None
    bulk: list[BulkRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Measured = TypeVar("Measured")


def _show_rates(find: Callable[[Measured], Figure], title: str) -> Columns[Measured]:
    """Return the columns of a figure: its median, lowest and highest round."""
    return {
        title: lambda row: _show(find(row), find(row).median),
        "lowest": lambda row: _show(find(row), find(row).low),
        "highest": lambda row: _show(find(row), find(row).high),
    }


def _show(figure: Figure, value: float) -> str:
    return format_rate(value) if figure.unit else format_times(value, 2)


def _judge(verdict: str, is_load_limit: bool) -> str:
    return "; ".join(filter(None, [verdict, LIMIT if is_load_limit else ""]))


ROW_COLUMNS: Columns[Row] = {
    "POST /transfer": lambda row: row.title,
    "connections": lambda row: str(row.connections),
    **_show_rates(lambda row: row.rate, "requests/s"),
    "p50": lambda row: format_ms(row.p50_ms),
    "p99": lambda row: format_ms(row.p99_ms),
    "CPU": lambda row: format_us(row.cpu_us),
    "user": lambda row: format_us(row.user_us),
    "system": lambda row: format_us(row.system_us),
    "of its core": lambda row: f"{row.core_share:.0%}",
    "load": lambda row: f"{row.load_share:.0%}",
    "": lambda row: _judge("", row.is_load_limit),
}
RATIO_COLUMNS: Columns[Ratio] = {
    "ratio, round by round": lambda ratio: ratio.name,
    "connections": lambda ratio: str(ratio.connections),
    **_show_rates(lambda ratio: ratio.by_wall, "by the wall"),
    "by CPU": lambda ratio: format_times(ratio.by_cpu.median if ratio.by_cpu else None, 2),
    "goal": lambda ratio: "" if ratio.by_wall.goal is None else f"{ratio.by_wall.goal:g} ×",
    "": lambda ratio: _judge(ratio.verdict, ratio.is_load_limit),
}
LATENCY_COLUMNS: Columns[LatencyRow] = {
    "open loop": lambda row: row.title,
    "offered": lambda row: format_rate(row.offered),
    "p50": lambda row: format_ms(row.p50_ms),
    "p99": lambda row: format_ms(row.p99_ms),
    "sent late, p99": lambda row: format_ms(row.late_p99_ms),
    "load": lambda row: f"{row.load_share:.0%}",
    "": lambda row: _judge("", row.load_share > CPU_SHARE_MAX),
}
BULK_COLUMNS: Columns[BulkRow] = {
    "POST /transfers, durable": lambda row: row.kind,
    "connections": lambda row: str(row.connections),
    **_show_rates(lambda row: row.rate, "transfers/s"),
    "CPU": lambda row: format_us(row.cpu_us),
    "load": lambda row: f"{row.load_share:.0%}",
    "goal": lambda row: format_rate(row.rate.goal),
    "": lambda row: _judge(format_verdict(row.rate.is_reached), row.is_load_limit),
}
THREAD_COLUMNS: Columns[ThreadRow] = {
    "thread": lambda row: row.name,
    "user": lambda row: format_us(row.user_us),
    "system": lambda row: format_us(row.system_us),
}
KIND_COLUMNS: Columns[KindRow] = {
    "where the time goes": lambda row: row.name,
    "share": lambda row: f"{row.share:.1%}",
    "a request": lambda row: format_us(row.cpu_us),
}


def make_data(heading: Heading, results: Results) -> dict[str, Any]:
    """Return all that is known, as JSON holds it, with the verdicts."""
    data = {**asdict(heading), **asdict(results)}
    for told, ratio in zip(data["ratios"], results.ratios, strict=True):
        told["verdict"] = ratio.verdict
    for told, row in zip(data["bulk"], results.bulk, strict=True):
        told["verdict"] = format_verdict(row.rate.is_reached)
    return data


def write_report(heading: Heading, results: Results) -> list[str]:
    """Return the lines of the report."""
    course = (
        f"{heading.rounds} rounds of {heading.seconds:g} s, interleaved, after one that does not"
        " count; server on one core, load on the other"
    )
    build = f"commit {heading.commit}; closed loop by {heading.generator}"
    tables = [
        make_cells(ROW_COLUMNS, results.rows),
        make_cells(RATIO_COLUMNS, results.ratios),
        _list_latency(results.latency) if results.latency else [],
        make_cells(BULK_COLUMNS, results.bulk),
    ]
    lines = [heading.machine, build, course]
    for cells in tables:
        if len(cells) > 1:
            lines += ["", *format_markdown(cells)]
    if results.profile is not None:
        lines += ["", *_write_profile(results.profile)]
    return [*lines, *([""] if results.notes else []), *results.notes]


def _list_latency(latency: Latency) -> list[list[str]]:
    share = latency.p99_share
    told = f"{share.median:.2f} ({share.low:.2f} to {share.high:.2f})"
    verdict = f"goal: at most {P99_SHARE_MAX:g}: {format_verdict(latency.is_reached)}"
    last = [f"{share.name}, round by round", "", "", told, "", "", verdict]
    return [*make_cells(LATENCY_COLUMNS, latency.rows), last]


def _write_profile(profile: Profile) -> list[str]:
    setting = (
        f"The durable service at {profile.connections} connections, {profile.rate:,.0f} requests/s"
        f" while looked at, {profile.cpu_us:.2f} µs of processor each"
    )
    lines = [f"{setting}:", "", *format_markdown(make_cells(THREAD_COLUMNS, profile.threads))]
    if profile.kinds:
        kinds = format_markdown(make_cells(KIND_COLUMNS, profile.kinds))
        lines += ["", *kinds, "", f"{profile.samples:,} samples of perf."]
    return [*lines, *(["", profile.note] if profile.note else [])]
