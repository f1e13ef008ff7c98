"""Whose memory code looks into: above the engine, only what it hands out, and nobody's privates.

A rule takes one source and yields what is wrong as sentences. Imports are not its matter: an object
that was handed out by right can be looked into all the same, and that is what is seen here.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.style.sources import Source

ABOVE = ("service", "bench")
# What holds the accounts, the keys and the way back to them, whatever object it is asked of.
INSIDES = {"ledger", "engine_half", "ids", "balances_view"}
# What is a method in Python, and an array in C.
ARRAYS = {"account", "balance"}
# What native code may read of a submission: its rows as C has them, and how many there may be.
ROWS = {"records", "outcomes", "count"}
FIELDS = {("data", "."), ("count_max", "")}
# What begins with an underscore and may be read all the same, by "path:name", and why.
PRIVATE = {
    "bench/simulator/clients.py:_replace": "a method of every named tuple",
    "service/http/client_timeouts.py:_task": "Sanic tells of a request's task nowhere else",
    "service/http/sanic_http.py:_current": "Sanic sets it where it reads heads, as is done here",
    "service/profiling/python_frames.py:_fut_waiter": "asyncio does not say what a task waits for",
    "service/profiling/thread_dump.py:_current_frames": "sys has no other name for it",
    "service/profiling/thread_sampler.py:_current_frames": "sys has no other name for it",
}


@dataclass(frozen=True)
class Read:
    """One attribute that is read: of what, which one, and what follows: `(`, `[`, `.` or not."""

    owner: str
    name: str
    after: str


def reads(source: Source) -> Iterator[Read]:
    """Yield each attribute that a source reads or sets."""
    yield from cython_reads(source) if source.suffix in (".pyx", ".pxd") else python_reads(source)


def python_reads(source: Source) -> Iterator[Read]:
    signs = {ast.Call: ("func", "("), ast.Subscript: ("value", "["), ast.Attribute: ("value", ".")}
    after = {}
    for node in ast.walk(source.tree):
        if type(node) in signs:
            field, sign = signs[type(node)]
            after[getattr(node, field)] = sign
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            yield Read(ast.unparse(node.value), node.attr, after.get(node, ""))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "attrgetter"):
            name = node.args[-1 if ast.unparse(node.func) == "attrgetter" else 1]
            if isinstance(name, ast.Constant):
                yield Read(ast.unparse(node.args[0]), str(name.value), after.get(node, ""))


def cython_reads(source: Source) -> Iterator[Read]:
    text = re.sub(r'"""(?:.|\n)*?"""', '""', source.text)
    text = re.sub(r"^ *(?:from|c?import) .*", "", re.sub(r"#.*", "", text), flags=re.M)
    for match in re.finditer(r"(?:\.|->)\s*([A-Za-z_]\w*)(?=\s*(\(|\[|\.|->)?)", text):
        owner = re.search(r"[\w.]*[\])]?$", text[: match.start()].rstrip())
        yield Read(owner[0] if owner else "", match[1], (match[2] or "").replace("->", "."))


def privates_are_private(source: Source) -> Iterator[str]:
    """What begins with an underscore is read by its own class only."""
    if source.layer not in ABOVE:
        return
    for read in reads(source):
        is_special = read.name.startswith("__") and read.name.endswith("__")
        if not read.name.startswith("_") or is_special or read.owner in ("self", "cls"):
            continue
        if f"{source.path}:{read.name}" not in PRIVATE:
            yield f"reads {read.owner}.{read.name}"


def engine_is_closed(source: Source) -> Iterator[str]:
    """Above the engine nobody holds its ledger; native code has a submission's rows, no more."""
    if source.layer not in ABOVE:
        return
    is_native = source.suffix in (".pyx", ".pxd")
    submissions = {"submission", *re.findall(r"\bSubmission +(\w+)", source.text)}
    for read in reads(source):
        is_inside = read.name in INSIDES or (read.name in ARRAYS and read.after == "[")
        if is_native and read.owner.endswith(".data"):
            is_inside |= read.name not in ROWS
        elif is_native and read.owner.split(".")[-1] in submissions:
            is_inside |= read.after != "(" and (read.name, read.after) not in FIELDS
        if is_inside:
            yield f"reads {read.owner}.{read.name}"
