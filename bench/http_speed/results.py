"""All parts of one run, in their order, and what came of them.

This module owns which part needs what: the closed and the open loop and the profile share servers,
the bulk has one of its own when these are gone.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from ..load.generators import Generator
from .bulk import ARROW, BulkRow, list_formats, measure_bulk
from .latency import Latency, measure_latency, pick_rival
from .profile import Profile, take_profile
from .subjects import DURABLE, Setting, Subject, open_subjects
from .throughput import Ratio, Row, Tell, Turns, compare, find_peak, make_rows, run_rounds

THROUGHPUT, LATENCY, BULK, PROFILE = "throughput", "latency", "bulk", "profile"
PARTS = (THROUGHPUT, LATENCY, BULK, PROFILE)
PROFILE_S = 3.0
"""How long perf looks: for about three thousand samples."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, for how long, and at how many connections."""

    parts: Sequence[str]
    connections: Sequence[int]
    rounds: int
    seconds: float
    is_sampled: bool


@dataclass(slots=True)
class Results:
    """What was measured; a part that was not asked for is empty or None."""

    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    latency: Latency | None = None
    profile: Profile | None = None
    bulk: list[BulkRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def measure_all(plan: Plan, setting: Setting, generator: Generator, tell: Tell) -> Results:
    """Measure all parts of a plan. Raises LoadFailed or ProcessFailed."""
    results = Results()
    if {THROUGHPUT, LATENCY, PROFILE} & set(plan.parts):
        with ExitStack() as stack:
            tell("starting the servers")
            subjects = open_subjects(setting, stack)
            _measure_shared(results, plan, setting, subjects, generator, tell)
    if BULK in plan.parts:
        results.bulk = measure_bulk(setting, plan.rounds, plan.seconds, tell)
        if ARROW not in list_formats():
            results.notes.append("No Arrow: pyarrow is not installed.")
    if setting.go_binary is None:
        results.notes.append("No Go: name the binary of the sketch with --go.")
    return results


def _measure_shared(
    results: Results,
    plan: Plan,
    setting: Setting,
    subjects: Mapping[str, Subject],
    generator: Generator,
    tell: Tell,
) -> None:
    """Measure what needs the servers of all."""
    turns: Turns = {}
    if THROUGHPUT in plan.parts:
        turns = run_rounds(subjects, generator, plan.connections, plan.rounds, plan.seconds, tell)
        results.rows, results.ratios = make_rows(subjects, turns), compare(turns)
    if LATENCY in plan.parts:
        rival = pick_rival(subjects)
        if not turns:
            # What the rival can do at most has to be known first.
            alone = {rival: subjects[rival]}
            turns = run_rounds(alone, generator, plan.connections, 1, plan.seconds, tell)
        results.latency = measure_latency(
            subjects,
            setting,
            find_peak(turns, rival),
            max(plan.connections),
            plan.rounds,
            plan.seconds,
            tell,
        )
    if PROFILE in plan.parts:
        tell("profile")
        results.profile = take_profile(
            subjects[DURABLE],
            generator,
            setting,
            plan.connections[0],
            min(PROFILE_S, plan.seconds),
            is_sampled=plan.is_sampled,
        )
