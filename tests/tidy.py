"""The house rules as code, so that nobody has to remember them.

A rule takes one source, or all of them, and yields what is wrong as sentences. It reads text and
imports nothing; `test_tidy.py` runs the rules, and shows that each of them can fail.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

LAYERS = ("src", "ledgercore", "service", "bench", "tests")

LINE_MAX, FILE_MAX, FUNCTION_MAX = 100, 400, 70

# What may be longer than the rule, by "path" or "path:function", and why.
LONG: dict[str, str] = {}

# Modules without a test file of their name, and why.
UNTESTED = {
    "__init__": "names what the others define",
    "__main__": "one call, which every test of the command makes",
}

# Which of our layers each may import; what has a dot is one module of that layer.
MAY_IMPORT = {
    "ledgercore": {"ledgercore"},
    "service": {"ledgercore", "service"},
    "bench": {
        "ledgercore",
        # What py-spy saw is read, named and drawn once: at /debug/pprof/ and in the benchmarks.
        "service.sampling",
        "service.stacks",
        "service.flame",
        "bench",
    },
}
# Who may import a library, apart from the tests.
MAY_USE = {
    # The yardstick of the benchmarks is a plain Sanic app, and one of its stages another.
    "sanic": re.compile(r"service/|bench/plain\.py|bench/stages/naive_service\.py"),
    "click": re.compile(r"service/(command\w*|administration)\.py|bench/"),
}
# What native files of the service may take of the engine: records, submissions and recorders as C
# has them.
NATIVE_SEAM = {"ledgercore._c", "ledgercore.recorder", "ledgercore.submission"}
# What each layer may take of the client library, whose modules load no more than they need.
CLIENT_SEAM = {
    "service": {
        "ledgercore.client.breaker",
        "ledgercore.client.loopback",
        "ledgercore.client.signing",
    },
    "bench": {
        "ledgercore.client",
        "ledgercore.client.breaker",
        "ledgercore.client.loopback",
        "ledgercore.client.retries",
        "ledgercore.client.signing",
    },
}
CLIENT_LIBRARIES = {"httpx", "msgspec"}
PRINTERS = {"bench/report.py"}
OBJECTS = {"object", "bytes", "str", "list", "dict", "set", "frozenset", "tuple", "bytearray"}


@dataclass(frozen=True)
class Source:
    """One file: its path from the root, with slashes, and its text."""

    path: str
    text: str

    @property
    def layer(self) -> str:
        return self.path.split("/")[0]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix

    @property
    def module(self) -> str:
        return self.path.removesuffix(self.suffix).removesuffix("/__init__").replace("/", ".")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file; an empty one for anything else."""
        return ast.parse(self.text if self.suffix in (".py", ".pyi") else "")

    @cached_property
    def calls(self) -> set[str]:
        """What is called, as it is spelled: `print`, `time.sleep`."""
        return {ast.unparse(node.func) for node in ast.walk(self.tree) if type(node) is ast.Call}

    @cached_property
    def imports(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every import as (module, names), with relative ones made absolute."""
        return list(cython_imports(self) if self.suffix in (".pyx", ".pxd") else imports(self))


def absolute(source: Source, module: str, level: int) -> str:
    """Return the full name of a module that is `level` dots away from the source."""
    parts = source.path.split("/")[:-level] if level else []
    return ".".join([*parts, *([module] if module else [])])


def imports(source: Source) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield absolute(source, node.module or "", node.level), names


def cython_imports(source: Source) -> Iterator[tuple[str, tuple[str, ...]]]:
    pattern = r"^ *from +(\.*)([\w.]*) +c?import +(\([^)]*\)|[^(\n]+)|^ *c?import +([\w., ]+)"
    for dots, module, names, modules in re.findall(pattern, source.text, re.M):
        if modules:
            yield from ((name.split()[0], ()) for name in modules.split(","))
        else:
            found = re.findall(r"(\w+|\*)(?: +as +\w+)?", names)
            yield absolute(source, module, len(dots)), tuple(found)


# -- rules about one file -------------------------------------------------------------------------
def imports_point_down(source: Source) -> Iterator[str]:
    """Bench may know the service's client, the service the engine, the engine nobody."""
    allowed = MAY_IMPORT.get(source.layer)
    for module, names in source.imports:
        top = module.split(".")[0]
        reached = {module, *(f"{module}.{name}" for name in names)}
        if allowed and top in LAYERS and top not in allowed and not reached & allowed:
            yield f"imports {module}"
        if source.layer != "tests" and top in MAY_USE and not MAY_USE[top].match(source.path):
            yield f"uses {top}"


def client_stands_alone(source: Source) -> Iterator[str]:
    """A program that asks a server loads no engine, and the engine asks no server."""
    inside = source.path.startswith("ledgercore/client/")
    if source.layer != "ledgercore":
        return
    for module, names in source.imports:
        top = module.split(".")[0]
        reached = {module, *(f"{module}.{name}" for name in names)}
        of_client = any(f"{name}.".startswith("ledgercore.client.") for name in reached)
        if top in LAYERS and of_client != inside and module != "ledgercore.deferred":
            yield f"imports {module}"
        if inside and top not in LAYERS and top not in sys.stdlib_module_names | CLIENT_LIBRARIES:
            yield f"uses {top}"


def seam_names(sources: Iterable[Source]) -> set[str]:
    """Return what `ledgercore/__init__.py` lists in `__all__`."""
    for source in sources:
        if source.path == "ledgercore/__init__.py":
            for node in source.tree.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                    return set(ast.literal_eval(node.value))
    return set()


def seam_is_kept(source: Source, seam: set[str]) -> Iterator[str]:
    """Above the engine, only what its `__init__` names is used; natively, a little more."""
    if source.layer not in ("service", "bench"):
        return
    native = NATIVE_SEAM if source.suffix in (".pyx", ".pxd") else CLIENT_SEAM[source.layer]
    for module, names in source.imports:
        if module == "ledgercore":
            yield from (f"takes {name} from ledgercore" for name in names if name not in seam)
        elif module.startswith("ledgercore.") and not native & {
            module,
            *(f"{module}.{name}" for name in names),
        }:
            yield f"reaches into {module}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ledgercore":
            yield from (f"uses ledgercore.{name}" for name in {node.attr} - seam)


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
    if source.layer in MAY_IMPORT and prints and source.path not in PRINTERS:
        yield "prints"
    slept = "time.sleep" in source.calls or ("time", ("sleep",)) in source.imports
    if source.layer == "tests" and slept and source.path != "tests/waiting.py":
        yield "sleeps"


def header_is_pure(source: Source) -> Iterator[str]:
    """src/ knows nothing of Python."""
    if source.layer == "src" and re.search(r"#\s*include\s*[<\"](Python|numpy)", source.text):
        yield "includes Python.h"


# -- rules about all files ------------------------------------------------------------------------
def graph(sources: list[Source]) -> dict[str, set[str]]:
    """Return which of our modules and headers each one needs."""
    needs: dict[str, set[str]] = {s.module: set() for s in sources if s.suffix != ".pyi"}
    for source in sources:
        if source.suffix == ".h":
            needs[source.module] |= {f"src.{name}" for name in included(source)}
        elif source.suffix != ".pyi":
            for module, names in source.imports:
                inner = {f"{module}.{name}" for name in names} & needs.keys()
                needs[source.module] |= inner or {module}
    return {module: found & needs.keys() - {module} for module, found in needs.items()}


def has_no_cycles(sources: list[Source]) -> Iterator[str]:
    """Nothing needs itself: take away what needs nothing that is left, until nothing is left."""
    needs = graph(sources)
    while free := {module for module, found in needs.items() if not found & needs.keys()}:
        needs = {module: found for module, found in needs.items() if module not in free}
    if needs:
        yield f"in or above a cycle: {', '.join(sorted(needs))}"


def included(source: Source) -> set[str]:
    """Return the headers of src/ that a source includes, without their suffix."""
    pattern = r"(?:#\s*include\s*|cdef extern from\s+)\"(\w+)\.h\""
    return set(re.findall(pattern, source.text))


def headers_are_used(sources: list[Source]) -> Iterator[str]:
    """A header that nobody includes is dead."""
    used = {name for source in sources for name in included(source)}
    for source in sources:
        if source.layer == "src" and PurePosixPath(source.path).stem not in used:
            yield f"{source.path} is included nowhere"


def modules_have_tests(sources: list[Source]) -> Iterator[str]:
    """Each module of the engine and the service has a test file of its name; in the client too."""
    paths = {source.path for source in sources}
    for source in sources:
        stem = PurePosixPath(source.path).stem
        if source.layer not in ("ledgercore", "service") or source.suffix not in (".py", ".pyx"):
            continue
        test = "_".join(["tests/test", *source.path.split("/")[1:-1], f"{stem}.py"])
        if test not in paths and stem not in UNTESTED:
            yield f"{source.path} has no {test}"


# -- rules about a stub --------------------------------------------------------------------------
def stub_faults(tree: ast.Module | ast.ClassDef, real: object) -> Iterator[str]:
    """Compare the public names of a stub with those that a module or class defines."""
    stated = {name for node in tree.body for name in stated_names(node)}
    home = getattr(real, "__module__", None) or getattr(real, "__name__", "")
    present = {
        name
        for name, value in vars(real).items()
        if not name.startswith("_") and getattr(value, "__module__", home) == home
        if isinstance(tree, ast.ClassDef) or callable(value)
    }
    # What only an instance has, its class cannot show.
    shown = stated - fields_of(tree)
    yield from (f"{name} is only in the stub" for name in shown if not hasattr(real, name))
    yield from (f"{name} is not in the stub" for name in present - stated)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and hasattr(real, node.name):
            yield from stub_faults(node, getattr(real, node.name))


def fields_of(tree: ast.Module | ast.ClassDef) -> set[str]:
    """Return the annotated attributes of a class; of a module none, since it shows its own."""
    fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(node.target) for node in fields if isinstance(tree, ast.ClassDef)}


def stated_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign):
        yield ast.unparse(node.target)
    elif isinstance(node, ast.Assign):  # a member of an enumeration
        yield from map(ast.unparse, node.targets)
