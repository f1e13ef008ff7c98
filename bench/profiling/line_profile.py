"""What Scalene wrote, as shares of the time: of Python, of native code and of the system.

This module owns the reading of Scalene's JSON, and the page that is made of it. It profiles
nothing. Scalene never looks into compiled code: all its time is `native`, on the line of Python
that called it. A line is also a less sure thing than its function: in a tight loop Python 3.11
tells the interrupting profiler no line, and Scalene then takes the first one of the function.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..machine import ROOT
from ..processes import python, run

PAGE_NAME = "scalene-profile.html"
"""What Scalene calls every page, in the directory that it runs in."""


class NothingSeen(Exception):
    """The profiler took no sample, since there was too little to see."""


@dataclass(frozen=True, slots=True)
class Share:
    """What part of the whole time a place had, in percent. `line` 0 stands for a whole file."""

    file: str
    function: str
    line: int
    text: str
    python: float
    native: float
    system: float

    @property
    def total(self) -> float:
        """All three together."""
        return self.python + self.native + self.system

    @property
    def place(self) -> str:
        """The file, and the line or function in it, as people point at code."""
        return f"{self.file}:{self.line} {self.function or self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: the shares of all functions and of all lines, each largest first."""

    seconds: float
    functions: list[Share]
    lines: list[Share]

    @property
    def whole(self) -> Share:
        """Everything together: 100 percent, save what Scalene rounds away."""
        return _add("", self.lines)

    @property
    def files(self) -> list[Share]:
        """The shares of the files, largest first."""
        names = {line.file for line in self.lines}
        files = [_add(name, [one for one in self.lines if one.file == name]) for name in names]
        return sorted(files, key=lambda share: (-share.total, share.file))


def _add(file: str, shares: list[Share]) -> Share:
    python, native, system = (
        sum(getattr(share, kind) for share in shares) for kind in ("python", "native", "system")
    )
    return Share(file, "", 0, "", python, native, system)


def read_profile(path: Path) -> Profile:
    """Return what Scalene wrote into a file. Raises NothingSeen where that is nothing."""
    # It writes no file at all where it took no sample.
    data = json.loads(path.read_text()) if path.exists() else {}
    files = data.get("files", {})
    lines = list(_read_shares(files, "lines"))
    whole = sum(line.total for line in lines)
    if not whole:
        raise NothingSeen(f"Scalene took no sample for {path.name}: the work was too short")
    # Code without a file has a share, but no place in the lists.
    scale = 100 / whole
    return Profile(
        seconds=float(data["elapsed_time_sec"]),
        functions=_sort(_read_shares(files, "functions"), scale),
        lines=_sort(lines, scale),
    )


def _read_shares(files: dict[str, Any], kind: str) -> Iterator[Share]:
    for file, found in files.items():
        for entry in found[kind]:
            text = entry["line"].replace("\\u003c", "<").replace("\\u003e", ">").strip()
            is_function = kind == "functions"
            yield Share(
                file,
                text if is_function else "",
                entry["lineno"],
                "" if is_function else text,
                entry["n_cpu_percent_python"],
                entry["n_cpu_percent_c"],
                entry["n_sys_percent"],
            )


def _sort(shares: Iterable[Share], scale: float) -> list[Share]:
    scaled = [
        replace(
            one, python=one.python * scale, native=one.native * scale, system=one.system * scale
        )
        for one in shares
        if one.total > 0
    ]
    return sorted(scaled, key=lambda share: (-share.total, share.file, share.line))


def shorten_paths(path: Path) -> None:
    """Name the files in a profile as they are named in the checkout, wherever that is.

    So a profile can be shown to others.
    """
    prefix = f"{ROOT}/"
    data = json.loads(path.read_text())
    files = data.get("files", {})
    data["files"] = {name.removeprefix(prefix): found for name, found in files.items()}
    data["filename"] = "."
    data["program"] = str(data.get("program", "")).removeprefix(prefix)
    # Stacks name a file in the midst of a line.
    path.write_text(json.dumps(data).replace(prefix, ""))


def render_page(path: Path) -> Path:
    """Make a page of a profile, beside it and of its name. It needs no other file to be read."""
    page = path.with_suffix(".html")
    command = python("scalene", "view", "--standalone", path.name)
    ended = run(command, directory=path.parent)
    made = path.with_name(PAGE_NAME)
    if not made.exists():
        raise RuntimeError(f"Scalene made no page of {path}: {ended.stdout}{ended.stderr}")
    return made.rename(page)
