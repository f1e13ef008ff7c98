"""The rules of imports at work: on every source, and each on an offence of its own."""

from collections.abc import Callable, Iterator

import pytest

from tests.style.imports import (
    FLOORS,
    KNOWN_TO,
    client_stands_alone,
    files_are_behind_the_store,
    has_no_cycles,
    headers_are_used,
    imports_point_down,
    rooms_point_down,
    seam_is_kept,
    seam_names,
)
from tests.style.sources import ROOT, Source, complain, read_project

ONE = [imports_point_down, rooms_point_down, client_stands_alone, files_are_behind_the_store]
ALL = [has_no_cycles, headers_are_used]


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


def test_the_seam(project: list[Source]) -> None:
    seam = seam_names(project)
    assert "open" in seam
    complain([f"{s.path} {fault}" for s in project for fault in seam_is_kept(s, seam)])


@pytest.mark.parametrize("layer", FLOORS)
def test_a_floor_is_there(project: list[Source], layer: str) -> None:
    """A room that is gone is taken off the list."""
    rooms = {source.room for source in project if source.layer == layer}
    assert set().union(*FLOORS[layer]) - rooms == set()
    assert sum(map(len, FLOORS[layer])) == len(set().union(*FLOORS[layer]))


@pytest.mark.parametrize("module", KNOWN_TO)
def test_who_may_know_a_module_does(project: list[Source], module: str) -> None:
    """Who has no need of it any more is taken off the list."""
    reached = {
        source.module: {path for path, names in source.imports for path in reach(path, names)}
        for source in project
        if source.suffix in (".py", ".pyx")
    }
    assert {name for name in KNOWN_TO[module] if module not in reached[name]} == set()


def reach(module: str, names: tuple[str, ...]) -> set[str]:
    return {module, *(f"{module}.{name}" for name in names)}


# -- the rules, each with something that it must catch --------------------------------------------
BROKEN = [
    (imports_point_down, "ledgercore/a.py", "from ledgercore.service import app", "imports ledg"),
    (imports_point_down, "ledgercore/a.py", "from .service import app", "imports ledgercore.serv"),
    (imports_point_down, "ledgercore/a.pyx", "from ledgercore.service import a", "imports ledger"),
    (imports_point_down, "service/a.py", "import bench.report", "imports bench.report"),
    (imports_point_down, "service/http/a.py", "import bench.report", "imports bench.report"),
    (imports_point_down, "bench/a.py", "from ledgercore.service import app", "imports ledgercore."),
    (imports_point_down, "bench/a.py", "import sanic", "uses sanic"),
    (imports_point_down, "service/routes/a.py", "import click", "uses click"),
    (rooms_point_down, "service/wire/a.py", "from ..http import a", "imports http, which"),
    (rooms_point_down, "service/wire/a.py", "from ..http.b import a", "imports http, which"),
    (rooms_point_down, "service/wire/a.py", "from .. import app", "imports app, which"),
    (rooms_point_down, "service/wire/a.py", "from ..unknown import a", "imports unknown, which"),
    (rooms_point_down, "service/access/a.py", "from ..chaos.b import a", "imports chaos, which"),
    (rooms_point_down, "service/wire/a.pyx", "from ledgercore.service.http.b cimport C", "imports"),
    (rooms_point_down, "service/new/a.py", "", "is in new, which is on no floor"),
    (client_stands_alone, "ledgercore/a.py", "from . import client", "imports ledgercore"),
    (client_stands_alone, "ledgercore/a.py", "from .client.calls import a", "imports ledgercore."),
    (client_stands_alone, "ledgercore/client/a.py", "from .. import errors", "imports ledgercore"),
    (client_stands_alone, "ledgercore/client/a.py", "import ledgercore", "imports ledgercore"),
    (client_stands_alone, "ledgercore/client/a.py", "from ..service import a", "imports ledgerc"),
    (client_stands_alone, "ledgercore/client/a.py", "import numpy", "uses numpy"),
    (files_are_behind_the_store, "ledgercore/a.py", "from .directory import b", "imports ledgerc"),
    (files_are_behind_the_store, "ledgercore/a.py", "from . import directory", "imports ledgerc"),
    (files_are_behind_the_store, "ledgercore/a.pyx", "from .directory import b", "imports ledger"),
    (files_are_behind_the_store, "ledgercore/a.py", "import ledgercore.directory", "imports led"),
    (files_are_behind_the_store, "ledgercore/recovery.py", "from .file_store import b", "import"),
]


@pytest.mark.parametrize(("rule", "path", "text", "fault"), BROKEN)
def test_a_rule_can_fail(
    rule: Callable[[Source], Iterator[str]], path: str, text: str, fault: str
) -> None:
    assert any(found.startswith(fault) for found in rule(Source(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("service/http/a.py", "from ..wire import problems"),
        ("service/http/a.py", "from .b import c"),
        ("service/http/a.py", "from . import b"),
        ("service/http/a.pyx", "from ledgercore.service.wire.b cimport C"),
        ("service/app.py", "from .http.b import c\nfrom .settings import d"),
        ("service/__init__.py", ""),
        ("ledgercore/history.py", "from .directory import a"),
        ("ledgercore/recovery.py", "from .store import a"),
        ("bench/a.py", "from ledgercore.service.profiling.stacks import fold"),
        ("bench/a.py", "from ledgercore.service.profiling import stacks"),
    ],
)
def test_what_is_right_passes(path: str, text: str) -> None:
    assert [fault for rule in ONE for fault in rule(Source(path, text))] == []


def test_rules_about_the_whole_can_fail() -> None:
    one = Source("service/a.py", "from . import b")
    two = Source("service/b.py", "from .a import c")
    header = Source("src/d.h", "/* Used by nobody. */")
    circle = "ledgercore.service.a, ledgercore.service.b"
    assert list(has_no_cycles([one, two])) == [f"in or above a cycle: {circle}"]
    assert list(has_no_cycles([one, header])) == []
    assert list(headers_are_used([one, header])) == ["src/d.h is included nowhere"]


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


def test_the_tests_are_not_on_the_floors() -> None:
    assert (ROOT / "service" / "__init__.py").exists()
    assert list(rooms_point_down(Source("tests/service/test_a.py", "from ..http import a"))) == []
