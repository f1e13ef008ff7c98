"""What the profiles say, as lines for a terminal and as JSON for whoever quotes them.

This module owns how a profile is told, and what changed most from one to another. Shares alone
mislead there: in the faster profile everything that is left has a larger one. So a share is first
turned into time, by what a transfer took in a run without a profiler. Nothing is run here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledgercore.service.profiling.stacks import Kind, Stacks, count_kinds

from ..report import Columns, format_table, make_cells
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
class Change:
    """The time that a place took for one transfer before and after, in microseconds."""

    place: str
    before_us: float
    after_us: float

    @property
    def difference_us(self) -> float:
        """How much was added; negative where it was saved."""
        return self.after_us - self.before_us


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


def compare(before: Target, after: Target) -> dict[str, list[Change]]:
    """Return what changed between two targets, by function and by line."""
    times = {"before_us": before.speed.cpu_us, "after_us": after.speed.cpu_us}
    old, new = before.profile, after.profile
    return {
        "functions": find_changes(old.functions, new.functions, **times),
        "lines": find_changes(old.lines, new.lines, **times),
    }


def find_changes(
    before: Iterable[Share],
    after: Iterable[Share],
    *,
    before_us: float,
    after_us: float,
    least_us: float = 0.005,
) -> list[Change]:
    """Return the places whose time changed by `least_us` or more, the largest change first.

    `before_us` and `after_us` are what a whole transfer took.
    """
    times = [
        {share.place: share.total / 100 * whole_us for share in shares}
        for shares, whole_us in ((before, before_us), (after, after_us))
    ]
    old, new = times
    changes = [Change(place, old.get(place, 0.0), new.get(place, 0.0)) for place in old | new]
    kept = [change for change in changes if abs(change.difference_us) >= least_us]
    return sorted(kept, key=lambda change: (-abs(change.difference_us), change.place))


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
PARTS: Columns[Share] = {
    "percent": lambda share: f"{share.total:.1f}",
    "Python": lambda share: f"{share.python:.1f}",
    "native": lambda share: f"{share.native:.1f}",
    "system": lambda share: f"{share.system:.1f}",
}
THREADS: Columns[ThreadShare] = {
    "thread": lambda thread: thread.name,
    "samples": lambda thread: f"{thread.samples:,}",
    "percent of processor time": lambda thread: f"{thread.cpu_percent:.1f}",
}


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
    for name, shares in (("function", target.profile.functions), ("line", target.profile.lines)):
        columns: Columns[Share] = {name: lambda share: _cut(share.place), **PARTS}
        yield from _indent(make_cells(columns, shares[:TOP]))


def describe_changes(before: Target, after: Target) -> Iterator[str]:
    """Yield what changed most from one target to another, in processor time a transfer."""
    yield f"{before.name} → {after.name}: what changed most, µs a transfer"
    for name, changes in compare(before, after).items():
        columns: Columns[Change] = {
            name.removesuffix("s"): lambda change: _cut(change.place),
            before.name: lambda change: _format_us(change.before_us),
            after.name: lambda change: _format_us(change.after_us),
            "change": lambda change: _sign(change.difference_us),
        }
        yield from _indent(make_cells(columns, changes[:TOP]))


def describe_flame(flame: Flame) -> Iterator[str]:
    """Yield what the flame graph shows, in numbers."""
    yield (
        f"flame graph: {flame.samples:,} samples of the server at {flame.rate:,.0f} transfers/s"
        f" (py-spy slows it); {flame.waits:,} more only waited"
    )
    kinds = sorted(flame.kinds.items(), key=lambda item: -item[1])
    yield from _indent([("code", "percent"), *((kind, f"{part:.1f}") for kind, part in kinds)])
    yield from _indent(make_cells(THREADS, flame.threads))


def _format_us(time_us: float) -> str:
    return "-" if time_us == 0 else f"{time_us:,.{1 if abs(time_us) >= 10 else 2}f}"


def _sign(time_us: float) -> str:
    return ("+" if time_us > 0 else "-") + _format_us(abs(time_us))


def _indent(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    return (f"    {line}" for line in format_table(cells))


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


def list_changes(before: Target, after: Target) -> dict[str, Any]:
    """Return what changed from one target to another for JSON: the largest changes only."""
    changes = {
        name: [asdict(change) for change in found[:TOP_KEPT]]
        for name, found in compare(before, after).items()
    }
    return {"before": before.name, "after": after.name, **changes}
