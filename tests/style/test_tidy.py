"""The house rules at work: on every source of the project, and each on an offence of its own."""

from collections.abc import Callable, Iterator

import pytest

from tests.style.sources import Source, complain, read_project
from tests.style.tidy import (
    cdef_states_errors,
    cython_functions,
    cython_is_plain,
    has_head,
    header_is_pure,
    is_short,
    leaves_nothing_behind,
    modules_have_tests,
)

ONE = [
    has_head,
    is_short,
    cython_is_plain,
    cdef_states_errors,
    leaves_nothing_behind,
    header_is_pure,
]
ALL = [modules_have_tests]


@pytest.fixture(scope="module")
def project() -> list[Source]:
    """Read every source of the project."""
    return read_project()


@pytest.mark.parametrize("rule", ONE, ids=lambda rule: rule.__name__)
def test_each_file(project: list[Source], rule: Callable[[Source], Iterator[str]]) -> None:
    complain([f"{source.path} {fault}" for source in project for fault in rule(source)])


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.__name__)
def test_the_whole(project: list[Source], rule: Callable[[list[Source]], Iterator[str]]) -> None:
    complain(list(rule(project)))


# -- the rules, each with something that it must catch --------------------------------------------
BROKEN = [
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
    one, two = Source("service/http/a.py", ""), Source("ledgercore/b.pyx", "")
    test = Source("tests/service/http/test_a.py", "")
    assert list(modules_have_tests([one, two])) == [
        "service/http/a.py has no tests/service/http/test_a.py",
        "ledgercore/b.pyx has no tests/ledgercore/test_b.py",
    ]
    assert list(modules_have_tests([one, test])) == []
