"""What most tests begin with: an empty directory, and a ledger that is open in it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import ledgercore

# A machine that is busy, or a build with sanitizers, is no failure of the ledger.
settings.register_profile("ledgercore", deadline=None)
settings.load_profile("ledgercore")

LONGEST = ("test_packaging", "test_model", "test_profiling", "test_http_speed", "test_simulator")
"""The files that take longest. In a parallel run they begin first, so that none is left alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True)
def signal_mask() -> Iterator[None]:
    """Let no test leave a signal blocked: every process that is started later would inherit it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    after = signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert after == before


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the path of a data directory that does not exist yet."""
    return tmp_path / "ledger"


@pytest.fixture
def ledger(directory: Path) -> Iterator[ledgercore.Engine]:
    """Open a durable ledger, and close it after the test."""
    with ledgercore.open(directory) as engine:
        yield engine
