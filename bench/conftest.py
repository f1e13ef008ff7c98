"""What the measurements share: the meter, scratch space, and the report at the end of the run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .machine import describe_machine, make_scratch
from .measure import Figure, Meter
from .report import format_report

FIGURES = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin without figures."""
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the report."""
    figures = terminalreporter.config.stash[FIGURES]
    if figures:
        terminalreporter.section("figures")
        for line in format_report(figures, describe_machine()):
            terminalreporter.write_line(line)


@pytest.fixture
def meter(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Meter:
    """Return what times the rounds of this test."""
    return Meter(benchmark, request.config.stash[FIGURES])


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """Yield an empty directory on the disk of the checkout."""
    with make_scratch() as directory:
        yield directory
