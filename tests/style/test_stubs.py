"""Every stub beside the module that it tells of, and every public name beside its docstring."""

import ast
import importlib
from types import ModuleType

import pytest

import ledgercore
import ledgercore.client
from ledgercore import Outcome, Submission
from tests.style.sources import ROOT, Source, complain
from tests.style.stubs import stub_faults, stub_is_bare, undocumented

STUBS = [
    path.relative_to(ROOT).as_posix()
    for layer in ("ledgercore", "service")
    for path in sorted((ROOT / layer).rglob("*.pyi"))
]


@pytest.mark.parametrize("path", STUBS)
def test_stubs_name_what_is_there(path: str) -> None:
    source = Source(path, (ROOT / path).read_text())
    complain(list(stub_faults(source.tree, importlib.import_module(source.module))))


@pytest.mark.parametrize("path", STUBS)
def test_docstrings_are_where_a_program_has_them(path: str) -> None:
    complain(list(stub_is_bare(Source(path, (ROOT / path).read_text()))))


@pytest.mark.parametrize("module", [ledgercore, ledgercore.client], ids=lambda m: m.__name__)
def test_every_public_name_is_told_of(module: ModuleType) -> None:
    assert len(module.__all__) > 15
    complain([f"help({module.__name__}.{name}) says nothing" for name in undocumented(module)])


def test_there_are_stubs() -> None:
    assert "ledgercore/ledger.pyi" in STUBS and "service/http/connection.pyi" in STUBS


def test_a_stub_can_be_wrong() -> None:
    class Real:
        def present(self) -> None: ...

    faults = stub_faults(ast.parse("def stated() -> None: ..."), Real)
    assert sorted(faults) == ["present is not in the stub", "stated is only in the stub"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('"""The types of b.pyx."""', "does not begin"),
        ('class A:\n    """A thing."""', "has the docstring of A"),
        ('def a() -> None:\n    """Do it."""', "has the docstring of a"),
    ],
)
def test_a_stub_can_have_too_much(text: str, fault: str) -> None:
    right = '"""The types of a.pyx. The docstrings there are its reference."""\n'
    assert list(stub_is_bare(Source("ledgercore/a.pyi", right))) == []
    one = Source("ledgercore/a.pyi", text if fault == "does not begin" else right + text)
    assert any(found.startswith(fault) for found in stub_is_bare(one))


def test_what_is_not_told_of_is_seen() -> None:
    class Silent:
        def method(self) -> None: ...
        @property
        def value(self) -> int:
            return 1

    class Heir(Silent):
        """Tells of itself."""

    module = ModuleType("module")
    module.__dict__.update(__all__=["Silent", "Heir", "number"], Silent=Silent, Heir=Heir, number=1)
    assert list(undocumented(module)) == [
        "Silent",
        "Silent.method",
        "Silent.value",
        "Heir.method",
        "Heir.value",
    ]


def test_a_compiled_method_has_more_than_its_signature() -> None:
    """Cython puts the signature of each into its docstring, which alone is no help."""
    told = Submission.add.__doc__
    assert told is not None and told.startswith("Submission.add(") and "minor units" in told

    def bare() -> None: ...

    bare.__doc__ = "Outcome.bare(self)"
    module = ModuleType("module")
    module.__dict__.update(__all__=["bare", "Outcome"], bare=bare, Outcome=Outcome)
    assert list(undocumented(module)) == ["bare"]
