"""What the profiles say, as lines for a terminal and as JSON for whoever quotes them.

This module owns how a profile is told. It runs nothing and reads no file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledgercore.service.profiling.stacks import Kind, Stacks, count_kinds

from .changes import Change, find_changes
from .line_profile import Profile, Share
from .runs import Speed

TOP = 6
TOP_KEPT = 20
PLACE_MAX = 72


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was run plain, and then under Scalene."""

    name: str
    speed: Speed
    profile: Profile


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one target to another, by function and by line."""

    before: str
    after: str
    functions: list[Change]
    lines: list[Change]


@dataclass(frozen=True, slots=True)
class ThreadShare:
    """A thread in the flame graph: its samples, and its part of the processor time in percent."""

    name: str
    samples: int
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Flame:
    """What the flame graph is made of. `kinds` is in percent of the samples, the innermost counts.

    `waits` counts samples in which a thread only waited; they are not among the others.
    """

    rate: float
    samples: int
    waits: int
    threads: list[ThreadShare]
    kinds: dict[str, float]


def compare(before: Target, after: Target) -> Comparison:
    """Return what changed most between two targets, in processor time a transfer."""
    times = {"before_us": before.speed.cpu_us, "after_us": after.speed.cpu_us}
    return Comparison(
        before.name,
        after.name,
        find_changes(before.profile.functions, after.profile.functions, **times),
        find_changes(before.profile.lines, after.profile.lines, **times),
    )


def sum_up_stacks(stacks: Stacks, waits: int, thread_cpu_s: dict[str, float], rate: float) -> Flame:
    """Return what the stacks say without a picture. `thread_cpu_s` is by name of thread."""
    whole_s = sum(thread_cpu_s.values()) or 1.0
    samples = sum(seen.total() for seen in stacks.values())
    counts = dict.fromkeys(Kind, 0)
    for seen in stacks.values():
        for kind, count in count_kinds(seen).items():
            counts[kind] += count
    threads = [
        ThreadShare(name, seen.total(), 100 * thread_cpu_s.get(name, 0.0) / whole_s)
        for name, seen in stacks.items()
    ]
    return Flame(
        rate=rate,
        samples=samples,
        waits=waits,
        threads=sorted(threads, key=lambda thread: -thread.samples),
        kinds={kind.value: 100 * count / max(samples, 1) for kind, count in counts.items()},
    )


# -- for a terminal -------------------------------------------------------------------------------
def describe_target(target: Target) -> Iterator[str]:
    """Yield what is told of one target: its true speed, and where its time goes."""
    speed, whole = target.speed, target.profile.whole
    yield (
        f"{target.name}: {speed.rate:,.0f} transfers/s without a profiler,"
        f" {_format_us(speed.cpu_us)} µs of processor each"
    )
    yield (
        f"  Python {whole.python:.0f} %, native {whole.native:.0f} %,"
        f" system and waiting {whole.system:.0f} %"
    )
    yield from _table(
        ("function", "percent", "Python", "native", "system"),
        [_make_row(share) for share in target.profile.functions[:TOP]],
    )
    yield from _table(
        ("line", "percent", "Python", "native", "system"),
        [_make_row(share) for share in target.profile.lines[:TOP]],
    )


def _make_row(share: Share) -> tuple[str, ...]:
    parts = (share.total, share.python, share.native, share.system)
    return (share.place, *(f"{part:.1f}" for part in parts))


def describe_comparison(comparison: Comparison) -> Iterator[str]:
    """Yield what changed most."""
    yield f"{comparison.before} → {comparison.after}: what changed most, µs a transfer"
    for name, changes in (("function", comparison.functions), ("line", comparison.lines)):
        heads = (name, comparison.before, comparison.after, "change")
        yield from _table(heads, [_make_change_row(change) for change in changes[:TOP]])


def _make_change_row(change: Change) -> tuple[str, ...]:
    times = (change.before_us, change.after_us)
    cells = ("-" if time == 0 else _format_us(time) for time in times)
    sign = "+" if change.difference_us > 0 else "-"
    return (change.place, *cells, sign + _format_us(abs(change.difference_us)))


def describe_flame(flame: Flame) -> Iterator[str]:
    """Yield what the flame graph shows, in numbers."""
    yield (
        f"flame graph: {flame.samples:,} samples of the server at {flame.rate:,.0f} transfers/s"
        f" (py-spy slows it); {flame.waits:,} more only waited"
    )
    shown = sorted(flame.kinds.items(), key=lambda item: -item[1])
    yield from _table(("code", "percent"), [(kind, f"{part:.1f}") for kind, part in shown])
    yield from _table(
        ("thread", "samples", "percent of processor time"),
        [(one.name, f"{one.samples:,}", f"{one.cpu_percent:.1f}") for one in flame.threads],
    )


def _format_us(time_us: float) -> str:
    return f"{time_us:,.1f}" if time_us >= 10 else f"{time_us:.2f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table: the first column to the left, the others to the right."""
    cut = [(_cut(first), *rest) for first, *rest in (heads, *rows)]
    widths = [max(len(row[column]) for row in cut) for column in range(len(heads))]
    for first, *rest in cut:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        yield "    " + "  ".join([first.ljust(widths[0]), *cells])


def _cut(place: str) -> str:
    return place if len(place) <= PLACE_MAX else f"{place[: PLACE_MAX - 1]}…"


# -- for a program --------------------------------------------------------------------------------
def list_target(target: Target) -> dict[str, Any]:
    """Return a target for JSON: shares in percent, the largest places only."""
    whole = target.profile.whole
    return {
        "speed": asdict(target.speed),
        "profiled_s": target.profile.seconds,
        "python": whole.python,
        "native": whole.native,
        "system": whole.system,
        "files": [asdict(share) for share in target.profile.files],
        "functions": [asdict(share) for share in target.profile.functions[:TOP_KEPT]],
        "lines": [asdict(share) for share in target.profile.lines[:TOP_KEPT]],
    }


def list_comparison(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison for JSON: microseconds a transfer, the largest changes only."""
    return {
        "before": comparison.before,
        "after": comparison.after,
        "functions": [asdict(change) for change in comparison.functions[:TOP_KEPT]],
        "lines": [asdict(change) for change in comparison.lines[:TOP_KEPT]],
    }
