"""The summary as text, for people.

This module owns the wording and the layout of the lines, of which the first two never change.
"""

from collections.abc import Mapping
from typing import Any

from .summary import Summary


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
        _format_course(summary),
        "accounting:  " + _join(summary.accounting),
    ]
    for title, counts in {
        "answers": summary.statuses,
        "refusals": summary.refusals,
        "failures": summary.failures,
    }.items():
        if counts:
            lines.append(f"{title + ':':<13}{_join(counts)}")
    if len(summary.kinds) > 1:
        for kind, counts in summary.kinds.items():
            lines.append(f"{kind + ':':<13}{_join(counts)}")
    lines += _format_checks(summary.checks)
    lines += _format_end(summary)
    return lines


def _format_course(summary: Summary) -> str:
    latency = summary.latency_ms
    tail = f"p99.9 {_format_ms(latency['p99_9'])}, max {_format_ms(latency['max'])}"
    return (
        f"course:      {summary.loop} loop, {summary.pattern}, {summary.seconds:,.2f} s,"
        f" {summary.offered_per_s:,.0f} offered/s, {summary.answered_per_s:,.0f} answered/s,"
        f" {tail}"
    )


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
