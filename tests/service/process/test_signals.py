"""The signals of a process: what they ask for, counted from the first to the last."""

import os
import signal
from collections.abc import Iterator

import pytest

from ledgercore.service.process.signals import STOPS, ProcessSignals

NUMBERS = (*STOPS, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_signals_are_counted_and_told() -> None:
    signals, told = ProcessSignals(), []
    signals.install()
    os.kill(os.getpid(), signal.SIGTERM)
    assert (signals.stops, signals.reloads) == (1, 0), "nobody has to listen"
    signals.listener = lambda: told.append((signals.stops, signals.reloads))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
    assert told == [(2, 0), (2, 1), (3, 1)]


def test_at_the_end_they_are_heard_no_more() -> None:
    signals = ProcessSignals()
    signals.install()
    signals.ignore_all()
    for number in NUMBERS:
        os.kill(os.getpid(), number)
    assert (signals.stops, signals.reloads) == (0, 0)
