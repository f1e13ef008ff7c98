"""A profile as an answer: which format is asked for, and the profile written in it.

This module owns the formats' names and their types of content. It takes no profile.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..wire.json_bodies import refuse
from ..wire.paths import make_parameter_error
from .flame_graph import Panel, draw_flame
from .pprof import CONTENT_TYPE, encode_profile
from .profile import Profile
from .stacks import fold, merge_lines

PPROF, SVG, COLLAPSED, TEXT = "pprof", "svg", "collapsed", "text"
PLAIN = "text/plain; charset=utf-8"

PANELS_MAX = 3
"""How many threads a picture has, those with the most; the others are in the other formats."""


@dataclass(frozen=True, slots=True)
class ProfileContent:
    """The body of an answer, its type, and the name that a browser keeps it under, if any."""

    body: bytes
    content_type: str
    file_name: str = ""


def choose_format(
    parameters: dict[str, str], formats: Sequence[str], debug: str = COLLAPSED
) -> str:
    """Return the format that a query asks for, the first of those that there are if it asks not.

    `debug` is what Go's `debug=1` is here; 2 is the longest text there is. Raises Problem.
    """
    wanted = parameters.get("format")
    level = parameters.get("debug", "0")
    if level not in ("0", "1", "2"):
        refuse([make_parameter_error("debug", "out-of-range", "It is 0, 1 or 2.")])
    if wanted is None:
        longest = TEXT if TEXT in formats else debug
        return {"0": formats[0], "1": debug, "2": longest}[level]
    if "debug" in parameters:
        detail = "Give a format or a level of debugging, not both."
        refuse([make_parameter_error("debug", "conflict", detail)])
    if wanted not in formats:
        detail = f"A format is one of {', '.join(formats)}."
        refuse([make_parameter_error("format", "unknown", detail)])
    return wanted


def write_profile(profile: Profile, wanted: str) -> ProfileContent:
    """Return a profile in a format other than text. Blocks, for a large one."""
    return _WRITERS[wanted](profile)


def _write_pprof(profile: Profile) -> ProfileContent:
    name = profile.title.lower().replace(" ", "-")
    return ProfileContent(encode_profile(profile, time.time_ns()), CONTENT_TYPE, f"{name}.pb.gz")


def _write_svg(profile: Profile) -> ProfileContent:
    stacks = merge_lines(profile.stacks)
    unit = profile.measures[profile.shown]
    word = unit.unit if unit.unit != "count" else unit.name
    whole = sum(seen.total() for seen in stacks.values())
    largest = sorted(stacks.items(), key=lambda item: (-item[1].total(), item[0]))
    panels = [
        Panel(
            f"thread {name}: {seen.total():,} {word}, {100 * seen.total() / whole:.0f} %",
            seen,
        )
        for name, seen in largest[:PANELS_MAX]
    ]
    notes = [
        profile.note,
        f"{whole:,} {word} of {len(stacks)} threads"
        + (f" in {profile.seconds:g} s" if profile.seconds else "")
        + ". A box is as wide as its share of its thread, under its caller.",
    ]
    if not panels:
        panels = [Panel("nothing was seen: no thread had anything to do", Counter())]
    return ProfileContent(draw_flame(profile.title, notes, panels, word).encode(), "image/svg+xml")


def _write_collapsed(profile: Profile) -> ProfileContent:
    lines = fold(merge_lines(profile.stacks))
    return ProfileContent("".join(f"{line}\n" for line in lines).encode(), PLAIN)


_WRITERS: dict[str, Callable[[Profile], ProfileContent]] = {
    PPROF: _write_pprof,
    SVG: _write_svg,
    COLLAPSED: _write_collapsed,
}
