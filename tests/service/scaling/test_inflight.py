"""The windows of the regulator, its log, and what it tells, by a clock of the test."""

import logging

import pytest

from ledgercore.service.admission.drain_rate import DrainMeter
from ledgercore.service.admission.in_flight import InFlight
from ledgercore.service.scaling.inflight import LOG_INTERVAL_NS, Regulator
from ledgercore.service.scaling.inflight_rule import UNLIMITED

MS = 1_000_000


class Stand:
    """What is in flight and its regulator, with a target of 10 ms."""

    def __init__(self, target_ms: int = 10) -> None:
        self.now_ns = 10**12
        self.in_flight = InFlight(DrainMeter(lambda: self.now_ns))
        self.regulator = Regulator(self.in_flight, target_ms, 10, 10_000, lambda: self.now_ns)

    def answer(self, latency_ms: float, count: int = 200, *, used: int = 1000) -> None:
        """Fill and end a window."""
        self.in_flight.add(used)
        self.now_ns += 110 * MS
        placed_ns = self.now_ns - int(latency_ms * MS)
        self.regulator.note(count, placed_ns, self.now_ns)
        self.now_ns += 110 * MS
        self.in_flight.finish(used, self.now_ns)
        self.regulator.end_turn(self.now_ns)


def test_windows_of_slow_answers_lower_the_limit() -> None:
    stand = Stand()
    stand.answer(40)
    assert stand.in_flight.limit == 10_000
    stand.answer(40)
    assert stand.in_flight.limit == 500
    assert stand.regulator.describe()["inflight_p99_ms"] == pytest.approx(40, rel=1 / 16)


def test_what_was_admitted_before_a_move_does_not_count_after_it() -> None:
    stand = Stand()
    stand.answer(40)
    stand.answer(40)
    for _ in range(5):
        stand.answer(1000)
    assert stand.in_flight.limit == 500


def test_few_answers_end_no_window_until_a_second_has_passed() -> None:
    stand = Stand()
    stand.answer(40, count=3)
    assert stand.regulator.p99_ns == 0
    stand.now_ns += 1000 * MS
    stand.regulator.end_turn(stand.now_ns)
    assert stand.regulator.p99_ns > 0


def test_a_rest_is_no_part_of_a_window() -> None:
    stand = Stand()
    stand.now_ns += 3600 * 1000 * MS
    stand.regulator.note(200, stand.now_ns - MS, stand.now_ns)
    stand.regulator.end_turn(stand.now_ns)
    assert stand.regulator.p99_ns == 0


def test_moves_are_logged_but_not_each(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand()
    with caplog.at_level(logging.WARNING, "ledgercore"):
        for _ in range(6):
            stand.answer(40, used=min(1000, stand.in_flight.limit))
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith("in-flight limit: 10000 -> 500 (p99 ")
        stand.now_ns += LOG_INTERVAL_NS
        stand.answer(40, used=100)
        stand.answer(40, used=100)
        assert len(caplog.messages) == 2


def test_off_is_unlimited_and_can_be_switched() -> None:
    stand = Stand(0)
    for _ in range(5):
        stand.answer(4000)
    assert stand.in_flight.limit == UNLIMITED
    assert stand.regulator.describe()["inflight_limit"] is None
    stand.regulator.configure(target_p99_ms=10)
    assert stand.in_flight.limit == 10_000
    with pytest.raises(ValueError, match="above the highest"):
        stand.regulator.configure(inflight_min=20_000)
    assert stand.regulator.settings() == {
        "target_p99_ms": 10, "inflight_min": 10, "inflight_max": 10_000,
    }  # fmt: skip
