"""Orders: what signals ask for, counted from the first to the last."""

import os
import signal
from collections.abc import Iterator

import pytest

from ledgercore.service.process.signals import STOPS, Orders

NUMBERS = (*STOPS, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_signals_are_counted_and_told() -> None:
    orders, told = Orders(), []
    orders.heed()
    os.kill(os.getpid(), signal.SIGTERM)
    assert (orders.stops, orders.reloads) == (1, 0), "nobody has to listen"
    orders.listener = lambda: told.append((orders.stops, orders.reloads))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
    assert told == [(2, 0), (2, 1), (3, 1)]


def test_at_the_end_they_are_heard_no_more() -> None:
    orders = Orders()
    orders.heed()
    orders.finish()
    for number in NUMBERS:
        os.kill(os.getpid(), number)
    assert (orders.stops, orders.reloads) == (0, 0)
