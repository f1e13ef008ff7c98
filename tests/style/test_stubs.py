"""Every stub beside the module that it tells of."""

import ast
import importlib

import pytest

from tests.style.sources import ROOT, Source, complain
from tests.style.stubs import stub_faults

STUBS = [
    path.relative_to(ROOT).as_posix()
    for layer in ("ledgercore", "service")
    for path in sorted((ROOT / layer).rglob("*.pyi"))
]


@pytest.mark.parametrize("path", STUBS)
def test_stubs_name_what_is_there(path: str) -> None:
    source = Source(path, (ROOT / path).read_text())
    complain(list(stub_faults(source.tree, importlib.import_module(source.module))))


def test_there_are_stubs() -> None:
    assert "ledgercore/ledger.pyi" in STUBS and "service/http/connection.pyi" in STUBS


def test_a_stub_can_be_wrong() -> None:
    class Real:
        def present(self) -> None: ...

    faults = stub_faults(ast.parse("def stated() -> None: ..."), Real)
    assert sorted(faults) == ["present is not in the stub", "stated is only in the stub"]
