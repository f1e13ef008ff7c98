"""Sampled stacks, cleaned: names as they are in the sources, and no frame that tells nothing.

This module owns what the frames of py-spy mean. It samples nothing and draws nothing. A thread that
waits is taken out: py-spy leaves it out too, save that it has to stop a thread to see its stack,
and a thread that has just been stopped looks busy. A caller's address is that of the line after the
call, where the compiler may have put a small function of a header; so such a function counts only
where it is what runs, or what calls another of its sort.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Kind(Enum):
    """Whose code a frame is. The value is what a legend calls it."""

    HANDLERS = "service and ledgercore, Python"
    ENGINE = "service and ledgercore, Cython and C"
    LIBRARY = "Sanic and other Python"
    LOOP = "uvloop and libuv"
    RUNTIME = "CPython and compiled libraries"
    SYSTEM = "libc and system calls"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack, the file that it is in, and the line if that is to be told apart."""

    name: str
    file: str
    kind: Kind
    line: int = 0

    def is_in(self, other: "Frame") -> bool:
        """Return whether both are of one function, whatever their lines."""
        return (self.name, self.file) == (other.name, other.file)


FRAMES_MAX = 200
"""How many frames of a stack are kept, the inner ones. py-spy now and then misreads one and goes on
for thousands of frames; and what recurses so deeply is known by its last calls."""

Stack = tuple[Frame, ...]
Stacks = dict[str, Counter[Stack]]
"""How often each stack was seen, by the name of its thread."""

WAITS = {
    "PyThread_acquire_lock_timed",
    "epoll_pwait",
    "epoll_wait",
    "pthread_cond_timedwait",
    "pthread_cond_wait",
}
SERVICE = re.compile(r"^(build/names/)?ledgercore/service/")
STARTERS = re.compile(
    r"<frozen runpy>$|/click/core\.py$"
    r"|^(ledgercore|service)/__main__\.py$|^service/cli/(start|serve)\.py$"
    r"|/sanic/(mixins/startup|worker/serve|server/runners)\.py$|/threading\.py$"
)
"""The files of the way from the start of a thread to its work, the same in every stack."""

FRAME = re.compile(r"(?P<name>.*) \((?P<file>.*?)(?::(?P<line>\d+))?\)")
THREAD = re.compile(r"thread \((?P<number>\w+)\)(?:: (?P<name>.*))?")
MANGLED = re.compile(r"__pyx_(?:\w*?_)?(?=\d)")
UNRESOLVED = re.compile(r"0x[0-9a-f]+")
METHOD = re.compile(r"(?P<owner>[A-Z][A-Za-z]*)_(?P<method>.+)")


def demangle(name: str) -> str:
    """Return the name that a function of Cython has in its source.

    Cython writes each part of the path as its length and its text, and may put a number before the
    last: `__pyx_pw_10ledgercore_8pipeline_8Pipeline_5run_worker` is `Pipeline.run_worker`. py-spy
    takes the path away, and leaves the class: `Pipeline_run_worker`.
    """
    mangled = MANGLED.match(name)
    if mangled is None:
        method = METHOD.fullmatch(name)
        if method is None:
            return name
        owner, rest = method["owner"], method["method"]
        # A private name of Python, `_Loop__run`, has its class in it once more.
        return f"{owner}.{rest.removeprefix(f'_{owner}')}"
    rest, parts = name[mangled.end() :], []
    while number := re.match(r"\d+", rest):
        length, text = int(number[0]), rest[number.end() :]
        if len(text) < length or text[length : length + 1] not in ("_", ""):
            rest = text
            break
        parts.append(text[:length])
        rest = text[length + 1 :]
    owners = [part for part in parts if part[:1].isupper()]
    return ".".join([*(owners or parts[-1:]), *([rest] if rest else [])])


def shorten_path(path: str) -> str:
    """Return a path without what differs from machine to machine."""
    path = path.removeprefix(f"{ROOT}/").replace("/./", "/")
    for mark in ("site-packages/", "/lib/python3.", "/project/build/", "/project/"):
        _, found, tail = path.partition(mark)
        if found:
            path = tail.partition("/")[2] if mark.endswith(".") else tail
    if path.startswith("/"):
        path = "/".join(path.split("/")[-2:])
    # The package is compiled, and installed, under its name; its sources are in service/.
    return SERVICE.sub("service/", path)


def read_frame(text: str, *, is_lined: bool = False) -> Frame:
    """Return a frame from what py-spy writes: `name (file:line)`."""
    found = FRAME.fullmatch(text)
    name, path = (found["name"], found["file"]) if found else (text, "")
    line = int(found["line"] or 0) if found and is_lined else 0
    return make_frame(name, path, line)


