"""Which way imports go: down, from layer to layer and from room to room, and never in a circle.

A rule takes one source, or all of them, and yields what is wrong as sentences. What may import what
is listed here, and nowhere else.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from tests.style.sources import LAYERS, SERVICE, Source, find_layer, included, name_module

# Which of our layers each may import; what has a dot is one module of that layer.
MAY_IMPORT = {
    "ledgercore": {"ledgercore"},
    "service": {"ledgercore", "service"},
    "bench": {
        "ledgercore",
        # What py-spy saw is read, named and drawn once: at /debug/pprof/ and in the benchmarks.
        f"{SERVICE}.profiling",
        "bench",
    },
}
# The rooms of a folder, the highest floor first. A room may import what is on a floor below its
# own, and its own modules; rooms on one floor do not know each other, unless the folder is in
# LEVEL. An import inside a function, or for type checkers only, counts like any other.
FLOORS: dict[str, list[set[str]]] = {
    "service": [
        {"__main__"},
        {"cli"},
        {"server"},
        {"app"},
        {"routes"},
        {"monitoring"},
        {"http"},
        {"runtime"},
        {"scaling"},
        {"admission"},
        {"telemetry"},
        {"settings"},
        {"access", "chaos", "profiling"},
        {"wire"},
        {"process", "engine_port", "units"},
        {"_c"},
    ],
    "ledgercore": [
        # What a program holds, and what works on a directory that no program has open.
        {"__main__", "engine", "ownership", "repairing", "verification"},
        # What looks at a running engine, or works beside it.
        {"auditing", "fault_injection", "journal_check", "lookups", "measures", "workers"},
        # The threads that a batch goes through.
        {"executor", "pipeline"},
        # The files, how a ledger is made from them, and what keeps them in order.
        {
            "directory",
            "file_store",
            "frames",
            "history",
            "housekeeping",
            "journal",
            "opening",
            "options",
            "recovery",
            "scrubbing",
            "snapshots",
            "store",
        },
        # The ledger in memory.
        {"accounts", "ledger", "logged_time", "outcome", "replay", "submission"},
        # The machine, and what may be asked for.
        {
            "file_replacement",
            "headroom",
            "helper_process",
            "locking",
            "memory",
            "permissions",
            "validation",
        },
        {"client"},
        # What all of them speak of.
        {"deferred", "errors", "grammar", "histogram", "layouts", "recorder", "status", "types"},
        {"_c"},
    ],
    "bench": [
        {"__main__", "conftest", "test_engine", "test_service", "test_stages"},
        {"compare", "http_speed", "overload", "peers", "profiling", "simulator"},
        {"stages"},
        {"load"},
        {"plain"},
        {"build", "charts", "options", "processes", "report"},
        {"machine", "measure", "workloads"},
    ],
    "ledgercore/client": [
        {"clients"},
        {"caller"},
        {"exchange"},
        {"calls"},
        {"breaker", "loopback", "retries", "signing", "types"},
    ],
}
# Where a floor is one room in all but a folder: its modules may know each other, in no circle.
LEVEL = {"ledgercore"}
# Who may import a library, apart from the tests.
MAY_USE = {
    # The yardstick of the benchmarks is a plain Sanic app, and one of its stages another.
    "sanic": re.compile(r"service/|bench/plain\.py|bench/stages/naive_service\.py"),
    "click": re.compile(r"service/cli/|bench/"),
}
# Who may know a module of the engine, where not everyone may: that a ledger is kept in files is
# known to what is about files alone. All others are given a store (ledgercore/store.py).
KNOWN_TO = {
    "ledgercore.directory": {
        "ledgercore.file_store",
        "ledgercore.history",
        "ledgercore.housekeeping",
        "ledgercore.journal",
        "ledgercore.repairing",
        "ledgercore.scrubbing",
        "ledgercore.verification",
    },
    "ledgercore.file_store": {
        "ledgercore.opening",
        "ledgercore.repairing",
        "ledgercore.verification",
    },
}
# What native files of the service may take of the engine: records, submissions and recorders as C
# has them.
NATIVE_SEAM = {"ledgercore._c", "ledgercore.recorder", "ledgercore.submission"}
# What each layer may take by its module: how private files are made and replaced, which is nobody's
# business outside of this project; and the client library, whose modules load only what they need.
MODULE_SEAM = {
    "service": {
        "ledgercore.file_replacement",
        "ledgercore.permissions",
        "ledgercore.client.breaker",
        "ledgercore.client.loopback",
        "ledgercore.client.signing",
    },
    "bench": {
        "ledgercore.client",
        "ledgercore.client.breaker",
        "ledgercore.client.loopback",
        "ledgercore.client.retries",
        "ledgercore.client.signing",
    },
}
# Where an engine is opened, and filled before a server has it. All others name a port.
ENGINE_OPENERS = {
    "service/cli/offline.py",
    "service/runtime/assembly.py",
    "service/runtime/demo.py",
}
CLIENT_LIBRARIES = {"httpx", "msgspec"}
# What the engine and the client library share: modules that import nothing of ours.
SHARED = {"ledgercore.deferred", "ledgercore.grammar"}


def imports_point_down(source: Source) -> Iterator[str]:
    """Bench may know the service's client, the service the engine, the engine nobody."""
    allowed = MAY_IMPORT.get(source.layer)
    for module, names in source.imports:
        top = find_layer(module)
        reached = {module, *(f"{module}.{name}" for name in names)}
        inside = {".".join(name.split(".")[:3]) for name in reached} | reached
        if allowed and top in LAYERS and top not in allowed and not inside & allowed:
            yield f"imports {module}"
        if source.layer != "tests" and top in MAY_USE and not MAY_USE[top].match(source.path):
            yield f"uses {top}"


