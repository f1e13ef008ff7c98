"""`python -m bench load URL`: the closed loop as a command, whose result is one line of JSON."""

import json
from itertools import islice
from typing import Any

import click
import numpy as np
import uvloop

from ..options import accounts_option, connections_option, seed_option
from .loops import CPU_SHARE_MAX, Course, make_random_transfers, run_closed_loop


def summarize(course: Course) -> dict[str, Any]:
    """Return the figures of a run, as they are printed."""
    latencies_ms = np.array(course.latencies_s or [0.0]) * 1000
    p50_ms, p90_ms, p99_ms = (round(float(p), 3) for p in np.percentile(latencies_ms, [50, 90, 99]))
    requests = len(course.latencies_s)
    return {
        "requests": requests,
        "seconds": round(course.seconds, 3),
        "rate": round(requests / course.seconds, 1),
        "p50_ms": p50_ms,
        "p90_ms": p90_ms,
        "p99_ms": p99_ms,
        "statuses": {str(status): number for status, number in sorted(course.statuses.items())},
        "lost": course.lost,
        "cpu_share": round(course.cpu_share, 3),
        "is_bottleneck": course.cpu_share > CPU_SHARE_MAX,
    }


@click.command()
@click.argument("url")
@connections_option()
@accounts_option
@click.option("--requests", type=click.IntRange(min=0), help="Stop after so many requests.")
@click.option("--seconds", type=float, help="Stop after so long; 3 if neither is given.")
@seed_option
@click.option("--header", "headers", multiple=True, help="A line for the head of each request.")
def main(
    url: str,
    connections: int,
    accounts: int,
    requests: int | None,
    seconds: float | None,
    seed: int,
    headers: tuple[str, ...],
) -> None:
    """Load the server at URL with transfers, and print the result as JSON."""
    if requests is None and seconds is None:
        seconds = 3.0
    transfers = islice(make_random_transfers(url, accounts, seed, headers), requests)
    limit_s = float("inf") if seconds is None else seconds
    course = uvloop.run(run_closed_loop(url, connections, transfers, seconds=limit_s))
    click.echo(json.dumps(summarize(course)))


if __name__ == "__main__":
    main()
