"""Every intent as a line of CSV: when it was due, sent and answered, and what came of it.

This module owns the columns. Times are seconds from the start of the run, to the microsecond, and
empty for what did not happen.
"""

import csv
from pathlib import Path

from .coordinator import Run
from .mixes import KINDS
from .samples import DROPPED, ENDS

HEAD = (
    "scheduled_s",
    "sent_s",
    "answered_s",
    "status",
    "retries",
    "key",
    "client",
    "end",
    "problem",
)


def write_table(run: Run, path: Path) -> None:
    """Write one line for each offered intent, in the order of their schedule.

    `status` is that of the last answer, and empty without one; `end` says whether the answer was
    final, or what happened instead; `problem` names a refusal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = run.samples
    columns = [samples[name].tolist() for name in ("scheduled_s", "sent_s", "answered_s")]
    rest = ("status", "tries", "number", "kind", "end", "problem")
    columns += [samples[name].tolist() for name in rest]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for due, sent, answered, status, tries, number, kind, end, problem in zip(
            *columns, strict=True
        ):
            is_dropped = ENDS[end] == DROPPED
            writer.writerow(
                (
                    f"{due:.6f}",
                    _format_time(sent),
                    _format_time(answered),
                    status or "",
                    max(tries - 1, 0),
                    "" if is_dropped else f"{run.plan.run}-{number}",
                    "" if is_dropped else KINDS[kind],
                    ENDS[end],
                    run.names[problem],
                )
            )


def _format_time(seconds: float) -> str:
    return f"{seconds:.6f}" if seconds == seconds else ""