@lru_cache(maxsize=4096)
def make_frame(name: str, path: str, line: int = 0) -> Frame:
    """Return the frame of a function, whatever its name and path look like to a profiler."""
    kind = find_kind(name, path)
    file = shorten_path(path)
    if UNRESOLVED.fullmatch(name):
        name = file.rpartition("/")[2].partition(".")[0]
    elif kind in (Kind.ENGINE, Kind.LOOP) or name.startswith("__pyx_"):
        name = demangle(name)
    return Frame(name, file, kind, line)


def find_kind(name: str, path: str) -> Kind:
    """Return whose code a function is, by the file that it is in."""
    file = shorten_path(path)
    if path.startswith("<") or path.endswith(".py") or path.isidentifier():
        # Sanic makes a few functions at its start; their "file" is the name of the function.
        is_ours = file.startswith(("service/", "ledgercore/"))
        return Kind.HANDLERS if is_ours else Kind.LIBRARY
    if file.startswith(("ledgercore/", "service/", "src/")):
        return Kind.ENGINE
    if "uvloop" in path or "libuv" in path:
        return Kind.LOOP
    if re.search(r"/(libc|libpthread|libm|ld-linux)[-.\w]*\.so|\[vdso\]", path):
        return Kind.SYSTEM
    return Kind.RUNTIME


def clean_stack(frames: Sequence[Frame]) -> Stack:
    """Return a stack, the outer frame first, without what tells nothing: see the head."""
    first = next((n for n, frame in enumerate(frames) if not _is_start(frame)), len(frames))
    kept: list[Frame] = []
    # From the inside, so that each frame knows what it called.
    for frame in reversed(frames[first:]):
        called = kept[-1] if kept else None
        if called is not None and (frame.is_in(called) or _is_misread(frame, called)):
            continue
        kept.append(frame)
    return tuple(reversed(kept[:FRAMES_MAX]))


def _is_start(frame: Frame) -> bool:
    """Whether a frame belongs to the way from the start of a thread to its work."""
    return (
        STARTERS.search(f"/{frame.file}" if frame.kind is Kind.LIBRARY else frame.file) is not None
        or frame.kind is Kind.SYSTEM
        or frame.name == "thread_run"
        or (frame.kind is Kind.LOOP and frame.name != "uv_run")
    )


def _is_misread(frame: Frame, called: Frame) -> bool:
    """Whether a frame cannot have called what is below it: see the head of this file."""
    if frame.name.startswith(("__Pyx_", "__pyx_")):
        return True
    return (
        frame.file.endswith(".h")
        and called.kind is not Kind.SYSTEM
        and not called.file.endswith(".h")
    )


def read_stacks(text: str, *, is_lined: bool = False) -> tuple[Stacks, int]:
    """Return the stacks of py-spy's raw format, and how many samples only waited.

    Each line is `frame;frame;... count`, from the outside in; the first frame names the thread.
    Where it `is_lined`, stacks that differ in a line only are stacks of their own.
    """
    stacks: Stacks = {}
    waits = 0
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        thread, *texts = frames.split(";")
        names = {found["name"] for one in texts if (found := FRAME.fullmatch(one))}
        if names & WAITS:
            waits += int(count)
            continue
        stack = clean_stack([read_frame(one, is_lined=is_lined) for one in texts])
        stacks.setdefault(_name_thread(thread), Counter())[stack] += int(count)
    return stacks, waits


def _name_thread(text: str) -> str:
    """Return the name of a thread from py-spy's `thread (number): name`."""
    found = THREAD.fullmatch(text)
    return text if found is None else found["name"] or found["number"]


def merge_lines(stacks: Stacks) -> Stacks:
    """Return the stacks with the lines left out, for what tells functions apart and no more."""
    merged: Stacks = {}
    for thread, seen in stacks.items():
        counts = merged.setdefault(thread, Counter())
        for stack, count in seen.items():
            counts[tuple(replace(frame, line=0) for frame in stack)] += count
    return merged


def read_thread_names(text: str) -> dict[str, str]:
    """Return the names of all threads by their numbers, those included that only waited."""
    threads = {line.partition(";")[0] for line in text.splitlines()}
    found = (THREAD.fullmatch(thread) for thread in threads)
    return {one["number"]: one["name"] or one["number"] for one in found if one is not None}


def fold(stacks: Stacks) -> Iterator[str]:
    """Yield the lines that flamegraph.pl and speedscope read: `thread;frame;frame count`."""
    for thread, seen in stacks.items():
        for stack, count in sorted(
            seen.items(), key=lambda item: [frame.name for frame in item[0]]
        ):
            frames = (f"{frame.name} ({frame.file})" for frame in stack)
            yield f"{';'.join([thread, *frames])} {count}"


def count_kinds(seen: Counter[Stack]) -> dict[Kind, int]:
    """Return how many samples each kind of code had at the inner end of the stack."""
    counts: Counter[Kind] = Counter()
    for stack, count in seen.items():
        if stack:
            counts[stack[-1].kind] += count
    return dict(counts)
