"""A batcher between a scripted engine and a scripted admission, for each test.

A module asks for these fixtures with `pytest_plugins = ["tests.support.batcher_fixtures"]`.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ledgercore.service.runtime.batcher import Batcher
from tests.support.scripted_engine import ScriptedAdmission, ScriptedEngine


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine()
    yield engine
    engine.close()


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def admission() -> ScriptedAdmission:
    return ScriptedAdmission()


@pytest.fixture
async def batcher(
    engine: ScriptedEngine,
    admission: ScriptedAdmission,
    failures: list[str],
) -> Any:
    batcher = Batcher(
        engine,  # type: ignore[arg-type]
        admission,  # type: ignore[arg-type]
        asyncio.get_running_loop(),
        lambda: failures.append("failed"),
    )
    yield batcher
    batcher.close()
