"""The sources of the project as the rules see them: path, text, syntax tree, imports.

This module reads text and imports nothing of what it reads. Where a folder has another name as a
package, it is told here, once.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("src", "ledgercore", "service", "bench", "tests")
SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".h"}
SERVICE = "ledgercore.service"
"""The package that the folder service/ is."""


def name_module(path: str) -> str:
    """Return the name under which a path is imported."""
    name = path.rsplit(".", 1)[0].removesuffix("/__init__").replace("/", ".")
    return re.sub(r"^service(?=\.|$)", SERVICE, name)


def find_layer(module: str) -> str:
    """Return the layer that a module belongs to; its first part, where it is none of ours."""
    return "service" if f"{module}.".startswith(f"{SERVICE}.") else module.split(".")[0]


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
        return name_module(self.path)

    def room_in(self, folder: str) -> str | None:
        """The folder or file right below a folder: `http` for service/http/x.py in service."""
        if not self.path.startswith(f"{folder}/"):
            return None
        return self.path.removeprefix(f"{folder}/").split("/")[0].removesuffix(self.suffix)

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
    folder = name_module(f"{source.path.rpartition('/')[0]}/__init__.py")
    parts = folder.split(".")[: len(folder.split(".")) + 1 - level] if level else []
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


def included(source: Source) -> set[str]:
    """Return the headers of src/ that a source includes, without their suffix."""
    pattern = r"(?:#\s*include\s*|cdef extern from\s+)\"([\w/]+)\.h\""
    return set(re.findall(pattern, source.text))


def read_project() -> list[Source]:
    """Read every source of the project."""
    files = (file for layer in LAYERS for file in sorted((ROOT / layer).rglob("*")))
    return [
        Source(file.relative_to(ROOT).as_posix(), file.read_text())
        for file in files
        if file.suffix in SUFFIXES
    ]


def complain(faults: list[str]) -> None:
    """Fail with one line a fault."""
    assert not faults, "\n".join(["", *faults])
