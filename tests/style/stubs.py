"""Whether a stub tells what its module has: every public name, and none that is not there.

This module compares, and imports nothing: the module is given to it.
"""

import ast
from collections.abc import Iterator


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
