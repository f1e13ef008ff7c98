"""The rules of imports at work: on every source, and each on an offence of its own."""

from collections.abc import Callable, Iterator

import pytest

from tests.style.imports import (
    FLOORS,
    KNOWN_TO,
    client_stands_alone,
    engine_is_behind_its_port,
    files_are_behind_the_store,
    has_no_cycles,
    headers_are_used,
    imports_point_down,
    rooms_point_down,
    seam_is_kept,
    seam_names,
)
from tests.style.sources import ROOT, Source, complain, read_project

ONE = [
    imports_point_down,
    rooms_point_down,
    client_stands_alone,
    files_are_behind_the_store,
    engine_is_behind_its_port,
]
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


@pytest.mark.parametrize("folder", FLOORS)
def test_a_floor_is_there(project: list[Source], folder: str) -> None:
    """A room that is gone is taken off the list."""
    rooms = {source.room_in(folder) for source in project}
    assert set().union(*FLOORS[folder]) - rooms == set()
    assert sum(map(len, FLOORS[folder])) == len(set().union(*FLOORS[folder]))


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
    (rooms_point_down, "bench/load/a.py", "from ..simulator import plan", "imports simulator, wh"),
    (rooms_point_down, "bench/peers/a.py", "from ..compare.gate import a", "imports compare, whi"),
    (rooms_point_down, "ledgercore/new.py", "", "is in new, which is on no floor"),
    (rooms_point_down, "ledgercore/frames.pyx", "from .engine import a", "imports engine, which"),
    (rooms_point_down, "ledgercore/frames.py", "def f():\n from . import engine", "imports engine"),
    (rooms_point_down, "ledgercore/frames.py", "if TYPE_CHECKING:\n from .engine import a", "imp"),
    (rooms_point_down, "ledgercore/ledger.pyx", "cimport ledgercore.executor", "imports executor"),
    (rooms_point_down, "ledgercore/ledger.pxd", "from .executor cimport a", "imports executor"),
    (rooms_point_down, "ledgercore/ledger.pyi", "from .executor import a", "imports executor"),
    (rooms_point_down, "ledgercore/status.py", "from . import client", "imports client, which"),
    (rooms_point_down, "ledgercore/engine.py", "import ledgercore", "imports __init__, which"),
    (rooms_point_down, "ledgercore/engine.py", "from ledgercore import open", "imports open"),
    (rooms_point_down, "ledgercore/client/new.py", "", "is in new, which is on no floor"),
    (rooms_point_down, "ledgercore/client/types.py", "from .calls import a", "imports calls"),
    (rooms_point_down, "ledgercore/client/types.py", "from .retries import a", "imports retries"),
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
    (engine_is_behind_its_port, "service/wire/a.py", "from ledgercore import Engine", "takes Eng"),
    (engine_is_behind_its_port, "service/app.py", "from ledgercore import open", "takes open"),
    (engine_is_behind_its_port, "service/app.py", "import ledgercore\nledgercore.open()", "uses l"),
    (engine_is_behind_its_port, "service/app.py", "def f(a: ledgercore.Engine): ...", "uses led"),
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
        ("ledgercore/__init__.py", "from .engine import Engine"),
        ("ledgercore/executor.pyx", "from ledgercore.pipeline cimport a\nfrom . import accounts"),
        ("ledgercore/verification.py", "from .auditing import a"),
        ("ledgercore/client/calls.py", "from .types import a"),
        ("ledgercore/client/__init__.py", "from ledgercore.deferred import defer"),
        ("bench/charts.py", "from ledgercore.service.profiling.stacks import fold"),
        ("bench/charts.py", "from ledgercore.service.profiling import stacks"),
    ],
)
def test_what_is_right_passes(path: str, text: str) -> None:
    assert [fault for rule in ONE for fault in rule(Source(path, text))] == []


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("py", "from . import a"),
        ("py", "import ledgercore.service.a"),
        ("py", "from ledgercore.service.a import c"),
        ("py", "def c():\n    from .a import d"),
        ("py", "if TYPE_CHECKING:\n    from .a import D"),
        ("pyi", "from .a import D"),
        ("pyx", "from ledgercore.service.a cimport D"),
        ("pyx", "from .a cimport (\n    D,\n)"),
        ("pyx", "cimport ledgercore.service.a"),
        ("pyx", "def c():\n    from .a import d"),
        ("pxd", "from ledgercore.service.a cimport D"),
        ("pxd", "from ledgercore.service cimport a"),
        ("pxd", "cimport ledgercore.service.a as d"),
    ],
)
def test_a_cycle_is_seen(suffix: str, text: str) -> None:
    one = Source("service/a.py", "from . import b")
    two = Source(f"service/b.{suffix}", text)
    circle = "ledgercore.service.a, ledgercore.service.b"
    assert list(has_no_cycles([one, two])) == [f"in or above a cycle: {circle}"]
    assert list(has_no_cycles([one, Source(two.path, "")])) == []


def test_a_cycle_over_a_package_is_seen() -> None:
    """What is taken from a package and is no module of it needs the package itself."""
    whole = Source("ledgercore/client/__init__.py", "from .calls import c")
    calls = Source("ledgercore/client/calls.py", "from . import c, types")
    types = Source("ledgercore/client/types.py", "")
    assert list(has_no_cycles([whole, calls, types])) == [
        "in or above a cycle: ledgercore.client, ledgercore.client.calls"
    ]


def test_a_cycle_of_headers_is_seen() -> None:
    one, two = Source("src/a.h", '#include "b.h"'), Source("src/b.h", '#include "a.h"')
    assert list(has_no_cycles([one, two])) == ["in or above a cycle: src.a, src.b"]


def test_a_header_that_nobody_includes_is_seen() -> None:
    one, header = Source("service/a.py", ""), Source("src/d.h", "/* Used by nobody. */")
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
