"""Which lines of Cython and C have run: the counts of gcov, told by the lines of the sources.

This module owns the way back from the C that Cython made to the line that it was made of: the
comment `/* "ledgercore/ledger.pyx":7` that Cython puts before what a line became. The line tracing
of Cython is no help here, since it would take the interpreter's lock at each line of threads that
never hold it. It runs no test. As a command it prints one line for each language:

    python -m tests.support.native_coverage build/coverage [coverage.json]
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Counts = dict[str, dict[int, int]]
"""How often each line ran that can run, by the path of its source."""

_MARKER = re.compile(r'^ */\* "([\w./]+)":(\d+)$')
_NATIVE = {".pyx": "Cython", ".pxd": "Cython", ".h": "C"}
LANGUAGES = ("Python", "Cython", "C")


def find_origins(generated: str) -> dict[int, tuple[str, int]]:
    """Return, for each line of generated C that has one, the file and the line that it came from.

    What Cython adds of its own, helpers and the slots of types, comes after the end of a function,
    and has no origin.
    """
    origins: dict[int, tuple[str, int]] = {}
    origin: tuple[str, int] | None = None
    for number, line in enumerate(generated.splitlines(), 1):
        if match := _MARKER.match(line):
            origin = match[1], int(match[2])
        elif line.startswith("}"):
            origin = None
        if origin:
            origins[number] = origin
    return origins


def add_counts(counts: Counts, report: dict[str, Any], root: Path) -> None:
    """Add what one object file has counted, as `gcov --json-format` tells it."""
    for file in report["files"]:
        path = file["file"]
        ran = [(line["line_number"], line["count"]) for line in file["lines"]]
        if path.endswith(".c"):
            origins = find_origins((root / path).read_text())
            places = [(*origins[number], count) for number, count in ran if number in origins]
        else:
            places = [(path, number, count) for number, count in ran]
        for source, number, count in places:
            if is_ours(source):
                counts[source][number] = counts[source].get(number, 0) + count


def is_ours(path: str) -> bool:
    """Whether a path is that of a native source of this project, and not of a library."""
    return path.startswith(("src/", "ledgercore/")) and Path(path).suffix in _NATIVE


def run_gcov(folder: Path, root: Path) -> Iterator[dict[str, Any]]:
    """Yield the report of each object file below a folder that has run."""
    for data in sorted(folder.rglob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", str(data)]
        told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        yield json.loads(told.stdout)


def read_python(path: Path) -> Counts:
    """Return the counts, none or one, in a report by `coverage json`."""
    files = json.loads(path.read_text())["files"]
    return {
        name: dict.fromkeys(file["executed_lines"], 1) | dict.fromkeys(file["missing_lines"], 0)
        for name, file in files.items()
    }


def format_figures(counts: Counts) -> Iterator[str]:
    """Yield a line for each language: how many of its lines have run, and of how many."""
    totals = {language: [0, 0] for language in LANGUAGES}
    for path, lines in counts.items():
        total = totals[_NATIVE.get(Path(path).suffix, "Python")]
        total[0] += sum(count > 0 for count in lines.values())
        total[1] += len(lines)
    for language, (run, there) in totals.items():
        if there:
            yield f"{language:<8}{run / there:7.1%}  {run:,} of {there:,} lines"


def format_gaps(counts: Counts) -> Iterator[str]:
    """Yield a line for each file: its path, its share, and the lines that have not run."""
    for path, lines in sorted(counts.items()):
        gaps = ", ".join(join_ranges(n for n, count in sorted(lines.items()) if not count))
        share = sum(count > 0 for count in lines.values()) / max(1, len(lines))
        yield f"{share:7.1%}  {path}  {gaps}".rstrip()


def join_ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Yield ascending numbers as ranges: 3, 5-7."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    yield from (f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


def main(folder: str, *python: str) -> None:
    """Print the figures; the lines that have not run go to a file beside the counts."""
    root = Path.cwd()
    counts: Counts = defaultdict(dict)
    for report in run_gcov(Path(folder).resolve(), root):
        add_counts(counts, report, root)
    for path in python:
        counts.update(read_python(Path(path)))
    gaps = Path(folder) / "lines.txt"
    gaps.write_text("\n".join([*format_gaps(counts), ""]))
    print(*format_figures(counts), f"lines that have not run: {gaps}", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
