"""How the results are told: tables in Markdown that can be read as they are, and data.

This module owns the words. It never measures, and holds no figure of its own.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ..load.loops import CPU_SHARE_MAX
from ..measure import Figure
from ..report import (
    format_markdown,
    format_ms,
    format_rate,
    format_times,
    format_us,
    format_verdict,
)
from .bulk import BulkRow
from .latency import P99_SHARE_MAX, Latency
from .profile import Profile
from .results import Results
from .throughput import Ratio, Row

LIMIT = "generator was the limit"

ROW_HEADS = (
    "POST /transfer",
    "connections",
    "requests/s",
    "lowest",
    "highest",
    "p50",
    "p99",
    "CPU",
    "user",
    "system",
    "of its core",
    "load",
    "",
)
RATIO_HEADS = (
    "ratio, round by round",
    "connections",
    "by the wall",
    "lowest",
    "highest",
    "by CPU",
    "goal",
    "",
)
LATENCY_HEADS = ("open loop", "offered", "p50", "p99", "sent late, p99", "load", "")
BULK_HEADS = (
    "POST /transfers, durable",
    "connections",
    "transfers/s",
    "lowest",
    "highest",
    "CPU",
    "load",
    "goal",
    "",
)
THREAD_HEADS = ("thread", "user", "system")
KIND_HEADS = ("where the time goes", "share", "a request")


@dataclass(frozen=True, slots=True)
class Heading:
    """What a run was made on, and with."""

    machine: str
    commit: str
    generator: str
    rounds: int
    seconds: float


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
    lines = [heading.machine, build, course]
    if results.rows:
        lines += ["", *format_markdown(ROW_HEADS, [_list_row(row) for row in results.rows])]
    if results.ratios:
        lines += [
            "",
            *format_markdown(RATIO_HEADS, [_list_ratio(ratio) for ratio in results.ratios]),
        ]
    if results.latency is not None:
        lines += ["", *format_markdown(LATENCY_HEADS, _list_latency(results.latency))]
    if results.bulk:
        lines += ["", *format_markdown(BULK_HEADS, [_list_bulk(row) for row in results.bulk])]
    if results.profile is not None:
        lines += ["", *_write_profile(results.profile)]
    return [*lines, *([""] if results.notes else []), *results.notes]


def _list_row(row: Row) -> tuple[str, ...]:
    return (
        row.title,
        str(row.connections),
        *_list_figure(row.rate),
        *(format_ms(value) for value in (row.p50_ms, row.p99_ms)),
        *(format_us(value) for value in (row.cpu_us, row.user_us, row.system_us)),
        f"{row.core_share:.0%}",
        f"{row.load_share:.0%}",
        LIMIT if row.is_load_limit else "",
    )


def _list_ratio(ratio: Ratio) -> tuple[str, ...]:
    return (
        ratio.name,
        str(ratio.connections),
        *_list_figure(ratio.by_wall),
        format_times(ratio.by_cpu.median if ratio.by_cpu else None, 2),
        "" if ratio.by_wall.goal is None else f"{ratio.by_wall.goal:g} ×",
        "; ".join(filter(None, [ratio.verdict, LIMIT if ratio.is_load_limit else ""])),
    )


def _list_latency(latency: Latency) -> list[tuple[str, ...]]:
    rows = [
        (
            row.title,
            format_rate(row.offered),
            *(format_ms(value) for value in (row.p50_ms, row.p99_ms, row.late_p99_ms)),
            f"{row.load_share:.0%}",
            LIMIT if row.load_share > CPU_SHARE_MAX else "",
        )
        for row in latency.rows
    ]
    share = latency.p99_share
    told = f"{share.median:.2f} ({share.low:.2f} to {share.high:.2f})"
    verdict = f"goal: at most {P99_SHARE_MAX:g}: {format_verdict(latency.is_reached)}"
    return [*rows, (f"{share.name}, round by round", "", "", told, "", "", verdict)]


def _list_bulk(row: BulkRow) -> tuple[str, ...]:
    return (
        row.kind,
        str(row.connections),
        *_list_figure(row.rate),
        format_us(row.cpu_us),
        f"{row.load_share:.0%}",
        format_rate(row.rate.goal),
        "; ".join([format_verdict(row.rate.is_reached), *([LIMIT] if row.is_load_limit else [])]),
    )


def _write_profile(profile: Profile) -> list[str]:
    setting = (
        f"The durable service at {profile.connections} connections, {profile.rate:,.0f} requests/s"
        f" while looked at, {profile.cpu_us:.2f} µs of processor each"
    )
    threads = [(row.name, format_us(row.user_us), format_us(row.system_us))
               for row in profile.threads]  # fmt: skip
    lines = [f"{setting}:", "", *format_markdown(THREAD_HEADS, threads)]
    if profile.kinds:
        kinds = [(row.name, f"{row.share:.1%}", format_us(row.cpu_us)) for row in profile.kinds]
        lines += [
            "",
            *format_markdown(KIND_HEADS, kinds),
            "",
            f"{profile.samples:,} samples of perf.",
        ]
    return [*lines, *(["", profile.note] if profile.note else [])]


def _list_figure(figure: Figure) -> list[str]:
    values = (figure.median, figure.low, figure.high)
    return [format_rate(value) if figure.unit else format_times(value, 2) for value in values]
