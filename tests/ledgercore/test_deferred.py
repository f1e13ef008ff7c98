"""Packages whose names are loaded when they are first asked for, and what is loaded for which."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import ledgercore
import ledgercore.client
from ledgercore.deferred import defer
from tests.support.servers import ROOT

PACKAGES = [ledgercore, ledgercore.client]


def loaded_by(program: str) -> set[str]:
    """Return the modules that a program has loaded when it has run."""
    text = f"{program}\nimport sys; print(*sys.modules)"
    run = [sys.executable, "-c", text]
    return set(
        subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    )


def promised(package: ModuleType) -> dict[str, str]:
    """Return the module that each name is imported from, as a type checker is told."""
    tree = ast.parse(Path(str(package.__file__)).read_text())
    (guard,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and "not" not in ast.unparse(node.test)
    )
    return {
        alias.name: str(node.module)
        for node in guard.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_each_name_is_what_a_type_checker_is_told(package: ModuleType) -> None:
    homes = promised(package)
    for name, module in homes.items():
        if name not in package.__all__:
            continue  # for an annotation
        home = importlib.import_module(f"{package.__name__}.{module}")
        assert defer(package.__name__, [name], package._MODULES)(name) is getattr(home, name)
    assert set(package.__all__) - homes.keys() <= vars(package).keys()
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_each_name_can_be_had_first(package: ModuleType) -> None:
    loads = f"import {package.__name__} as p\nfor name in reversed(p.__all__): getattr(p, name)"
    assert f"{package.__name__}.{package._MODULES[-1]}" in loaded_by(loads)


def test_what_is_not_offered_is_not_there() -> None:
    for name in ("Nothing", "__wrapped__", "numpy"):
        with pytest.raises(AttributeError, match=rf"module 'ledgercore' has no attribute '{name}'"):
            getattr(ledgercore, name)
    with pytest.raises(ImportError, match="Nothing"):
        exec("from ledgercore import Nothing")


def test_a_package_loads_nothing_by_itself() -> None:
    loaded = loaded_by("import ledgercore; dir(ledgercore); ledgercore.__version__")
    assert {name for name in loaded if name.startswith("ledgercore")} == {
        "ledgercore",
        "ledgercore.deferred",
    }
    assert "numpy" not in loaded


def test_a_module_of_the_package_loads_no_other() -> None:
    loaded = loaded_by("from ledgercore import errors")
    assert "ledgercore.errors" in loaded and "ledgercore.engine" not in loaded


def test_the_client_loads_nothing_of_the_engine_or_the_server() -> None:
    loaded = loaded_by("from ledgercore.client import *; LedgerClient('http://127.0.0.1:1')")
    ours = {name for name in loaded if name.startswith(("ledgercore", "service"))}
    assert "ledgercore.client.exchange" in ours
    assert {name for name in ours if not name.startswith("ledgercore.client")} == {
        "ledgercore",
        "ledgercore.deferred",
        "ledgercore.grammar",
    }
    assert not {"sanic", "numpy", "uvloop", "prometheus_client"} & loaded


def test_what_the_server_needs_of_the_client_loads_no_http_library() -> None:
    loaded = loaded_by("import ledgercore.client.breaker, ledgercore.client.signing")
    assert not {"httpx", "ledgercore.client.clients"} & loaded
