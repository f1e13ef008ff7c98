"""The port of an engine: an engine is one, and nothing is in it that no server asks for."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledgercore
from ledgercore.service import engine_port
from ledgercore.service.engine_port import EnginePort, PortFaults, PortOptions
from tests.style.sources import read_project
from tests.support.histories import open_small

PORTS = [EnginePort, PortFaults, PortOptions]
NAMES = [(port, name) for port in PORTS for name in vars(port) if not name.startswith("_")]


@pytest.fixture(scope="module")
def engine() -> Iterator[ledgercore.Engine]:
    with open_small(None, durability="memory") as engine:
        yield engine


@pytest.mark.parametrize(("port", "name"), NAMES)
def test_an_engine_is_a_port(engine: ledgercore.Engine, port: type, name: str) -> None:
    """That it is one, mypy proves; here it is asked of one that is open."""
    parts: dict[type, object] = {
        EnginePort: engine,
        PortFaults: engine.fault_injection,
        PortOptions: engine.options,
    }
    stated, real = getattr(port, name), getattr(parts[port], name)
    if isinstance(stated, property):
        assert not callable(real)
        return
    own = [each for each in inspect.signature(stated).parameters.values() if each.name != "self"]
    assert [(each.name, each.kind) for each in own] == [
        (each.name, each.kind) for each in inspect.signature(real).parameters.values()
    ]


def test_nothing_is_in_the_port_that_no_server_asks_for() -> None:
    here = Path(engine_port.__file__).name
    texts = [
        source.text
        for source in read_project()
        if source.layer == "service" and not source.path.endswith(here)
    ]
    unused = [name for _, name in NAMES if not any(f".{name}" in text for text in texts)]
    assert unused == []
