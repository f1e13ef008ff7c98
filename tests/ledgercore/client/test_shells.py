"""The two clients are one: what differs between them is `await`, and who waits.

All that is asked and all that is made of an answer is in calls.py and exchange.py, which do no I/O;
the clients are thin shells around it. Here their sources are compared, method by method.
"""

import ast
import inspect
import re
import textwrap

import pytest

from ledgercore.client import AsyncLedgerClient, LedgerClient

OWN = {"__init__", "_send", "_run"}
"""Where each is of its own kind: what it connects with, sends with and sleeps with."""
WORDS = {
    "AsyncIterator": "Iterator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
}


class Blocking(ast.NodeTransformer):
    """Turns what awaits into what blocks."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        name = WORDS.get(node.name, node.name)
        blocking = ast.FunctionDef(name, node.args, node.body, node.decorator_list, node.returns)
        setattr(blocking, "type_params", [])  # noqa: B010  # Python 3.12 and later ask for it.
        return self.generic_visit(ast.copy_location(blocking, node))

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.generic_visit(node.value)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(WORDS.get(node.id, node.id), node.ctx), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = WORDS.get(node.attr, node.attr)
        return self.generic_visit(node)


def read_methods(client: type) -> dict[str, str]:
    """Return the methods of a client, as they are without `await` and without docstrings."""
    tree = Blocking().visit(ast.parse(textwrap.dedent(inspect.getsource(client))))
    methods = {}
    for node in tree.body[0].body:
        if isinstance(node, ast.FunctionDef):
            node.returns = None  # See test_answers_have_the_same_types.
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
            methods[node.name] = ast.unparse(ast.fix_missing_locations(node))
    return methods


BLOCKING, AWAITING = read_methods(LedgerClient), read_methods(AsyncLedgerClient)


def test_both_have_the_same_methods() -> None:
    assert BLOCKING.keys() == AWAITING.keys()
    assert len(BLOCKING) > 12 and BLOCKING.keys() >= OWN


@pytest.mark.parametrize("name", sorted(BLOCKING.keys() - OWN))
def test_a_method_differs_in_nothing_but_await(name: str) -> None:
    assert flatten(AWAITING[name]) == flatten(BLOCKING[name])


def flatten(source: str) -> str:
    """Return a source in which pages are yielded the way in which both kinds can."""
    return re.sub(r"for (\w+) in page:\s+yield \1\b", "yield from page", source)


@pytest.mark.parametrize("name", sorted(name for name in BLOCKING if not name.startswith("_")))
def test_answers_have_the_same_types(name: str) -> None:
    returns = [
        str(inspect.signature(getattr(client, name)).return_annotation).replace("Async", "")
        for client in (LedgerClient, AsyncLedgerClient)
        if hasattr(client, name)
    ]
    assert len(set(returns)) == 1