def files_are_behind_the_store(source: Source) -> Iterator[str]:
    """What KNOWN_TO lists is imported by those that are listed there, and by tests."""
    if source.layer == "tests":
        return
    for module, names in source.imports:
        for reached in {module, *(f"{module}.{name}" for name in names)} & KNOWN_TO.keys():
            if source.module not in KNOWN_TO[reached]:
                yield f"imports {reached}, which is about files: it is to name a store"


def rooms_point_down(source: Source) -> Iterator[str]:
    """A room knows the floors below its own, and nothing above it; beside it in LEVEL only."""
    for folder in FLOORS:
        room = source.room_in(folder)
        if room and room != "__init__":
            yield from room_points_down(source, folder, room)


def room_points_down(source: Source, folder: str, room: str) -> Iterator[str]:
    heights = {room: -depth for depth, rooms in enumerate(FLOORS[folder]) for room in rooms}
    if room not in heights:
        yield f"is in {room}, which is on no floor"
        return
    package = name_module(f"{folder}/__init__.py")
    for module, names in source.imports:
        if module == package:
            found = set(names) or {"__init__"}
        elif module.startswith(f"{package}."):
            found = {module.removeprefix(f"{package}.").split(".")[0]}
        else:
            continue
        for other in found - {room}:
            if heights.get(other, 1) >= heights[room] + (folder in LEVEL):
                yield f"imports {other}, which is not below {room}"


def engine_is_behind_its_port(source: Source) -> Iterator[str]:
    """A server asks a port (service/engine_port.py), which may be an engine elsewhere one day."""
    if source.layer != "service" or source.path in ENGINE_OPENERS:
        return
    for module, names in source.imports:
        if module == "ledgercore":
            yield from (f"takes {name}" for name in names if name in ("Engine", "open"))
    for node in ast.walk(source.tree):
        if ast.unparse(node) in ("ledgercore.Engine", "ledgercore.open"):
            yield f"uses {ast.unparse(node)}"


def client_stands_alone(source: Source) -> Iterator[str]:
    """A program that asks a server loads no engine, and the engine asks no server."""
    inside = source.path.startswith("ledgercore/client/")
    if source.layer != "ledgercore":
        return
    for module, names in source.imports:
        top = find_layer(module)
        reached = {module, *(f"{module}.{name}" for name in names)}
        of_client = any(f"{name}.".startswith("ledgercore.client.") for name in reached)
        if top in LAYERS and of_client != inside and module not in SHARED:
            yield f"imports {module}"
        if inside and top not in LAYERS and top not in sys.stdlib_module_names | CLIENT_LIBRARIES:
            yield f"uses {top}"


def seam_names(sources: Iterable[Source]) -> set[str]:
    """Return what `ledgercore/__init__.py` lists in `__all__`."""
    for source in sources:
        if source.path == "ledgercore/__init__.py":
            for node in source.tree.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                    return set(ast.literal_eval(node.value))
    return set()


def seam_is_kept(source: Source, seam: set[str]) -> Iterator[str]:
    """Above the engine, only what its `__init__` names is used; natively, a little more."""
    if source.layer not in ("service", "bench"):
        return
    native = NATIVE_SEAM if source.suffix in (".pyx", ".pxd") else MODULE_SEAM[source.layer]
    for module, names in source.imports:
        if module == "ledgercore":
            yield from (f"takes {name} from ledgercore" for name in names if name not in seam)
        elif find_layer(module) == "ledgercore" and not native & {
            module,
            *(f"{module}.{name}" for name in names),
        }:
            yield f"reaches into {module}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ledgercore":
            yield from (f"uses ledgercore.{name}" for name in {node.attr} - seam)


def graph(sources: list[Source]) -> dict[str, set[str]]:
    """Return which of our modules and headers each one needs."""
    needs: dict[str, set[str]] = {source.module: set() for source in sources}
    for source in sources:
        if source.suffix == ".h":
            needs[source.module] |= {f"src.{name.replace('/', '.')}" for name in included(source)}
        else:
            for module, names in source.imports:
                inner = {f"{module}.{name}" for name in names} & needs.keys()
                whole = {module} if len(inner) < len(names) or not names else set()
                needs[source.module] |= inner | whole
    return {module: found & needs.keys() - {module} for module, found in needs.items()}


def has_no_cycles(sources: list[Source]) -> Iterator[str]:
    """Nothing needs itself: take away what needs nothing that is left, until nothing is left."""
    needs = graph(sources)
    while free := {module for module, found in needs.items() if not found & needs.keys()}:
        needs = {module: found for module, found in needs.items() if module not in free}
    if needs:
        yield f"in or above a cycle: {', '.join(sorted(needs))}"


def headers_are_used(sources: list[Source]) -> Iterator[str]:
    """A header that nobody includes is dead."""
    used = {name for source in sources for name in included(source)}
    for source in sources:
        if source.layer == "src" and source.path[4:-2] not in used:
            yield f"{source.path} is included nowhere"
