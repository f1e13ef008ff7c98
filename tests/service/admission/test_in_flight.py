"""What is in flight: counted, bounded, and refused with when to come again."""

import pytest

from ledgercore.service.admission.drain_rate import DrainMeter
from ledgercore.service.admission.in_flight import InFlight
from ledgercore.service.wire.problems import Problem

SECOND_NS = 1_000_000_000


def test_beyond_the_limit_is_refused_and_told_when_to_come_again() -> None:
    now_ns = 0
    in_flight = InFlight(DrainMeter(lambda: now_ns))
    in_flight.limit = 5
    in_flight.check()
    in_flight.add(100)  # One request of many is let in as a whole.
    with pytest.raises(Problem, match="overloaded") as caught:
        in_flight.check()
    assert caught.value.headers == {"retry-after": "30"}
    now_ns += SECOND_NS
    in_flight.finish(96, now_ns)
    in_flight.check()
    in_flight.add(100)
    with pytest.raises(Problem, match="overloaded") as caught:
        in_flight.check()
    assert caught.value.headers == {"retry-after": "2"}
    assert in_flight.refused == 2


def test_what_was_not_taken_has_not_drained() -> None:
    in_flight = InFlight()
    in_flight.add(7)
    in_flight.remove(5)
    assert (in_flight.count, in_flight.peak) == (2, 7)
    assert in_flight.drain.find_rate() == 0
    assert in_flight.reset_peak() == 7 and in_flight.peak == 2
