"""Whether a stub tells what its module has, and whether what is public is told of by `help()`.

A stub has every public name, and none that is not there, with signatures and no docstrings: those
are in the .pyx, where a running program has them. This module compares, and imports nothing: the
module is given to it.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

from tests.style.sources import Source


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


def stub_is_bare(source: Source) -> Iterator[str]:
    """A stub says where the docstrings are, and has none."""
    stem = source.path.rpartition("/")[2].removesuffix(".pyi")
    if ast.get_docstring(source.tree) != (
        f"The types of {stem}.pyx. The docstrings there are its reference."
    ):
        yield "does not begin by naming the module that has its docstrings"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            yield f"has the docstring of {node.name}"


def undocumented(module: ModuleType) -> Iterator[str]:
    """Yield what `module` says is public and `help()` says nothing of: functions, classes, methods.

    A value has the docstring of its type, which says nothing of it, and is left out.
    """
    for name in module.__all__:
        value = getattr(module, name)
        if not inspect.isclass(value) and not callable(value):
            continue
        if not tells(value, name):
            yield name
        if inspect.isclass(value):
            yield from (f"{name}.{method}" for method in undocumented_methods(value))


def undocumented_methods(kind: type) -> Iterator[str]:
    """Yield the public methods and properties of a class without a docstring of their own.

    A field of a compiled class looks like a property: it may be told of by the class instead.
    """
    package = kind.__module__.split(".")[0]
    bases = [base for base in reversed(kind.__mro__) if base.__module__.split(".")[0] == package]
    members = {name: member for base in bases for name, member in vars(base).items()}
    for name, member in members.items():
        is_field = inspect.isgetsetdescriptor(member) and f"`{name}`" in (kind.__doc__ or "")
        is_code = isinstance(member, property | classmethod | staticmethod)
        is_code |= inspect.isroutine(member) or inspect.isgetsetdescriptor(member)
        if is_code and not is_field and not name.startswith("_") and not tells(member, name):
            yield name


def tells(value: object, name: str) -> bool:
    """Whether there is a docstring, apart from the signature that Cython puts before it."""
    text = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    return bool(re.sub(rf"\A(\w+\.)*{name}\(.*", "", text or "").strip())
