"""How a source reads: its size, its head, its words, and the test that stands beside it.

A rule takes one source, or all of them, and yields what is wrong as sentences. It reads text and
imports nothing; `test_tidy.py` runs the rules, and shows that each of them can fail.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.style.sources import Source

LINE_MAX, FILE_MAX, FUNCTION_MAX = 100, 400, 70

# What may be longer than the rule, by "path" or "path:function", and why.
LONG: dict[str, str] = {}

# Modules without a test file of their name, and why.
UNTESTED = {
    "__init__": "names what the others define",
    "__main__": "one call, which every test of the command makes",
    "sanic_types": "names of types, which mypy checks",
    "units": "two numbers",
}

CODE = ("ledgercore", "service", "bench")
PRINTERS = {"bench/report.py"}
OBJECTS = {"object", "bytes", "str", "list", "dict", "set", "frozenset", "tuple", "bytearray"}


def has_head(source: Source) -> Iterator[str]:
    """A file begins by saying what it is."""
    heads = {".h": ("/*", "//"), ".pxd": ('"""', "#")}
    if source.text.strip() and not source.text.startswith(heads.get(source.suffix, ('"""',))):
        yield "does not start with a docstring or head comment"


def functions(source: Source) -> Iterator[tuple[str, int]]:
    """Yield the name and the length in lines of each function."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1
    if source.suffix == ".h":
        pattern = r"^[a-z_][^;{}#\n]*\b(\w+)\([^;{}]*\)\s*\{\n.*?^\}"
        for match in re.finditer(pattern, source.text, re.M | re.S):
            yield match[1], match[0].count("\n") + 1
    if source.suffix == ".pyx":
        yield from cython_functions(source.text.split("\n"))


def cython_functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    for start, line in enumerate(lines):
        match = re.match(r"( *)(?:async +def|def|cp?def)\b(?! +class)[^=(]*?(\w+)\(", line)
        if not match:
            continue
        end = start
        for number in range(start + 1, len(lines)):
            text = lines[number].strip()
            indent = len(lines[number]) - len(lines[number].lstrip())
            if text and indent <= len(match[1]) and not text.startswith(")"):
                break
            end = number if text else end
        yield match[2], end - start + 1


def is_short(source: Source) -> Iterator[str]:
    """Lines, files and functions fit on a screen, or nearly."""
    lines = source.text.splitlines()
    if len(lines) > FILE_MAX and source.path not in LONG:
        yield f"is {len(lines)} lines long"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX:
            yield f"line {number} has {len(line)} characters"
    for name, length in functions(source):
        if length > FUNCTION_MAX and f"{source.path}:{name}" not in LONG:
            yield f"{name} is {length} lines long"


def cython_is_plain(source: Source) -> Iterator[str]:
    """No conditional compilation, no textual inclusion."""
    if source.suffix in (".pyx", ".pxd"):
        for match in re.finditer(r"^ *(DEF|IF|ELIF|include)\b(?! *=)", source.text, re.M):
            yield f"uses {match[1]}"


def cdef_states_errors(source: Source) -> Iterator[str]:
    """Left unsaid, Cython checks for an exception after every call, with the GIL."""
    if source.suffix not in (".pyx", ".pxd"):
        return
    for match in re.finditer(r"^ *cp?def +([^(=\n:]+)\(", source.text, re.M):
        words = re.sub(r"\b(inline|const|public|api)\b", "", match[1]).replace("*", " * ").split()
        plain = words[0] in OBJECTS or words[0][0].isupper() or "[" in match[1]
        if words[0] == "class" or len(words) == 1 or (plain and "*" not in words):
            continue
        depth, end = 1, match.end()
        while depth and end < len(source.text):
            depth += {"(": 1, ")": -1}.get(source.text[end], 0)
            end += 1
        if not re.match(r"[^:\n]*\b(noexcept|except)\b", source.text[end:]):
            yield f"{words[-1]} says neither noexcept nor except"


def leaves_nothing_behind(source: Source) -> Iterator[str]:
    """No notes to self, no prints, no sleeping where one could watch."""
    if note := re.search(r"\b(T[O]DO|FIX[M]E|X[X]X)\b", source.text):  # does not match itself
        yield f"holds a {note[1]}"
    prints = "print" in source.calls or re.search(r"^ *print\(", source.text, re.M)
    if source.layer in CODE and prints and source.path not in PRINTERS:
        yield "prints"
    slept = "time.sleep" in source.calls or ("time", ("sleep",)) in source.imports
    if source.layer == "tests" and slept and source.path != "tests/support/waiting.py":
        yield "sleeps"


def header_is_pure(source: Source) -> Iterator[str]:
    """src/ knows nothing of Python."""
    if source.layer == "src" and re.search(r"#\s*include\s*[<\"](Python|numpy)", source.text):
        yield "includes Python.h"


def modules_have_tests(sources: list[Source]) -> Iterator[str]:
    """Each module of the engine and the service has a test file of its name, in its folder."""
    paths = {source.path for source in sources}
    for source in sources:
        folder, stem = source.path.rpartition("/")[0], PurePosixPath(source.path).stem
        if source.layer not in ("ledgercore", "service") or source.suffix not in (".py", ".pyx"):
            continue
        test = f"tests/{folder}/test_{stem}.py"
        if test not in paths and stem not in UNTESTED:
            yield f"{source.path} has no {test}"
