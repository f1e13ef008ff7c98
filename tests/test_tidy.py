"""The house rules at work: on every source of the project, and each on an offence of its own."""

import ast
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .tidy import (
    LAYERS,
    Source,
    cdef_states_errors,
    client_stands_alone,
    cython_functions,
    cython_is_plain,
    has_head,
    has_no_cycles,
    header_is_pure,
    headers_are_used,
    imports_point_down,
    is_short,
    leaves_nothing_behind,
    modules_have_tests,
    seam_is_kept,
    seam_names,
    stub_faults,
)

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".h"}

ONE = [
    imports_point_down,
    client_stands_alone,
    has_head,
    is_short,
    cython_is_plain,
    cdef_states_errors,
    leaves_nothing_behind,
    header_is_pure,
]
ALL = [has_no_cycles, headers_are_used, modules_have_tests]


def complain(faults: list[str]) -> None:
    """Fail with one line a fault."""
    assert not faults, "\n".join(["", *faults])


@pytest.fixture(scope="module")
def project() -> list[Source]:
    """Read every source of the project."""
    files = (file for layer in LAYERS for file in sorted((ROOT / layer).rglob("*")))
    return [
        Source(file.relative_to(ROOT).as_posix(), file.read_text())
        for file in files
        if file.suffix in SUFFIXES
    ]


@pytest.mark.parametrize("rule", ONE, ids=lambda rule: rule.__name__)
def test_each_file(project: list[Source], rule: Callable[[Source], Iterator[str]]) -> None:
    complain([f"{source.path} {fault}" for source in project for fault in rule(source)])


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.__name__)
def test_the_whole(project: list[Source], rule: Callable[[list[Source]], Iterator[str]]) -> None:
    complain(list(rule(project)))


def test_the_seam(project: list[Source]) -> None:
    seam = seam_names(project)
    assert "open" in seam
    complain([f"{s.path} {fault}" for s in project for fault in seam_is_kept(s, seam)])


STUBS = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("[!.]*/*.pyi"))]


@pytest.mark.parametrize("path", STUBS)
def test_stubs_name_what_is_there(path: str) -> None:
    source = Source(path, (ROOT / path).read_text())
    complain(list(stub_faults(source.tree, importlib.import_module(source.module))))


# -- the rules, each with something that it must catch --------------------------------------------
BROKEN = [
    (imports_point_down, "ledgercore/a.py", "from service import app", "imports service"),
    (imports_point_down, "ledgercore/a.pyx", "from service import app", "imports service"),
    (imports_point_down, "service/a.py", "import bench.report", "imports bench.report"),
    (imports_point_down, "bench/a.py", "from service import app", "imports service"),
    (imports_point_down, "bench/a.py", "import sanic", "uses sanic"),
    (client_stands_alone, "ledgercore/a.py", "from . import client", "imports ledgercore"),
    (client_stands_alone, "ledgercore/a.py", "from .client.calls import a", "imports ledgercore."),
    (client_stands_alone, "ledgercore/client/a.py", "from .. import errors", "imports ledgercore"),
    (client_stands_alone, "ledgercore/client/a.py", "import ledgercore", "imports ledgercore"),
    (client_stands_alone, "ledgercore/client/a.py", "import service.a", "imports service.a"),
    (client_stands_alone, "ledgercore/client/a.py", "import numpy", "uses numpy"),
    (imports_point_down, "service/routes.py", "import click", "uses click"),
    (has_head, "service/a.py", "import os", "does not start"),
    (has_head, "src/a.h", "#pragma once", "does not start"),
    (is_short, "service/a.py", "#" * 101, "line 1 has 101"),
    (is_short, "src/a.h", "\n" * 401, "is 401 lines long"),
    (is_short, "service/a.py", "def f():\n" + "    1\n" * 70, "f is 71 lines long"),
    (is_short, "ledgercore/a.pyx", "cdef int f(\n    x\n) noexcept:\n" + " y\n" * 70, "f is 73"),
    (is_short, "src/a.h", "static int f(int a)\n{\n" + " a;\n" * 70 + "}\n", "f is 73"),
    (cython_is_plain, "ledgercore/a.pyx", "DEF SIZE = 1", "uses DEF"),
    (cython_is_plain, "ledgercore/a.pxd", 'include "b.pxi"', "uses include"),
    (cdef_states_errors, "ledgercore/a.pyx", "cdef int f(int a) nogil:", "f says neither"),
    (cdef_states_errors, "ledgercore/a.pxd", "    cdef Node* f(\n  A a)", "f says neither"),
    (leaves_nothing_behind, "src/a.h", "// TO" + "DO: more", "holds a"),
    (leaves_nothing_behind, "service/a.py", "if x: print(1)", "prints"),
    (leaves_nothing_behind, "ledgercore/a.pyx", "    print(1)", "prints"),
    (leaves_nothing_behind, "tests/a.py", "import time\ntime.sleep(1)", "sleeps"),
    (leaves_nothing_behind, "tests/a.py", "from time import sleep", "sleeps"),
    (header_is_pure, "src/a.h", "#include <Python.h>", "includes Python.h"),
]


@pytest.mark.parametrize(("rule", "path", "text", "fault"), BROKEN)
def test_a_rule_can_fail(
    rule: Callable[[Source], Iterator[str]], path: str, text: str, fault: str
) -> None:
    assert any(found.startswith(fault) for found in rule(Source(path, text)))


def test_what_is_right_passes() -> None:
    text = '"""A."""\ncdef object f(a):\n    b\ncdef int g(h(i), j) except -1:\n    k\n'
    right = Source("ledgercore/a.pyx", text)
    assert [fault for rule in ONE for fault in rule(right)] == []
    assert list(cython_functions(text.split("\n"))) == [("f", 2), ("g", 2)]


def test_rules_about_the_whole_can_fail() -> None:
    one = Source("service/a.py", "from . import b")
    two = Source("service/b.py", "from .a import c")
    header = Source("src/d.h", "/* Used by nobody. */")
    assert list(has_no_cycles([one, two])) == ["in or above a cycle: service.a, service.b"]
    assert list(has_no_cycles([one, header])) == []
    assert list(headers_are_used([one, header])) == ["src/d.h is included nowhere"]
    assert len(list(modules_have_tests([one, two]))) == 2


@pytest.mark.parametrize(
    "text",
    [
        "from ledgercore import b",
        "from ledgercore.a import a",
        "ledgercore.b()",
        "from ledgercore.client import LedgerClient",
        "from ledgercore.client.exchange import Exchange",
    ],
)
def test_the_seam_can_be_broken(text: str) -> None:
    seam = seam_names([Source("ledgercore/__init__.py", '__all__ = ["a"]')])
    assert seam == {"a"}
    assert len(list(seam_is_kept(Source("service/a.py", text), seam))) == 1


def test_the_seam_has_a_part_of_the_client() -> None:
    text = "from ledgercore.client import breaker\nfrom ledgercore.client.signing import sign"
    assert list(seam_is_kept(Source("service/a.py", text), set())) == []
    assert list(seam_is_kept(Source("bench/a.py", text), set())) == []


def test_a_stub_can_be_wrong() -> None:
    class Real:
        def present(self) -> None: ...

    faults = stub_faults(ast.parse("def stated() -> None: ..."), Real)
    assert sorted(faults) == ["present is not in the stub", "stated is only in the stub"]
