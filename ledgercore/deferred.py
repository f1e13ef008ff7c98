"""Names of a package that are imported at their first use (PEP 562).

This module owns how names are found in the modules that define them. It imports nothing of ours,
so that whoever needs one module of a package pays for no other: the client never loads the engine.
"""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module


def defer(package: str, names: Iterable[str], modules: Iterable[str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package whose `names` are defined in `modules`.

    The modules are loaded in the order given until one has the name, so the light ones come first.
    The name is then kept in the package, and not looked for again.
    """
    offered = frozenset(names)

    def find(name: str) -> object:
        # Also asked for each module of the package that is imported from it: nothing is loaded.
        if name in offered:
            for module in modules:
                home = import_module(f"{package}.{module}")
                if hasattr(home, name):
                    value: object = getattr(home, name)
                    setattr(sys.modules[package], name, value)
                    return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)

    return find
