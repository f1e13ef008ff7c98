"""What a run writes: the summary as text, and every intent as a line of CSV.

This module owns the wording and the layout of the lines of text, of which the first two never
change, and the columns of the table.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .coordinator import Run
from .samples import DROPPED, ENDS
from .summary import Summary
from .workload import KINDS


def format_summary(summary: Summary) -> list[str]:
    """Return the lines of the summary."""
    latency = summary.latency_ms
    percentiles = "/".join(_format_ms(latency[name]) for name in ("p50", "p90", "p99"))
    workers = "n/a" if summary.max_workers is None else f"{summary.max_workers:,.0f}"
    lines = [
        f"Load test: {summary.clients:,} clients, {summary.transfers:,} txns",
        "   ".join(
            (
                f"Success: {summary.success:.1%}",
                f"RateLimited: {summary.rate_limited:.1%}",
                f"Avg Latency: {_format_ms(latency['avg'])}",
                f"p50/p90/p99 Latency: {percentiles}",
                f"Max Workers: {workers}",
            )
        ),
        "",
        (
            f"course:      {summary.loop} loop, {summary.pattern}, {summary.seconds:,.2f} s,"
            f" {summary.offered_per_s:,.0f} offered/s, {summary.answered_per_s:,.0f} answered/s,"
            f" p99.9 {_format_ms(latency['p99_9'])}, max {_format_ms(latency['max'])}"
        ),
    ]
    counts = {
        "accounting": summary.accounting,
        "answers": summary.statuses,
        "refusals": summary.refusals,
        "failures": summary.failures,
    }
    if len(summary.kinds) > 1:
        counts |= summary.kinds
    lines += [f"{title + ':':<13}{_join(each)}" for title, each in counts.items() if each]
    lines += _format_checks(summary.checks)
    lines += _format_end(summary)
    return lines


def _format_checks(checks: Mapping[str, Any] | None) -> list[str]:
    if checks is None:
        return ["checks:      none were made"]
    verdict = "FAILED" if checks["faults"] else "passed"
    line = (
        f"checks:      {verdict}: audit {checks['audit']};"
        f" {checks['asked']:,} answered keys asked again, {checks['mismatches']:,} differ;"
        f" balances {checks['balances']}"
    )
    return [line] + [f"             {fault}" for fault in checks["faults"]]


def _format_end(summary: Summary) -> list[str]:
    lines = []
    if summary.bottleneck:
        lines.append("BOTTLENECK:  the client may have been the limit, and not the server")
        lines += [f"             {reason}" for reason in summary.bottleneck]
    else:
        share = max(summary.cpu_shares, default=0.0)
        lines.append(f"bottleneck:  not the client, whose busiest process used {share:.0%}")
    if summary.is_interrupted:
        lines.append("interrupted: this is what had happened by then")
    elif not summary.is_complete:
        lines.append("cut short:   not all was offered before the deadline of the run")
    return lines


def _join(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _format_ms(value: float | None) -> str:
    if value is None:
        return "n/a"
    if value >= 100:
        return f"{value:,.0f}ms"
    return f"{value:.1f}ms" if value >= 10 else f"{value:.2f}ms"


def write_table(run: Run, path: Path) -> None:
    """Write one line for each offered intent, in the order of their schedule.

    Times are seconds from the start of the run, to the microsecond, and empty for what did not
    happen. `status` is that of the last answer, and empty without one; `end` says whether the
    answer was final, or what happened instead; `problem` names a refusal.
    """
    rows = run.samples
    is_taken = (rows["end"] != ENDS.index(DROPPED)).tolist()
    numbers = zip(rows["number"].tolist(), is_taken, strict=True)
    kinds = zip(rows["kind"].tolist(), is_taken, strict=True)
    columns: dict[str, Iterable[object]] = {
        "scheduled_s": map(_format_time, rows["scheduled_s"].tolist()),
        "sent_s": map(_format_time, rows["sent_s"].tolist()),
        "answered_s": map(_format_time, rows["answered_s"].tolist()),
        "status": (status or "" for status in rows["status"].tolist()),
        "retries": (max(tries - 1, 0) for tries in rows["tries"].tolist()),
        "key": (f"{run.plan.run}-{number}" if taken else "" for number, taken in numbers),
        "client": (KINDS[kind] if taken else "" for kind, taken in kinds),
        "end": (ENDS[end] for end in rows["end"].tolist()),
        "problem": (run.names[problem] for problem in rows["problem"].tolist()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _format_time(seconds: float) -> str:
    return f"{seconds:.6f}" if seconds == seconds else ""
