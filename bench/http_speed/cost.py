"""`python -m bench cost`: what the service's own care costs a transfer, part by part.

This module owns the variants and their goals: all durable, all on one core, all alive at once.
Loads, rounds and ratios are those of `python -m bench http`. It exits with 1 if a server or a load
fails; a goal that is missed is told, and no failure.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click

from ..load.generators import RATE_MAX
from ..options import (
    accounts_option,
    connections_option,
    generator_option,
    json_option,
    rounds_option,
    seconds_option,
)
from ..processes import create_key
from .command import measure_and_report
from .report import Results
from .subjects import Setting, Subject, open_service
from .throughput import Ratio, Row, Turns, make_ratio, make_rows, run_rounds

BARE, GUARDED, UNWATCHED = "bare", "guarded", "unwatched"
GOALS = {(GUARDED, BARE): 0.93, (BARE, UNWATCHED): 0.97}
"""Of the throughput of the second, the first is to have so much."""

NO_INSTRUMENTS = "--instruments=0"
GUARDS = ("--client-rate=1000000", "--global-rate=1000000", "--request-deadline-ms=10000")
"""Limits that are looked at with each request, and that no request here comes near."""
TIMEOUT_HEADER = "X-Request-Timeout-Ms: 5000"
CORE_SHARE_MIN = 0.7
"""A durable server waits for its disk now and then, and has about so much of a core of its own."""

TITLES = {
    BARE: "nothing on",
    GUARDED: "API key, client and global limit, deadline",
    UNWATCHED: f"nothing on, {NO_INSTRUMENTS}",
}


@click.command()
@connections_option()
@rounds_option(7, 30, "variants")
@seconds_option(
    3.0, click.FloatRange(0.1, 10), "Of load on one variant in one round; wrk takes whole seconds."
)
@generator_option
@accounts_option
@json_option
def main(connections: int, rounds: int, seconds: float, **flags: Any) -> None:
    """Measure what the service's own care costs a transfer, with parts of it on and off.

    The variants share one core and the load has the other. Ratios are taken within a round, in
    which all are measured seconds apart.
    """
    measure_and_report(
        lambda setting: measure_cost(setting, connections),
        keys=int(RATE_MAX * (rounds + 1) * (seconds + 1)),
        rounds=rounds,
        seconds=seconds,
        **flags,
    )


def measure_cost(setting: Setting, connections: int) -> Results:
    """Measure all variants, and compare them. Raises LoadFailed, ProcessFailed."""
    with ExitStack() as stack:
        setting.tell("starting the servers")
        variants = {name: open_variant(name, setting, stack) for name in TITLES}
        os.sync()
        turns = run_rounds(variants, setting, [connections])
        results = Results(make_rows(variants, turns), compare_variants(turns, connections))
    results.notes += find_doubts(results.rows)
    return results


def open_variant(name: str, setting: Setting, stack: ExitStack) -> Subject:
    """Start a variant for as long as the stack lasts."""
    data = setting.scratch / name
    flags = [f"--data={data}"]
    headers: tuple[str, ...] = ()
    if name == GUARDED:
        flags += GUARDS
        token = create_key(data, "shop", "--scope=transfer")["token"]
        headers = (f"Authorization: Bearer {token}", TIMEOUT_HEADER)
    elif name == UNWATCHED:
        flags.append(NO_INSTRUMENTS)
    return open_service(name, TITLES[name], setting, stack, *flags, headers=headers)


def find_doubts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence where the ratios by the wall tell more of the machine than of the service.

    Servers that do not have their core, under a load that is not at its limit, share it.
    """
    share = min(row.core_share for row in rows)
    if share >= CORE_SHARE_MIN or any(row.is_load_limit for row in rows):
        return []
    told = f"A server had only {share:.0%} of its core: others were on it, or the disk was slow."
    return [f"{told} Ratios by the wall say little."]


def compare_variants(turns: Turns, connections: int) -> list[Ratio]:
    """Return the ratio of each pair that has a goal."""
    return [make_ratio(pair, connections, turns, goal) for pair, goal in GOALS.items()]
